"""Flower's differential privacy for weights: clip every client's update, average, add keyed noise."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideAdaptiveClipping as AdaptiveClipping,
)
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping as FixedClipping,
)
from flwr.serverapp.strategy import Strategy

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.private import Privacy

WEIGHT = "num-examples"


class _Keyed:
    """What Flower's two wrappers lack here: keyed noise, equal weights, the true number of replies.

    A client's weight in the average must not exceed what the noise is made for; and where fewer
    clients reply than were asked, each of them moves the average further.
    """

    seed: int
    clipping_norm: float
    noise_multiplier: float
    num_sampled_clients: int
    _round = 0

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Clip, average with equal weights, add noise."""
        self._round = server_round
        listed = list(replies)
        for reply in listed:
            for metrics in reply.content.metric_records.values():
                metrics[WEIGHT] = 1
        self.num_sampled_clients = max(1, len(listed))
        return super().aggregate_train(server_round, listed)  # type: ignore[misc, no-any-return]

    def _add_noise_to_aggregated_arrays(self, aggregated: ArrayRecord) -> ArrayRecord:
        sigma = self.noise_multiplier * self.clipping_norm / self.num_sampled_clients
        noised = {}
        for name, array in aggregated.items():
            values = array.numpy()
            noise = self._generator(name).normal(0.0, sigma, values.shape)
            noised[name] = Array(np.asarray(values + noise, dtype=values.dtype))
        return ArrayRecord(noised)

    def _generator(self, name: str) -> np.random.Generator:
        return keyed_generator(self.seed, "server", self._round, "dp", name)


class KeyedFixedClipping(_Keyed, FixedClipping):
    """Central differential privacy with a fixed clipping norm (McMahan et al. 2018)."""


class KeyedAdaptiveClipping(_Keyed, AdaptiveClipping):
    """Central differential privacy whose clipping norm follows the median update (Andrew et al. 2021)."""

    def _noisy_fraction(self, count: int, total: int) -> float:
        noise = self._generator("clipped").normal(0.0, self.clipped_count_stddev)
        return float(count + noise) / float(total)


def private_strategy(
    strategy: Strategy, config: RunConfig, privacy: Privacy | None, participants: int
) -> Strategy:
    """Return ``strategy`` inside Flower's wrapper for differential privacy; itself where there is no budget.

    A replaced row may turn a client's clipped update into its opposite: it moves the sum by twice the
    clipping norm, so the noise multiplier (in clipping norms) is twice the budget's.
    """
    if privacy is None:
        return strategy
    multiplier = 2.0 * privacy.budget.noise_multiplier
    wrapped: KeyedFixedClipping | KeyedAdaptiveClipping
    if config.dp_clipping == "fixed":
        wrapped = KeyedFixedClipping(strategy, multiplier, config.dp_update_norm, participants)
    else:
        wrapped = KeyedAdaptiveClipping(
            strategy,
            multiplier,
            participants,
            initial_clipping_norm=config.dp_update_norm,
            # the count of clipped updates takes a share of the budget: at most a quarter
            clipped_count_stddev=max(participants / 20.0, multiplier),
        )
    wrapped.seed = config.seed
    return wrapped
