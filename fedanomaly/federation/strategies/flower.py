"""Flower's strategies for weights, built from a run's configuration.

Each entry is one line; a strategy of one's own is registered the same way.
"""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg, Strategy

from fedanomaly.core.errors import UserError
from fedanomaly.core.registry import Registry
from fedanomaly.federation.config import RunConfig

WeightsStrategy = Strategy
Maker = Callable[[RunConfig, int], FedAvg]

_AVERAGING = (
    flower.FedAvg,
    flower.FedProx,
    flower.FedAvgM,
    flower.FedAdam,
    flower.FedYogi,
    flower.FedAdagrad,
)

STRATEGIES: Registry[Maker] = Registry("aggregation strategy", "fedanomaly.strategies")


def registered() -> dict[str, Maker]:
    """Return the strategies for weights by name."""
    return STRATEGIES.registered()


def make_strategy(name: str, config: RunConfig, participants: int) -> FedAvg:
    """Return the Flower strategy called ``name`` for rounds of ``participants`` clients.

    Raises
    ------
    UserError
        If the strategy is unknown, or cannot work with so few clients.
    """
    return STRATEGIES.get(name)(config, participants)


def averages(strategy: Strategy) -> bool:
    """Return whether all a strategy makes of the clients' weights is their mean, weighted by rows.

    Then neighbours may be averaged before it sees them: a thousand replies would take it as long as many
    clients take to answer.
    """
    return type(strategy) in _AVERAGING


def _no_metrics(contents: list[RecordDict], key: str) -> MetricRecord:
    return MetricRecord()  # clients' facts are recorded one by one; their mean says nothing


def _common() -> dict[str, object]:
    return {
        "min_train_nodes": 1,
        "min_evaluate_nodes": 1,
        "min_available_nodes": 1,
        "train_metrics_aggr_fn": _no_metrics,
    }


def _simple(name: str, cls: type[FedAvg], **given: Callable[[RunConfig], float]) -> None:
    @STRATEGIES.register(name)
    def make(config: RunConfig, participants: int) -> FedAvg:
        return cls(**_common(), **{key: read(config) for key, read in given.items()})  # type: ignore[arg-type]


_simple("fedavg", flower.FedAvg)
_simple("fedprox", flower.FedProx, proximal_mu=lambda config: config.proximal_mu)
_simple(
    "fedavgm",
    flower.FedAvgM,
    server_learning_rate=lambda config: config.server_learning_rate,
    server_momentum=lambda config: config.server_momentum,
)
_simple("fedadam", flower.FedAdam, eta=lambda config: config.server_learning_rate)
_simple("fedyogi", flower.FedYogi, eta=lambda config: config.server_learning_rate)
_simple("fedadagrad", flower.FedAdagrad, eta=lambda config: config.server_learning_rate)
_simple("fedmedian", flower.FedMedian)
_simple("fedtrimmedavg", flower.FedTrimmedAvg, beta=lambda config: config.trim)


def _robust(
    name: str, cls: type[FedAvg], per_malicious: int, extra: Callable[[int, int], dict[str, int]]
) -> None:
    """Register a strategy that needs ``per_malicious * f + 3`` clients to withstand ``f`` hostile ones."""

    @STRATEGIES.register(name)
    def make(config: RunConfig, participants: int) -> FedAvg:
        fits = (participants - 3) // per_malicious
        hostile = config.malicious_clients or max(fits, 0)
        if hostile > fits:
            raise UserError(
                f"{name} withstands {config.malicious_clients} malicious clients only with at least "
                f"{per_malicious * config.malicious_clients + 3} clients in a round, got {participants}; "
                "raise --clients or lower --malicious-clients"
            )
        return cls(**_common(), num_malicious_nodes=hostile, **extra(participants, hostile))  # type: ignore[arg-type, call-arg]


_robust("krum", flower.Krum, 2, lambda participants, hostile: {})
_robust(
    "multikrum",
    flower.MultiKrum,
    2,
    lambda participants, hostile: {"num_nodes_to_select": max(1, participants - hostile)},
)
_robust("bulyan", flower.Bulyan, 4, lambda participants, hostile: {})
