"""From the clients' score histograms to the threshold and every metric of a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fedanomaly.core.answers import Answers
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
from fedanomaly.federation.scores import BALANCED, CALIBRATION, TEST, ClientScores, ScoreBatch
from fedanomaly.prepare import ClientRows


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
        self._waiting: list[ScoreBatch] = []
        self._own: list[Threshold] = []
        self._real = [HistogramSum(), HistogramSum()]
        self._balanced: list[HistogramSum] = []  # of the same clients, once one of them has balanced rows

    def take(self, answers: Answers, infos: Mapping[int, ClientInfo]) -> dict[int, str]:
        """Take answers of clients, in ascending order; return what is wrong with those left out."""
        if (batch := ScoreBatch.read(answers, infos)) is not None:
            self.add(batch)
            return {}
        sound: dict[int, ClientScores] = {}
        wrong: dict[int, str] = {}
        for turn, arrays in answers:
            try:
                sound[turn.client] = ClientScores.from_arrays(arrays, infos[turn.client])
            except InvalidArrays as error:
                wrong[turn.client] = str(error)
        self.add(ScoreBatch.of(sound))
        return wrong

    def add(self, batch: ScoreBatch) -> None:
        """Add clients' histograms; they come in ascending order, so that floats round alike."""
        parts = [batch.parts[name] for name in CALIBRATION]
        balanced = [batch.parts.get(name, part) for name, part in zip(BALANCED, parts, strict=True)]
        if BALANCED[0] in batch.parts and not self._balanced:
            self._balanced = [HistogramSum(), HistogramSum()]
            for added, real in zip(self._balanced, self._real, strict=True):
                added.add(real.total)
        for added, part in [
            *zip(self._real, parts, strict=True),
            *zip(self._balanced, balanced, strict=False),
        ]:
            added.add(part.together)
        if self.personal:
            each = zip(*(part.each() for part in (*parts, *balanced)), strict=True)
            self._own += [_threshold(self.config, _calibration(*of_client)) for of_client in each]
        tests = {name: batch.parts[name] for name in TEST}
        self._waiting.append(replace(batch, parts=tests))

    def judged(self) -> Judged:
        """Choose the threshold on calibration rows and measure on test rows."""
        config, all_ = self.config, ScoreBatch.joined(self._waiting, TEST)
        real = [added.total for added in self._real]
        balanced = [added.total for added in self._balanced] or real
        calibration = _calibration(*real, *balanced)
        common = _threshold(config, calibration)
        legitimate, fraud = (all_.parts[name] for name in TEST)
        each = evaluate_each(
            legitimate,
            fraud,
            [own.key for own in self._own] if self.personal else [common.key] * len(all_.clients),
            budget=config.alert_budget,
            fraud_amount=all_.amounts,
            knows_amount=all_.knows_amounts,
            alert_cost=config.alert_cost,
        )
        metrics = {str(client): values for client, values in zip(all_.clients, each, strict=True)}
        summed = Scores(Histogram.sum([legitimate.together]), Histogram.sum([fraud.together]))
        metrics["all"] = evaluate(
            summed.legitimate,
            summed.fraud,
            common.key,
            budget=config.alert_budget,
            fraud_amount=Histogram.sum([all_.amounts.together]) if all(all_.knows_amounts) else None,
            alert_cost=config.alert_cost,
        )
        if self.personal:  # each client flags by its own threshold: only the counts add up
            counts = (sum(values[name] for values in each) for name in ("tp", "fp", "tn", "fn"))
            metrics["all"] |= from_counts(*counts)
        return Judged(metrics, common, summed, calibration.scores)


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
    board.add(ScoreBatch.of(dict(sorted(clients.items()))))
    return board.judged()


def _calibration(
    legitimate: Histogram, fraud: Histogram, balanced_legitimate: Histogram, balanced_fraud: Histogram
) -> Calibration:
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
