"""From the clients' score histograms to the threshold and every metric of a round."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.evaluation import Calibration, Threshold, ThresholdOptions, choose, evaluate, from_counts
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.observer import ClientInfo, Metrics, Scores
from fedanomaly.prepare import ClientRows

_PARTS = ("calibration/legitimate", "calibration/fraud", "test/legitimate", "test/fraud")
_OPTIONAL = ("test/amount", "balanced/legitimate", "balanced/fraud")


@dataclass(frozen=True)
class ClientScores:
    """The histograms one client sent, read and checked."""

    parts: dict[str, Histogram]

    @classmethod
    def from_arrays(cls, arrays: Arrays, info: ClientInfo) -> ClientScores:
        """Read a client's answer.

        Raises
        ------
        InvalidArrays
            If a histogram is malformed, unknown, or counts other rows than the client declared.
        """
        names = {name.rsplit("/", 1)[0] for name in arrays}
        if unknown := sorted(names - {*_PARTS, *_OPTIONAL}):
            raise InvalidArrays(f"unknown histograms {unknown}")
        parts = {
            name: Histogram.from_arrays(arrays, name)
            for name in (*_PARTS, *_OPTIONAL)
            if name in names or name in _PARTS
        }
        declared = (
            info.calibration - info.calibration_frauds,
            info.calibration_frauds,
            info.test - info.test_frauds,
            info.test_frauds,
        )
        for name, rows in zip(_PARTS, declared, strict=True):
            if parts[name].total != rows or parts[name].counts.dtype.kind != "i":
                raise InvalidArrays(
                    f"histogram {name!r} counts {parts[name].total:g} rows; {rows} were declared"
                )
        return cls(parts)

    def balanced(self, name: str) -> Histogram:
        """Return ``balanced/name`` scaled back to the true number of rows of its class.

        Balancing then smooths the estimate of recall without changing how frequent fraud is.
        """
        real = self.parts[f"calibration/{name}"]
        made = self.parts.get(f"balanced/{name}")
        if made is None or not made.total:
            return real
        return made.scaled(real.total / made.total)


@dataclass(frozen=True)
class Judged:
    """A round's verdict: metrics by client and over all, the threshold and what it was chosen on."""

    metrics: dict[str, Metrics]
    threshold: Threshold
    scores: Scores
    calibration: Histogram


def judge(config: RunConfig, clients: dict[int, ClientScores], personal: bool) -> Judged:
    """Choose the threshold on calibration rows and measure on test rows.

    Parameters
    ----------
    config : RunConfig
        Threshold rule and costs.
    clients : dict of int to ClientScores
        By partition id.
    personal : bool
        Every client uses its own model and its own threshold.
    """
    ordered = dict(sorted(clients.items()))
    common = threshold_of(config, list(ordered.values()))
    own = {client: threshold_of(config, [part]) if personal else common for client, part in ordered.items()}
    metrics = {str(client): _measure(config, [part], own[client].key) for client, part in ordered.items()}
    metrics["all"] = _measure(config, list(ordered.values()), common.key)
    if personal:  # each client flags by its own threshold: only the counts add up
        counts = (sum(metrics[str(client)][name] for client in ordered) for name in ("tp", "fp", "tn", "fn"))
        metrics["all"] |= from_counts(*counts)
    scores = Scores(_sum(ordered.values(), "test/legitimate"), _sum(ordered.values(), "test/fraud"))
    calibration = [part.parts[name] for part in ordered.values() for name in _PARTS[:2]]
    return Judged(metrics, common, scores, Histogram.sum(calibration))


def threshold_of(config: RunConfig, clients: Collection[ClientScores]) -> Threshold:
    """Return the threshold for the summed calibration histograms of ``clients``."""
    legitimate = _sum(clients, "calibration/legitimate")
    fraud = _sum(clients, "calibration/fraud")
    calibration = Calibration(
        scores=Histogram.sum([legitimate, fraud]),
        legitimate=legitimate,
        fraud=fraud,
        balanced_legitimate=Histogram.sum([part.balanced("legitimate") for part in clients]),
        balanced_fraud=Histogram.sum([part.balanced("fraud") for part in clients]),
    )
    options = ThresholdOptions(
        contamination=config.contamination_share or "auto",
        target_recall=config.target_recall,
        budget=config.alert_budget,
        alpha=config.conformal_alpha,
    )
    return choose(config.threshold, calibration, options)


def _measure(config: RunConfig, clients: Collection[ClientScores], key: int) -> Metrics:
    with_amounts = all("test/amount" in part.parts for part in clients)
    return evaluate(
        _sum(clients, "test/legitimate"),
        _sum(clients, "test/fraud"),
        key,
        budget=config.alert_budget,
        fraud_amount=_sum(clients, "test/amount") if with_amounts else None,
        alert_cost=config.alert_cost,
    )


def _sum(clients: Iterable[ClientScores], name: str) -> Histogram:
    return Histogram.sum([part.parts[name] for part in clients])


def info_of(client: int, rows: ClientRows) -> ClientInfo:
    """Return the row counts a client declares when it introduces itself."""
    folds = (rows.train, rows.calibration, rows.test)
    return ClientInfo(client, *(count for fold in folds for count in (len(fold.y), int(fold.y.sum()))))
