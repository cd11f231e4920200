"""Histograms of many clients side by side: a thousand small ones in a few arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Columns
from fedanomaly.core.arrays import Array, within
from fedanomaly.core.floatgrid import KEY_MAX, KEY_MIN, Floats, Histogram, Keys

_MOST = 2**53


@dataclass(frozen=True, eq=False)
class Histograms:
    """One histogram a client.

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
    def read(cls, columns: Columns, name: str) -> Histograms | None:
        """Read the histogram called ``name`` of every answer.

        None says nothing: look at each with :meth:`Histogram.from_arrays
        <fedanomaly.core.floatgrid.Histogram.from_arrays>`, which accepts all that is read here.
        """
        keys, counts = columns.get(f"{name}/keys"), columns.get(f"{name}/counts")
        if keys is None or counts is None or keys.lengths is None or counts.lengths is None:
            return None
        if keys.values.dtype != np.int64 or counts.values.dtype not in (np.int64, np.float64):
            return None
        if keys.values.ndim != 1 or counts.values.ndim != 1 or (keys.lengths != counts.lengths).any():
            return None
        read = cls(keys.values, counts.values, keys.lengths)
        rises = read.keys[1:] > read.keys[:-1]
        ends = np.cumsum(read.bins)[:-1] - 1  # the last bin of a client and the first of the next
        rises[ends[(ends >= 0) & (ends < len(rises))]] = True
        sound = rises.all() and within(read.keys, KEY_MIN, KEY_MAX) and within(read.counts, 0, _MOST)
        return read if sound else None

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
