"""From the clients' score histograms to the threshold and every metric of a round."""

from __future__ import annotations

from dataclasses import dataclass

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.floatgrid import Histogram, HistogramSum
from fedanomaly.evaluation import (
    Calibration,
    Threshold,
    ThresholdOptions,
    choose,
    evaluate,
    evaluate_each,
    from_counts,
)
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.observer import ClientInfo, Metrics, Scores
from fedanomaly.prepare import ClientRows

_PARTS = ("calibration/legitimate", "calibration/fraud", "test/legitimate", "test/fraud")
_BALANCED = ("balanced/legitimate", "balanced/fraud")
_OPTIONAL = ("test/amount", *_BALANCED)


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


class Scoreboard:
    """What the clients' answers to one evaluation amount to, while they come in.

    Calibration histograms are summed at once; those of test scores wait, since no metric can be told
    before the threshold is known: at most 16 bytes a test row, and only for one round.

    Parameters
    ----------
    config : RunConfig
        Threshold rule and costs.
    personal : bool
        Every client uses its own model and its own threshold.
    """

    def __init__(self, config: RunConfig, personal: bool) -> None:
        self.config = config
        self.personal = personal
        self.tests: dict[int, dict[str, Histogram]] = {}
        self._own: dict[int, Threshold] = {}
        self._common = _CalibrationSum()

    def add(self, client: int, scores: ClientScores) -> None:
        """Take a client's answer; clients come in ascending order, so that floats round alike."""
        self._common.add(scores)
        if self.personal:
            alone = _CalibrationSum()
            alone.add(scores)
            self._own[client] = _threshold(self.config, alone.calibration)
        self.tests[client] = {name: part for name, part in scores.parts.items() if name.startswith("test/")}

    def judged(self) -> Judged:
        """Choose the threshold on calibration rows and measure on test rows."""
        config, clients = self.config, list(self.tests)
        common = _threshold(config, self._common.calibration)
        summed = Scores(self._sum("test/legitimate"), self._sum("test/fraud"))
        amounts = [parts.get("test/amount") for parts in self.tests.values()]
        each = evaluate_each(
            [parts["test/legitimate"] for parts in self.tests.values()],
            [parts["test/fraud"] for parts in self.tests.values()],
            [self._own.get(client, common).key for client in clients],
            budget=config.alert_budget,
            fraud_amount=amounts,
            alert_cost=config.alert_cost,
        )
        metrics = {str(client): values for client, values in zip(clients, each, strict=True)}
        metrics["all"] = evaluate(
            summed.legitimate,
            summed.fraud,
            common.key,
            budget=config.alert_budget,
            fraud_amount=None if None in amounts else self._sum("test/amount"),
            alert_cost=config.alert_cost,
        )
        if self.personal:  # each client flags by its own threshold: only the counts add up
            counts = (sum(values[name] for values in each) for name in ("tp", "fp", "tn", "fn"))
            metrics["all"] |= from_counts(*counts)
        return Judged(metrics, common, summed, self._common.calibration.scores)

    def _sum(self, name: str) -> Histogram:
        return Histogram.sum([parts[name] for parts in self.tests.values()])


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
    board = Scoreboard(config, personal)
    for client, scores in sorted(clients.items()):
        board.add(client, scores)
    return board.judged()


class _CalibrationSum:
    """The calibration histograms of some clients, added up."""

    def __init__(self) -> None:
        self._sums = {name: HistogramSum() for name in (*_PARTS[:2], *_BALANCED)}

    def add(self, scores: ClientScores) -> None:
        for name in _PARTS[:2]:
            self._sums[name].add(scores.parts[name])
        for name in _BALANCED:
            self._sums[name].add(scores.balanced(name.removeprefix("balanced/")))

    @property
    def calibration(self) -> Calibration:
        legitimate, fraud, balanced_legitimate, balanced_fraud = (
            added.total for added in self._sums.values()
        )
        scores = Histogram.sum([legitimate, fraud])
        return Calibration(scores, legitimate, fraud, balanced_legitimate, balanced_fraud)


def _threshold(config: RunConfig, calibration: Calibration) -> Threshold:
    options = ThresholdOptions(
        contamination=config.contamination_share or "auto",
        target_recall=config.target_recall,
        budget=config.alert_budget,
        alpha=config.conformal_alpha,
    )
    return choose(config.threshold, calibration, options)


def info_of(client: int, rows: ClientRows) -> ClientInfo:
    """Return the row counts a client declares when it introduces itself."""
    folds = (rows.train, rows.calibration, rows.test)
    return ClientInfo(client, *(count for fold in folds for count in (len(fold.y), int(fold.y.sum()))))
