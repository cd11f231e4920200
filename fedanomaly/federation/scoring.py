"""From the clients' score histograms to the threshold and every metric of a round."""

from __future__ import annotations

from dataclasses import dataclass

from fedanomaly.core.floatgrid import Histogram
from fedanomaly.evaluation import (
    Calibration,
    Metrics,
    Threshold,
    ThresholdOptions,
    choose,
    evaluate,
    evaluate_each,
    from_counts,
)
from fedanomaly.federation.by_client import ByClient
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.observer import ClientInfo, Scores
from fedanomaly.federation.scores import BALANCED, CALIBRATION, TEST, ClientScores, ScoreBatch
from fedanomaly.prepare import ClientRows


@dataclass(frozen=True)
class Judged:
    """A round's verdict: metrics by client and over all, the threshold and what it was chosen on."""

    metrics: ByClient
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
    return judged(config, ScoreBatch.of(dict(sorted(clients.items()))), personal)


def judged(config: RunConfig, scores: ScoreBatch, personal: bool) -> Judged:
    """Return what :func:`judge` does, of histograms side by side."""
    folds = [scores.part(name) for name in (*CALIBRATION, *BALANCED)]
    distinct = {id(part): part for part in folds}  # two where nothing was balanced
    sums = {which: Histogram.sum([part.together]) for which, part in distinct.items()}
    calibration = _calibration(*(sums[id(part)] for part in folds))
    common = _threshold(config, calibration)
    keys = [common.key] * len(scores.clients)
    if personal:
        each_fold = zip(*(part.each() for part in folds), strict=True)
        keys = [_threshold(config, _calibration(*of_client)).key for of_client in each_fold]
    legitimate, fraud = (scores.parts[name] for name in TEST)

    def each() -> list[Metrics]:
        return evaluate_each(
            legitimate,
            fraud,
            keys,
            budget=config.alert_budget,
            fraud_amount=scores.amounts,
            knows_amount=scores.knows_amounts,
            alert_cost=config.alert_cost,
        )

    summed = Scores(Histogram.sum([legitimate.together]), Histogram.sum([fraud.together]))
    together = evaluate(
        summed.legitimate,
        summed.fraud,
        common.key,
        budget=config.alert_budget,
        fraud_amount=Histogram.sum([scores.amounts.together]) if all(scores.knows_amounts) else None,
        alert_cost=config.alert_cost,
    )
    if personal:  # each client flags by its own threshold: only the counts add up
        own = each()
        counts = (sum(values[name] for values in own) for name in ("tp", "fp", "tn", "fn"))
        together |= from_counts(*counts)
    return Judged(ByClient(scores.clients, each, together), common, summed, calibration.scores)


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
