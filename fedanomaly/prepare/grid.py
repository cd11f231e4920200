"""Robust scaling from counts on one fixed grid: additive, so fit for secure sums and private noise."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Sensitivity
from fedanomaly.prepare.scaling import SCALINGS, declared_rows, scaling_state
from fedanomaly.privacy.repair import rising_counts

_STEPS = np.arange(-20, 61) / 2.0
EDGES: npt.NDArray[np.float64] = np.concatenate([-np.exp2(_STEPS[::-1]), np.exp2(_STEPS)])
"""Two bins an octave from 2**-10 to 2**30 on either side of zero, one around zero, two beyond."""

N_BINS = len(EDGES) + 1
_RANGES = ((0.25, 0.75), (0.05, 0.95), (0.01, 0.99))


@SCALINGS.register("grid")
class GridScaling(AdditiveStep):
    """Median and interquartile range from counts on a fixed grid of two bins an octave.

    Coarser than ``robust`` (quantiles are interpolated inside bins), but additive, and a row changes
    the counts by a known amount: it can be summed under encryption and made private.

    Answer: ``count`` (1,) int64 and ``counts`` (n_features, 163) int64.

    Notes
    -----
    Where the quartiles share a bin the 5 to 95 % or the 1 to 99 % range is taken, else the bin itself
    is the range: a feature whose values are all alike to 40 % is centred on its bin.
    """

    name = "grid-scaling"
    leaks: ClassVar[str] = "how many rows lie in each of 163 fixed bins of each feature"
    any_row_length = True

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the client's counts."""
        bins = np.searchsorted(EDGES, X)
        offset = np.arange(X.shape[1], dtype=np.int64) * N_BINS
        counts = np.bincount((bins + offset).ravel(), minlength=X.shape[1] * N_BINS)
        return {
            "count": np.array([len(X)], dtype=np.int64),
            "counts": counts.reshape(X.shape[1], N_BINS).astype(np.int64),
        }

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Refuse what does not count the declared rows once a feature."""
        require_only(answer, {"count", "counts"})
        count = require(answer, "count", kind="i", shape=(1,), low=1, high=declared_rows(state, turn))
        counts = require(answer, "counts", kind="i", shape=(None, N_BINS), low=0, high=2**53)
        if count.dtype != np.int64 or counts.dtype != np.int64:
            raise InvalidArrays("counts are not int64")
        if not len(counts) or (counts.sum(axis=1, dtype=np.float64) != count[0]).any():
            raise InvalidArrays("the features' histograms do not count the client's rows")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Return the state with median and range of all rows."""
        fitted = [_median_and_range(counts) for counts in total["counts"]]
        center, scale = np.array(fitted, dtype=np.float64).T
        return scaling_state(state, center, scale)

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """Return 2 counts a feature: the bin a row leaves and the bin it enters."""
        moved = 2.0 * n_features
        return {"count": Sensitivity(0.0, 0.0), "counts": Sensitivity(moved, moved**0.5)}

    def repaired(self, total: Arrays) -> Arrays:
        """Return counts that add up to the number of rows."""
        n = max(1, int(total["count"][0]))
        return {"count": np.array([n]), "counts": rising_counts(total["counts"], n)}


def _median_and_range(counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    cumulative = np.cumsum(counts)
    edges = np.concatenate([EDGES[:1] * 2, EDGES, EDGES[-1:] * 2])

    def bin_of(q: float) -> int:
        return min(int(np.searchsorted(cumulative, max(q * cumulative[-1], 1e-9))), N_BINS - 1)

    def quantile(q: float) -> float:
        at = bin_of(q)
        inside = (q * cumulative[-1] - (cumulative[at] - counts[at])) / max(int(counts[at]), 1)
        return float(edges[at] + inside * (edges[at + 1] - edges[at]))

    for low, high in _RANGES:
        if bin_of(low) != bin_of(high):
            return quantile(0.5), quantile(high) - quantile(low)
    at = bin_of(0.5)
    return float(edges[at] + edges[at + 1]) / 2.0, float(edges[at + 1] - edges[at])
