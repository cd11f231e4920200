"""Two classes of scores on one axis: everything that depends on the order of scores and on no threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedanomaly.core.floatgrid import Floats, Histogram, Keys, lower_edges, to_keys

UNDEFINED = float("nan")


@dataclass(frozen=True, eq=False)
class Ranking:
    """How many legitimate rows and frauds lie in each occupied bin, the most abnormal bin first.

    Rows in one bin are tied. Nothing is interpolated: the figures below are those that
    :mod:`sklearn.metrics` gives on raw scores replaced by the edges of their bins.

    Attributes
    ----------
    keys : ndarray of shape (n_bins,), int64
        Bins of the float grid that hold at least one row, ascending.
    legitimate, fraud : ndarray of shape (n_bins,), float64
        Rows of each class in each bin; whole numbers unless rows carry weights.
    """

    keys: Keys
    legitimate: Floats
    fraud: Floats

    @classmethod
    def of(cls, legitimate: Histogram, fraud: Histogram) -> Ranking:
        """Merge the two classes' histograms of scores (the lower, the more abnormal)."""
        both = np.concatenate([legitimate.keys, fraud.keys])
        keys = np.sort(both, kind="stable")  # two ascending runs: they are merged
        keys = keys[np.diff(keys, prepend=keys[:1] - 1) != 0]
        counts = np.zeros((2, len(keys)))
        for row, histogram in enumerate((legitimate, fraud)):
            counts[row, np.searchsorted(keys, histogram.keys)] = histogram.counts
        occupied = counts.any(axis=0)
        return cls(keys[occupied], counts[0, occupied], counts[1, occupied])

    @property
    def prevalence(self) -> float:
        """Share of frauds among all rows; NaN without rows."""
        rows = self.legitimate.sum() + self.fraud.sum()
        return float(self.fraud.sum() / rows) if rows else UNDEFINED

    @property
    def auroc(self) -> float:
        """Probability that a fraud scores below a legitimate row, ties half; NaN without both classes."""
        n_legitimate, n_fraud = self.legitimate.sum(), self.fraud.sum()
        if n_legitimate == 0 or n_fraud == 0:
            return UNDEFINED
        above = n_legitimate - np.cumsum(self.legitimate)
        return float((self.fraud * (above + 0.5 * self.legitimate)).sum() / (n_legitimate * n_fraud))

    @property
    def average_precision(self) -> float:
        """Sum of precision times gain in recall over the bins (no interpolation); NaN without frauds."""
        n_fraud = self.fraud.sum()
        if n_fraud == 0:
            return UNDEFINED
        found = np.cumsum(self.fraud)
        flagged = found + np.cumsum(self.legitimate)
        return float((self.fraud * found / flagged).sum() / n_fraud)

    def roc_curve(self) -> tuple[Floats, Floats]:
        """Return false-positive rate and recall from (0, 0) to (1, 1); NaN for a class without rows."""
        return _shares(self.legitimate), _shares(self.fraud)

    def precision_recall_curve(self) -> tuple[Floats, Floats]:
        """Return recall and precision at the edge after each bin; recall is NaN without frauds."""
        found = np.cumsum(self.fraud)
        flagged = found + np.cumsum(self.legitimate)
        return _shares(self.fraud)[1:], found / flagged

    def found_among(self, alerts: int) -> float:
        """Return how many frauds the ``alerts`` most abnormal rows hold.

        Where the cut falls inside a bin this is the expected number under a random order of its
        rows; NaN if there are fewer rows than alerts.
        """
        flagged = np.concatenate([[0.0], np.cumsum(self.fraud + self.legitimate)])
        if alerts > flagged[-1]:
            return UNDEFINED
        return float(np.interp(alerts, flagged, np.concatenate([[0.0], np.cumsum(self.fraud)])))

    def cut(self, at: int) -> int:
        """Return the key at which a threshold flags the first ``at`` bins; there is at least one bin.

        A cut between two bins lies halfway (in score) between the last flagged and the first spared
        row, so that a score not seen here falls to its nearer neighbour.
        """
        if not 0 < at < len(self.keys):
            return int(self.keys[-1] + 1 if at else self.keys[0])
        end = lower_edges(self.keys[at - 1] + 1)
        return int(to_keys(end + (lower_edges(self.keys[at]) - end) / 2))


def _shares(counts: Floats) -> Floats:
    """Return cumulative shares, beginning with 0; NaN if nothing was counted."""
    total = counts.sum()
    if total == 0:
        return np.full(len(counts) + 1, UNDEFINED)
    return np.concatenate([[0.0], np.cumsum(counts) / total])


__all__ = ["UNDEFINED", "Ranking"]
