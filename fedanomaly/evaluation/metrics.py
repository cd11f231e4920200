"""Precision, recall and the rest from two histograms of scores; what is undefined is NaN, never 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.core.floatgrid import Floats, Histogram
from fedanomaly.evaluation.ranking import UNDEFINED, Ranking

Metrics = dict[str, float]
Number = TypeVar("Number", bound=Any)  # of one client, or an array of many

COUNTS = ("rows", "frauds", "tp", "fp", "tn", "fn")
"""Whole numbers of rows, which add up over clients."""

LOWER_IS_BETTER = frozenset({"false_positive_rate", "amount_lost", "cost"})
"""Metrics whose worst client is the one with the highest value."""

DESCRIPTIVE = frozenset(
    {
        *COUNTS,
        "prevalence",
        "flagged",
        "alerts",
        "accuracy_flag_nothing",
        "precision_ceiling",
        "amount_at_stake",
    }
)
"""Entries that describe the rows or the threshold: no client is better or worse for them."""


def alerts_allowed(budget: float, rows: float) -> int:
    """Return how many rows an alert budget allows to flag, rounded down.

    Parameters
    ----------
    budget : float
        Below 1 a share of the rows; from 1 on a number of alerts.
    rows : float
        How many rows there are.

    Raises
    ------
    UserError
        If the budget is not a positive finite number.
    """
    return int(all_alerts_allowed(budget, np.asarray(rows)))


def all_alerts_allowed(budget: float, rows: Floats) -> Floats:
    """Return :func:`alerts_allowed` for many numbers of rows; raise as it does."""
    if not (math.isfinite(budget) and budget > 0):
        raise UserError(
            f"the alert budget must be positive (a share below 1, or a number of alerts), got {budget}"
        )
    # 0.29 * 100 is 28.999999999999996: the tolerance makes it 29
    return np.floor(budget * rows + 1e-9 if budget < 1 else np.full(rows.shape, budget))


def precision_at_rates(prevalence: float, recall: float, false_positive_rate: float) -> float:
    """Return ``pi R / (pi R + (1 - pi) FPR)``: the precision that these rates must give.

    With ``recall=1`` it is the ceiling of precision at a false-positive rate: at .13 % fraud and
    .5 % false positives no detector can be more precise than .21. NaN if nothing would be flagged.
    """
    hits = prevalence * recall
    flagged = hits + (1 - prevalence) * false_positive_rate
    return hits / flagged if flagged > 0 else UNDEFINED


def from_counts(tp: float, fp: float, tn: float, fn: float) -> Metrics:
    """Return everything that follows from confusion counts.

    Parameters
    ----------
    tp, fp, tn, fn : float
        Frauds flagged, legitimate rows flagged, legitimate rows spared, frauds missed.

    Returns
    -------
    dict of str to float
        The counts; ``rows`` and ``frauds``; ``prevalence`` and ``flagged`` (shares of all rows);
        ``precision`` (NaN if nothing is flagged); ``recall`` and ``f1`` (NaN without frauds);
        ``accuracy`` beside ``accuracy_flag_nothing``; ``false_positive_rate``; and
        ``precision_ceiling``: the precision at this false-positive rate had every fraud been
        found, see :func:`precision_at_rates`.
    """
    return _following(tp, fp, tn, fn, _ratio)


def from_many_counts(tp: Floats, fp: Floats, tn: Floats, fn: Floats) -> dict[str, Floats]:
    """Return :func:`from_counts` for many clients, arrays of shape (n_clients,)."""
    return _following(tp, fp, tn, fn, ratios)


def _following(
    tp: Number, fp: Number, tn: Number, fn: Number, ratio: Callable[[Number, Number], Number]
) -> dict[str, Number]:
    rows, frauds = tp + fp + tn + fn, tp + fn
    any_fraud = frauds > 0
    return {
        "rows": rows,
        "frauds": frauds,
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
        "prevalence": ratio(frauds, rows),
        "flagged": ratio(tp + fp, rows),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, frauds),
        "f1": ratio(tp + tp, any_fraud * (tp + tp + fp + fn)),
        "accuracy": ratio(tp + tn, rows),
        "accuracy_flag_nothing": ratio(fp + tn, rows),
        "false_positive_rate": ratio(fp, fp + tn),
        # precision_at_rates(prevalence, 1, fpr), written so that it is 1 without legitimate rows
        "precision_ceiling": ratio(frauds, any_fraud * (frauds + fp)),
    }


def evaluate(
    legitimate: Histogram,
    fraud: Histogram,
    key: int,
    *,
    budget: float = 0.01,
    fraud_amount: Histogram | None = None,
    alert_cost: float = 0.0,
) -> Metrics:
    """Return all metrics of a detector from histograms of its test scores.

    Parameters
    ----------
    legitimate, fraud : Histogram
        Test scores of each class: the lower, the more abnormal. Either may be empty.
    key : int
        The threshold, :attr:`Threshold.key <fedanomaly.evaluation.Threshold>`: rows in bins before
        it are flagged, which are exactly those with ``score < lower_edges(key)``.
    budget : float
        Alert budget of ``precision_at_k`` and ``recall_at_k``, see :func:`alerts_allowed`.
    fraud_amount : Histogram, optional
        Money in the frauds of each bin (float64 counts), for the expected cost.
    alert_cost : float
        What looking into one alert costs, in the unit of the amounts.

    Returns
    -------
    dict of str to float
        The entries of :func:`from_counts`; ``auroc``; ``average_precision``; ``alerts`` (k: how many
        rows the budget flags), ``precision_at_k``, ``recall_at_k``. With ``fraud_amount`` also
        ``amount_at_stake``, ``amount_lost`` (in missed frauds) and ``cost`` (lost + alerts raised).
    """
    tp, fp = fraud.below(key), legitimate.below(key)
    metrics = from_counts(tp, fp, legitimate.total - fp, fraud.total - tp)
    ranking = Ranking.of(legitimate, fraud)
    alerts = alerts_allowed(budget, metrics["rows"])
    found = ranking.found_among(alerts)
    metrics |= {
        "auroc": ranking.auroc,
        "average_precision": ranking.average_precision,
        "alerts": float(alerts),
        "precision_at_k": _ratio(found, alerts),
        "recall_at_k": _ratio(found, fraud.total),
    }
    if fraud_amount is not None:
        lost = fraud_amount.total - fraud_amount.below(key)
        metrics |= {
            "amount_at_stake": fraud_amount.total,
            "amount_lost": lost,
            "cost": lost + alert_cost * (tp + fp),
        }
    return metrics


@dataclass(frozen=True)
class Summary:
    """A run over all its clients.

    Attributes
    ----------
    micro : dict of str to float
        From the clients' confusion counts added up: every row counts the same, and each client's
        own threshold is respected. Holds no ranking metrics; those need the summed histograms.
    mean : dict of str to float
        Every client counts the same; clients where a metric is undefined are left out of it.
    worst : dict of str to float
        The value of the worst client for which the metric is defined, NaN if there is none.
    worst_client : dict of str to str
        Which client that is; ``""`` if there is none.
    defined : dict of str to int
        For how many clients the metric is defined.
    """

    micro: Metrics
    mean: Metrics
    worst: Metrics
    worst_client: dict[str, str]
    defined: dict[str, int]


def summary(per_client: Mapping[str, Mapping[str, float]]) -> Summary:
    """Summarize the metrics of several clients, given by client name."""
    names = list(dict.fromkeys(name for metrics in per_client.values() for name in metrics))
    mean, worst, worst_client, defined = {}, {}, {}, {}
    for name in names:
        values = {
            client: metrics[name]
            for client, metrics in per_client.items()
            if name in metrics and not math.isnan(metrics[name])
        }
        defined[name] = len(values)
        mean[name] = math.fsum(values.values()) / len(values) if values else UNDEFINED
        if name in DESCRIPTIVE:
            continue
        pick = max if name in LOWER_IS_BETTER else min
        worst_client[name] = pick(values, key=values.__getitem__) if values else ""
        worst[name] = values[worst_client[name]] if values else UNDEFINED
    sums = [
        math.fsum(metrics.get(name, 0.0) for metrics in per_client.values())
        for name in ("tp", "fp", "tn", "fn")
    ]
    return Summary(from_counts(*sums), mean, worst, worst_client, defined)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else UNDEFINED


def ratios(part: Floats, whole: Floats) -> Floats:
    """Return quotients; what is undefined is NaN."""
    quotients: Floats = np.full(whole.shape, UNDEFINED)
    return np.divide(part, whole, out=quotients, where=whole != 0)
