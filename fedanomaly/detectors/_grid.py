"""Histograms whose bins move to where they are needed, by integer counts that only ever add up.

A quantile or an empirical distribution of what several clients hold needs bins all of them share,
and nobody knows the range beforehand. So clients first count on a grid that covers all numbers, one
bin an octave; the server looks at the sums, lays the next bins where they matter, and asks again.
Every exchange is a table of integers of one shape, fit for a secure sum, and a cut depends on sums
alone: the last histogram does not depend on the partition, to the bit. (Quantile sketches as those
of Apache DataSketches need one exchange, but keep random values of single rows, are no sums, and
draw from a generator that cannot be seeded.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Array, Arrays, require, require_only, within
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Sensitivity
from fedanomaly.detectors._received import all_equal_rows, most_rows, require_float64
from fedanomaly.detectors.base import features_of
from fedanomaly.privacy.repair import rising_counts

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Refine = Callable[[Floats, Counts], Floats]
"""From one feature's cuts (ascending) and counts (one more) to the cuts of the next exchange."""

CUTS_A_ROW = 8
"""So many cuts are found among sorted values in the time that one value takes to find its bin."""
END = 2.0**96
_POWERS = 2.0 ** np.arange(-32, 96)
OCTAVES: Floats = np.concatenate([-_POWERS[::-1], _POWERS])
"""Where it starts: what lies below 2**-32 of zero is one bin, what lies beyond 2**95 another."""


class CountStep(AdditiveStep):
    """How many rows lie between any two cuts, each feature by itself; then other cuts.

    Bins are half open: a value that equals a cut counts above it.
    """

    name = "count"
    any_row_length = True

    def __init__(self, refine: Refine | None = None) -> None:
        self.refine = refine

    def request(self, state: Arrays) -> Arrays:
        """Return the current cuts, shape (n_features, n_cuts), or (1, n_cuts) for all features."""
        return {"cuts": _cuts(state)}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``counts`` of shape (n_features, n_cuts + 1), int64."""
        cuts = require_cuts(request, X.shape[1])
        return {"counts": counted(X, cuts)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept histograms of one and the same number of rows, no more than the client can have."""
        require_only(answer, {"counts"})
        shape = (features_of(state), _cuts(state).shape[1] + 1)
        require_counts(answer, shape, most_rows(state, turn))

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Look at all histograms at once."""
        batch = answers.stacked({"counts": np.int64})
        if batch is None or (counts := batch["counts"]).ndim != 3:
            return False
        _, n_features, n_bins = counts.shape
        return (
            n_bins == _cuts(state).shape[1] + 1
            and n_features == (features_of(state) or n_features)
            and n_features > 0
            and within(counts, 0, 2**53)
            and all_equal_rows(state, counts.sum(axis=2, dtype=np.float64), answers)
        )

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep counts and cuts, and the next cuts if there are to be any."""
        counts = total["counts"]
        cuts = np.broadcast_to(_cuts(state), (len(counts), counts.shape[1] - 1))
        if self.refine is not None:
            cuts = np.array([self.refine(*feature) for feature in zip(cuts, counts, strict=True)])
        return {"grid/cuts": np.ascontiguousarray(cuts), "grid/counts": counts}

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """Return 2 counts a feature: the bin a row leaves and the bin it enters."""
        return {"counts": Sensitivity(2.0 * n_features, (2.0 * n_features) ** 0.5)}

    def repaired(self, total: Arrays) -> Arrays:
        """Return counts that are not negative and add up to the same in every feature."""
        return {"counts": rising_counts(total["counts"])}


def require_cuts(arrays: Arrays, n_features: int | None) -> Floats:
    """Return ``cuts`` of shape (n_features, n_cuts), each feature's ascending; one row stands for all."""
    cuts = require_float64(arrays, "cuts", (None, None), low=-END, high=END)
    if not cuts.size or (np.diff(cuts, axis=1) < 0).any():
        raise InvalidArrays("array 'cuts' is not ascending")
    if n_features is not None and len(cuts) not in (1, n_features):
        raise InvalidArrays(f"array 'cuts' is for {len(cuts)} features, expected {n_features}")
    return cuts if n_features is None else np.broadcast_to(cuts, (n_features, cuts.shape[1]))


def require_counts(arrays: Arrays, shape: tuple[int | None, int], rows: int = 2**53) -> Counts:
    """Return ``counts`` of that shape, int64: each feature's add up to the same number, 1 to ``rows``."""
    counts = require(arrays, "counts", kind="i", shape=shape, low=0, high=rows)
    if counts.dtype != np.int64:
        raise InvalidArrays(f"array 'counts' is {counts.dtype}, expected int64")
    totals = counts.sum(axis=1, dtype=np.float64)  # cannot overflow, and is exact up to 2**53
    if not len(totals) or (totals != totals[0]).any() or not 1 <= totals[0] <= rows:
        raise InvalidArrays("the features' histograms do not count the same rows")
    return counts


def bins_of(values: Array, cuts: Floats) -> npt.NDArray[np.int64]:
    """Return the bin of each value: how many cuts are at or below it."""
    return np.asarray(np.searchsorted(cuts, values, side="right"), dtype=np.int64)


def counted(X: Array, cuts: Floats) -> Counts:
    """Return how many values of each feature lie between any two of its cuts, shape (n_features, n_cuts + 1).

    Cuts are looked up among sorted values, not values among cuts: sorting is vectorised, and each look-up
    then begins where the last one ended. Except for few rows, fewer than what finding all cuts would cost.
    """
    n_rows, n_cuts = len(X), cuts.shape[1]
    if n_rows * CUTS_A_ROW < n_cuts:
        each = [np.bincount(bins_of(x, own), minlength=n_cuts + 1) for x, own in zip(X.T, cuts, strict=True)]
        return np.array(each, dtype=np.int64)
    columns = X.T.copy()
    columns.sort(axis=1)
    below = np.array([column.searchsorted(own) for column, own in zip(columns, cuts, strict=True)])
    return np.diff(below, axis=1, prepend=0, append=n_rows).astype(np.int64, copy=False)


def around_quantiles(shares: Sequence[float], pieces: int) -> Refine:
    """Return the refinement that cuts each of the bins which hold these quantiles into equal pieces."""

    def refine(cuts: Floats, counts: Counts) -> Floats:
        low, high = brackets(cuts, counts, shares)
        return np.sort(np.linspace(low, high, pieces + 1), axis=None)

    return refine


def brackets(cuts: Floats, counts: Counts, shares: Sequence[float]) -> tuple[Floats, Floats]:
    """Return the bin that holds the smallest value with at least so large a share of rows at or below it.

    Both ends of one bin for every share, each of shape (n_shares,).
    """
    cumulative = counts.cumsum()
    n_rows = cumulative[-1]
    ranks = np.clip(np.ceil(np.multiply(shares, n_rows)).astype(np.int64), 1, n_rows)
    at, edges = cumulative.searchsorted(ranks), _edges(cuts)
    return edges[at], edges[at + 1]


def even_in_log_tails(n_cuts: int) -> Refine:
    """Return the refinement after which each bin holds about the same step of the logarithm of both tails.

    A bin of the next grid spans about ``4 log(2 N) / n_cuts`` in ``log P(X <= x)`` and ``log P(X >= x)``
    together: fine in the tails down to single rows, coarse in the middle, where both hardly change.
    Cuts are rounded to float32.
    """

    def refine(cuts: Floats, counts: Counts) -> Floats:
        held = np.flatnonzero(counts)
        first, last = int(held[0]), int(held[-1]) + 1
        steps = np.zeros(len(counts) + 1)
        for ordered in (slice(None), slice(None, None, -1)):
            tail = np.log(np.maximum(np.cumsum(counts[ordered]), 0.5))
            steps[1:] += np.diff(tail, prepend=np.log(0.5))[ordered]
        depth = np.cumsum(steps)[first : last + 1]
        levels = np.linspace(depth[0], depth[-1], n_cuts)
        exact = np.sort(np.interp(levels, depth, _edges(cuts)[first : last + 1]))
        return exact.astype(np.float32).astype(np.float64)  # half the bytes on the wire

    return refine


def _cuts(state: Arrays) -> Floats:
    return state.get("grid/cuts", OCTAVES[None])


def _edges(cuts: Floats) -> Floats:
    """Return the cuts with a last edge at either end."""
    return np.concatenate([[-END], cuts, [END]])
