"""Detectors that read a row's abnormality off one histogram a feature."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors._additive import AdditiveDetector, Terms
from fedanomaly.detectors._grid import Counts, Floats, bins_of, require_counts, require_cuts

_MOST_VALUES = 1 << 28


class BinnedDetector(AdditiveDetector):
    """One histogram a feature, and a term for every bin of it.

    Attributes
    ----------
    cuts_ : ndarray of shape (n_features, n_cuts)
        Where the bins of each feature meet, ascending.
    counts_ : ndarray of shape (n_features, n_cuts + 1), int64
        Rows in each bin; the outermost bins are open.
    """

    cuts_: Floats
    counts_: Counts

    def to_arrays(self) -> Arrays:
        """Return the histograms: ``cuts`` and ``counts``."""
        return {"cuts": self.cuts_, "counts": self.counts_}

    def _take_over(self, arrays: Arrays) -> None:
        require_only(arrays, {"cuts", "counts"})
        cuts = require_cuts(arrays, None)
        if cuts.size > _MOST_VALUES:
            raise InvalidArrays(f"array 'cuts' has {cuts.size} values, expected at most {_MOST_VALUES}")
        self.counts_ = require_counts(arrays, (len(cuts), cuts.shape[1] + 1))
        self.cuts_ = cuts
        self.n_features_in_ = len(cuts)
        self._tables, typical = self._tables_of(self.cuts_, self.counts_)
        self.offset_ = _offset(typical, self.counts_)

    @abstractmethod
    def _tables_of(self, cuts: Floats, counts: Counts) -> tuple[list[Floats], Floats]:
        """Return tables of terms, each (n_features, n_bins), and the one ``offset_`` is made from."""

    def _read(self, X: Array) -> list[Terms]:
        """Return the terms of rows, one (n_rows, n_features) a table."""
        terms = [np.empty(X.shape) for _ in self._tables]
        for feature, cuts in enumerate(self.cuts_):
            bins = bins_of(X[:, feature], cuts)
            for table, term in zip(self._tables, terms, strict=True):
                term[:, feature] = table[feature, bins]
        return terms


def at_least_half(counts: Counts) -> Floats:
    """Return counts in which none is 0 (a logarithm follows): half a row, a bin where no row fell."""
    return np.maximum(counts, 0.5)


def _offset(table: Floats, counts: Counts) -> float:
    """Return minus (mean + 3 standard deviations) of a row's score, as if features were independent."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = (shares * table).sum(axis=1)
    variance = (shares * (table - mean[:, None]) ** 2).sum(axis=1)
    return -float(mean.sum() + 3.0 * np.sqrt(variance.sum()))
