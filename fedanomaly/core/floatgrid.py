"""A fixed grid over all floating-point numbers, on which histograms of anything can be added.

A quantile of what several clients hold needs a common grid. Instead of agreeing on a range first
(one more exchange, and minima and maxima would leak), the grid is the floating-point numbers
themselves: the order-preserving integer image of a float64, cut to 12 mantissa bits. Every bin has
a relative width of 2**-12, no value is out of range, and counts stay integers, so sums are exact
and do not depend on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require
from fedanomaly.core.errors import InvalidArrays

MANTISSA_BITS = 12
_DROP = 52 - MANTISSA_BITS
_FLIP = np.int64(0x7FFFFFFFFFFFFFFF)
KEY_MIN = int(-(1 << 63) >> _DROP)
KEY_MAX = int(((1 << 63) - 1) >> _DROP)

Keys = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def to_keys(values: npt.ArrayLike) -> Keys:
    """Return the bin of each value, shape unchanged: ``a < b`` implies ``key(a) <= key(b)``."""
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.int64)  # + 0.0 turns -0.0 into 0.0
    return np.asarray((bits ^ ((bits >> np.int64(63)) & _FLIP)) >> np.int64(_DROP), dtype=np.int64)


def lower_edges(keys: npt.ArrayLike) -> Floats:
    """Return the smallest float64 in each bin, so that ``value < edge`` iff ``to_keys(value) < key``."""
    bits = np.asarray(keys, dtype=np.int64) << np.int64(_DROP)
    return np.asarray((bits ^ ((bits >> np.int64(63)) & _FLIP)).view(np.float64), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Histogram:
    """A sparse histogram on the float grid.

    Attributes
    ----------
    keys : ndarray of shape (n_bins,), int64
        Occupied bins, strictly ascending.
    counts : ndarray of shape (n_bins,), int64 or float64
        How many values each holds (float64 where rows carry weights).
    """

    keys: Keys
    counts: Array

    @classmethod
    def of(cls, values: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Histogram:
        """Count finite values, or add up their ``weights`` (float64, not negative), bin by bin."""
        if weights is None:
            keys, counts = np.unique(to_keys(values), return_counts=True)
            return cls(keys, counts.astype(np.int64, copy=False))
        keys, inverse = np.unique(to_keys(values), return_inverse=True)
        counts = np.bincount(inverse, np.asarray(weights, dtype=np.float64), len(keys))
        return cls(keys, counts.astype(np.float64, copy=False))  # numpy counts no values in integers

    @classmethod
    def sum(cls, parts: Sequence[Histogram]) -> Histogram:
        """Add histograms; exact for integer counts."""
        if not parts:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64))
        keys, inverse = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)
        counts = np.concatenate([part.counts for part in parts])
        total = np.zeros(len(keys), dtype=counts.dtype)
        np.add.at(total, inverse, counts)
        return cls(keys, total)

    @property
    def total(self) -> float:
        """Sum of all counts."""
        return float(self.counts.sum(dtype=np.float64))  # whole numbers must not wrap

    def scaled(self, factor: float) -> Histogram:
        """Return the histogram with every count multiplied by ``factor`` (float64 counts)."""
        return Histogram(self.keys, self.counts.astype(np.float64) * factor)

    def below(self, key: int) -> float:
        """Return how many values lie in bins before ``key``."""
        return float(self.counts[: int(np.searchsorted(self.keys, key))].sum())

    def quantile(self, q: float) -> float:
        """Return the ``q`` quantile (0 to 1), interpolated inside its bin; NaN if empty."""
        if not len(self.keys):
            return float("nan")
        cumulative = np.cumsum(self.counts, dtype=np.float64)
        rank = q * cumulative[-1]
        bin_ = min(int(np.searchsorted(cumulative, rank)), len(self.keys) - 1)
        low, high = lower_edges(self.keys[bin_]), lower_edges(self.keys[bin_] + 1)
        inside = (rank - (cumulative[bin_] - self.counts[bin_])) / self.counts[bin_]
        return float(low + inside * (high - low)) if np.isfinite(high) else float(low)

    def to_arrays(self, name: str) -> Arrays:
        """Return the wire form: ``name/keys`` and ``name/counts``."""
        return {f"{name}/keys": self.keys, f"{name}/counts": self.counts}

    @classmethod
    def from_arrays(cls, arrays: Arrays, name: str) -> Histogram:
        """Read the wire form back; raise :class:`InvalidArrays` unless it is a histogram."""
        keys = require(arrays, f"{name}/keys", kind="i", shape=(None,))
        counts = require(arrays, f"{name}/counts", kind="iuf", shape=(len(keys),), low=0, high=2**53)
        if len(keys):
            if not (keys[1:] > keys[:-1]).all():
                raise InvalidArrays(f"bins of histogram {name!r} are not strictly ascending")
            if keys[0] < KEY_MIN or keys[-1] > KEY_MAX:
                raise InvalidArrays(f"bins of histogram {name!r} are not bins of float64 values")
        if keys.dtype != np.int64:
            raise InvalidArrays(f"bins of histogram {name!r} are {keys.dtype}, expected int64")
        if counts.dtype != np.int64 and counts.dtype != np.float64:
            raise InvalidArrays(f"counts of histogram {name!r} are {counts.dtype}, expected int64")
        return cls(keys, counts)


__all__ = ["KEY_MAX", "KEY_MIN", "Histogram", "lower_edges", "to_keys"]
