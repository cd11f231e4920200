"""The metrics of many clients at once: what :func:`~fedanomaly.evaluation.evaluate` gives for each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedanomaly.core.floatgrid import KEY_MIN, Floats
from fedanomaly.core.histograms import KEY_BITS, Histograms
from fedanomaly.evaluation.metrics import (
    Metrics,
    all_alerts_allowed,
    from_many_counts,
    ratios,
)

Owners = npt.NDArray[np.intp]


def evaluate_each(
    legitimate: Histograms,
    fraud: Histograms,
    keys: Sequence[int],
    *,
    budget: float = 0.01,
    fraud_amount: Histograms | None = None,
    knows_amount: Sequence[bool] = (),
    alert_cost: float = 0.0,
) -> list[Metrics]:
    """Return all metrics of each client from the histograms of its own test scores.

    The cost a client is that of a few vector operations over all clients' bins: a thousand small
    clients take as long as ten calls of ``evaluate``.

    Parameters
    ----------
    legitimate, fraud : Histograms
        Test scores of each class, one of each a client; whole counts.
    keys : sequence of int
        Each client's threshold.
    budget, alert_cost : float
        As for ``evaluate``.
    fraud_amount : Histograms, optional
        Money in the frauds of those clients that know it.
    knows_amount : sequence of bool
        Which of the clients these are; empty: nobody.

    Returns
    -------
    list of dict of str to float
        In the order given; equal to what ``evaluate`` returns, up to rounding (1e-12 relative) in
        ``average_precision`` and ``precision_at_k``.
    """
    thresholds = np.asarray(keys, dtype=np.int64)
    good, bad = _bins(legitimate), _bins(fraud)
    tp, n_fraud = _flagged(bad, thresholds)
    fp, n_legitimate = _flagged(good, thresholds)
    alerts = all_alerts_allowed(budget, n_legitimate + n_fraud)
    auroc, precision, found = _ranked(good, bad, n_legitimate, n_fraud, alerts)
    columns = {
        **from_many_counts(tp, fp, n_legitimate - fp, n_fraud - tp),
        "auroc": auroc,
        "average_precision": precision,
        "alerts": alerts,
        "precision_at_k": ratios(found, alerts),
        "recall_at_k": ratios(found, n_fraud),
    }
    each = _by_client(columns)
    known = np.flatnonzero(np.asarray(knows_amount, dtype=np.bool_))
    caught, stake = _flagged(_bins(fraud_amount or Histograms.of([])), thresholds[known])
    lost = stake - caught
    cost = lost + alert_cost * (tp + fp)[known]
    amounts = _by_client({"amount_at_stake": stake, "amount_lost": lost, "cost": cost})
    for number, of_client in zip(known.tolist(), amounts, strict=True):
        each[number] |= of_client
    return each


def _by_client(columns: dict[str, Floats]) -> list[Metrics]:
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


_Bins = tuple[Owners, npt.NDArray[np.int64], Floats]


def _bins(parts: Histograms) -> _Bins:
    """Return owner, key and count of every bin of every client."""
    return parts.owners, parts.keys, parts.counts.astype(np.float64)


def _flagged(parts: _Bins, thresholds: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return how much each client has below its threshold, and in all."""
    owners, keys, counts = parts
    below = np.where(keys < thresholds[owners], counts, 0.0)
    return _summed(owners, below, len(thresholds)), _summed(owners, counts, len(thresholds))


def _summed(owners: npt.NDArray[np.intp], weights: Floats, n: int) -> Floats:
    return np.asarray(np.bincount(owners, weights, n), dtype=np.float64)


def _ranked(
    legitimate: _Bins,
    fraud: _Bins,
    n_legitimate: Floats,
    n_fraud: Floats,
    alerts: Floats,
) -> tuple[Floats, Floats, Floats]:
    """Return AUROC, average precision and the frauds among ``alerts`` rows; see ``Ranking``."""
    clients = len(n_legitimate)
    owners, keys, counts = (np.concatenate(arrays) for arrays in zip(legitimate, fraud, strict=True))
    is_fraud = np.arange(len(keys)) >= len(legitimate[1])
    order = np.argsort((owners << KEY_BITS) + (keys - KEY_MIN), kind="stable")  # two runs: they are merged
    order = order[counts[order] > 0]
    owners, keys, counts, is_fraud = owners[order], keys[order], counts[order], is_fraud[order]
    first = np.ones(len(keys), dtype=np.bool_)  # of a client's bin, which may hold both classes
    first[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
    bins = np.cumsum(first) - 1
    own = owners[first]
    good = _summed(bins, np.where(is_fraud, 0.0, counts), len(own))
    bad = _summed(bins, np.where(is_fraud, counts, 0.0), len(own))
    starts = np.searchsorted(own, np.arange(clients + 1))
    goods, bads = _running(good, own, starts), _running(bad, own, starts)
    flagged = goods + bads
    with np.errstate(divide="ignore", invalid="ignore"):
        before = np.bincount(own, bad * (n_legitimate[own] - goods + 0.5 * good), clients)
        auroc = before / (n_legitimate * n_fraud)  # 0 / 0 is NaN: undefined without both classes
        precision = np.bincount(own, bad * bads / flagged, clients) / n_fraud
    passed = np.bincount(own, flagged < alerts[own], clients).astype(np.intp)
    at = np.minimum(starts[:-1] + passed, max(len(own) - 1, 0))
    found = np.full(clients, math.nan)
    enough = alerts <= n_legitimate + n_fraud
    found[enough & (alerts == 0)] = 0.0
    cut = enough & (alerts > 0)
    at = at[cut]
    within = (alerts[cut] - (flagged[at] - good[at] - bad[at])) / (good[at] + bad[at])
    found[cut] = bads[at] - bad[at] + within * bad[at]
    return auroc, precision, found


def _running(counts: Floats, owners: Owners, starts: npt.NDArray[np.intp]) -> Floats:
    """Return running sums that begin anew with each client; exact for whole counts."""
    sums = np.cumsum(counts)
    return np.asarray(sums - np.concatenate([[0.0], sums])[starts[owners]])
