"""Histograms side by side, of classes or of clients: a thousand small ones in a few arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.floatgrid import KEY_MAX, KEY_MIN, Floats, Histogram, Keys, to_keys

KEY_BITS = (KEY_MAX - KEY_MIN).bit_length()
_KEY_MASK = (1 << KEY_BITS) - 1


@dataclass(frozen=True, eq=False)
class Histograms:
    """One histogram a client, or a class.

    Attributes
    ----------
    keys, counts : ndarrays of shape (n_bins,)
        Those of :class:`~fedanomaly.core.floatgrid.Histogram`, client after client.
    bins : ndarray of shape (n_clients,), int64
        How many bins each client has.
    """

    keys: Keys
    counts: Array
    bins: npt.NDArray[np.int64]

    @classmethod
    def of(cls, parts: Sequence[Histogram]) -> Histograms:
        """Return ``parts`` side by side."""
        return cls._beside([part.keys for part in parts], [part.counts for part in parts])

    @classmethod
    def joined(cls, batches: Sequence[Histograms]) -> Histograms:
        """Return the histograms of all clients of all batches."""
        if not batches:
            return cls.of([])
        return cls(
            np.concatenate([batch.keys for batch in batches]),
            np.concatenate([batch.counts for batch in batches]),
            np.concatenate([batch.bins for batch in batches]),
        )

    @classmethod
    def of_classes(cls, values: npt.ArrayLike, classes: npt.NDArray[np.int64], n_classes: int) -> Histograms:
        """Count values, one histogram a class (0 to ``n_classes - 1``)."""
        codes, counts = np.unique((classes << KEY_BITS) + (to_keys(values) - KEY_MIN), return_counts=True)
        bins = np.bincount(codes >> KEY_BITS, minlength=n_classes)
        return cls((codes & _KEY_MASK) + KEY_MIN, counts, bins)

    @classmethod
    def _beside(cls, keys: Sequence[Any], counts: Sequence[Any]) -> Histograms:
        bins = np.array([len(part) for part in keys], dtype=np.int64)
        if not len(bins):
            return cls(np.empty(0, np.int64), np.empty(0, np.int64), bins)
        return cls(np.concatenate(keys), np.concatenate(counts), bins)

    def __len__(self) -> int:
        return len(self.bins)

    @property
    def owners(self) -> npt.NDArray[np.intp]:
        """Which histogram each bin belongs to."""
        return np.repeat(np.arange(len(self.bins)), self.bins)

    @property
    def totals(self) -> Floats:
        """Sum of each histogram's counts."""
        return np.asarray(np.bincount(self.owners, self.counts, len(self.bins)), dtype=np.float64)

    @property
    def rising(self) -> bool:
        """Whether each histogram's bins are strictly ascending."""
        rises = self.keys[1:] > self.keys[:-1]
        ends = np.cumsum(self.bins)[:-1] - 1  # the last bin of one histogram and the first of the next
        rises[ends[(ends >= 0) & (ends < len(rises))]] = True
        return bool(rises.all())

    @property
    def together(self) -> Histogram:
        """All bins as of one client, in no order: what sums take."""
        return Histogram(self.keys, self.counts)

    def scaled(self, factors: Floats) -> Histograms:
        """Return each histogram with its counts multiplied by a factor of its own (float64 counts)."""
        return Histograms(self.keys, self.counts.astype(np.float64) * factors[self.owners], self.bins)

    def each(self) -> list[Histogram]:
        """Return the histograms one by one."""
        stops = np.cumsum(self.bins)
        return [
            Histogram(self.keys[start:stop], self.counts[start:stop])
            for start, stop in zip((stops - self.bins).tolist(), stops.tolist(), strict=True)
        ]
