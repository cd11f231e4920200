"""Robust scaling: median and interquartile range from summed sparse histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.floatgrid import KEY_MAX, KEY_MIN, Histogram, lower_edges
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep
from fedanomaly.prepare.scaling import SCALINGS, declared_rows, scaling_state

MAX_BINS = 1024
_LARGEST = 8e307
_MAX_COARSENING = 14  # 24-bit keys less 14 bits: never more than MAX_BINS bins
# the interquartile range, or the next wider one where a feature is mostly one value
_RANGES = ((0.25, 0.75), (0.05, 0.95), (0.01, 0.99), (0.0, 1.0))


@SCALINGS.register("robust")
class RobustScaling(CollectStep):
    """Median and interquartile range over all clients' training rows, as scikit-learn's ``RobustScaler``.

    Each feature is counted on the float grid (:mod:`fedanomaly.core.floatgrid`), of which as many
    low bits are dropped as leave at most 1024 bins: a feature far from zero keeps all its 12 bits,
    one that spans many powers of two gets fewer. The server adds the counts at the coarsest
    client's level and coarsens further by the same rule, which gives the histogram of the pooled
    rows: the scaling does not depend on the partition, to the bit.

    Answer: ``bins`` (n_features,) int64 and ``coarsening`` (n_features,) int64, bins of each feature
    and bits dropped; ``keys`` int32 and ``counts`` int64, the features' bins one after the other.

    Notes
    -----
    Where both quartiles share a bin (a feature that is mostly zero) the 5 to 95 %, the 1 to 99 % or
    the whole range is taken; if that is one bin too, the feature counts as constant.
    """

    name = "robust-scaling"
    leaks: ClassVar[str] = "how many rows lie in each of at most 1024 bins of each feature"

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the client's histogram of each feature."""
        parts = [_coarsened(Histogram.of(X[:, feature]), 0) for feature in range(X.shape[1])]
        return {
            "bins": np.array([len(part.keys) for part, _ in parts], dtype=np.int64),
            "coarsening": np.array([bits for _, bits in parts], dtype=np.int64),
            "keys": np.concatenate([part.keys for part, _ in parts]).astype(np.int32),
            "counts": np.concatenate([part.counts for part, _ in parts]).astype(np.int64),
        }

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Refuse what is not one histogram a feature over the same, declared number of rows."""
        require_only(answer, {"bins", "coarsening", "keys", "counts"})
        bins = require(answer, "bins", kind="i", shape=(None,), low=1, high=MAX_BINS)
        require(answer, "coarsening", kind="i", shape=bins.shape, low=0, high=_MAX_COARSENING)
        if not len(bins):
            raise InvalidArrays("there is no histogram at all")
        n_bins = int(bins.sum(dtype=np.int64))
        keys = require(answer, "keys", kind="i", shape=(n_bins,), low=KEY_MIN, high=KEY_MAX)
        counts = require(answer, "counts", kind="i", shape=(n_bins,), low=1, high=2**53)
        ends = np.cumsum(bins, dtype=np.int64)
        rises = np.diff(keys.astype(np.int64)) > 0
        rises[ends[:-1] - 1] = True  # from one feature to the next
        if not rises.all():
            raise InvalidArrays("the bins of a feature are not strictly ascending")
        level = np.repeat(answer["coarsening"].astype(np.int64), bins)
        if (keys < (np.int64(KEY_MIN) >> level)).any() or (keys > (np.int64(KEY_MAX) >> level)).any():
            raise InvalidArrays("a bin lies outside the grid")
        totals = np.add.reduceat(counts.astype(np.float64), ends - bins)
        if (totals != totals[0]).any() or totals[0] > declared_rows(state, turn):
            raise InvalidArrays("the features' histograms do not count the client's rows")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Return the state with median and range of all rows."""
        if len({answer["bins"].shape for _, answer in answers}) != 1:
            raise InvalidArrays("clients sent histograms of different numbers of features")
        clients = [_features(answer) for _, answer in answers]
        fitted = [_median_and_range(*_merged(feature)) for feature in zip(*clients, strict=True)]
        center, scale = np.array(fitted, dtype=np.float64).T
        return scaling_state(state, center, scale)


def _features(answer: Arrays) -> list[tuple[Histogram, int]]:
    """Return the histogram of each feature and how many bits it lacks."""
    ends = np.cumsum(answer["bins"])[:-1]
    keys = np.split(answer["keys"].astype(np.int64), ends)
    counts = np.split(answer["counts"].astype(np.int64), ends)
    return [
        (Histogram(k, c), int(bits)) for k, c, bits in zip(keys, counts, answer["coarsening"], strict=True)
    ]


def _coarsened(histogram: Histogram, bits: int) -> tuple[Histogram, int]:
    """Drop the fewest further bits that leave at most ``MAX_BINS`` bins; return all bits dropped, too."""
    extra = 0
    while np.count_nonzero(np.diff(histogram.keys >> extra)) >= MAX_BINS:
        extra += 1
    return _dropped(histogram, extra), bits + extra


def _dropped(histogram: Histogram, bits: int) -> Histogram:
    return Histogram.sum([Histogram(histogram.keys >> bits, histogram.counts)]) if bits else histogram


def _merged(parts: Sequence[tuple[Histogram, int]]) -> tuple[Histogram, int]:
    coarsest = max(bits for _, bits in parts)
    return _coarsened(Histogram.sum([_dropped(part, coarsest - bits) for part, bits in parts]), coarsest)


def _median_and_range(histogram: Histogram, bits: int) -> tuple[float, float]:
    cumulative = np.cumsum(histogram.counts)

    def bin_of(q: float) -> int:
        return min(int(np.searchsorted(cumulative, q * cumulative[-1])), len(cumulative) - 1)

    def quantile(q: float) -> float:
        at = bin_of(q)
        low, high = _edge(histogram.keys[at], bits), _edge(histogram.keys[at] + 1, bits)
        inside = (q * cumulative[-1] - (cumulative[at] - histogram.counts[at])) / histogram.counts[at]
        return float(low + inside * (high - low))

    for low, high in _RANGES:
        if bin_of(low) != bin_of(high):
            return quantile(0.5), quantile(high) - quantile(low)
    return quantile(0.5), 0.0


def _edge(key: int, bits: int) -> float:
    """Return a bin's lower edge, kept so far from the largest float that differences stay finite."""
    edge = float(lower_edges(min(max(int(key) << bits, KEY_MIN), KEY_MAX)))
    return min(max(edge, -_LARGEST), _LARGEST) if math.isfinite(edge) else math.copysign(_LARGEST, key)
