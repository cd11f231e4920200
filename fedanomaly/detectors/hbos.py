"""Histogram-based outlier score (Goldstein and Dengel 2012) on federated ranges and integer counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.detectors import _params
from fedanomaly.detectors._additive import Sum, Terms
from fedanomaly.detectors._binned import BinnedDetector, at_least_half
from fedanomaly.detectors._grid import Counts, CountStep, Floats, Refine, around_quantiles, brackets
from fedanomaly.detectors.base import DETECTORS, Aggregation, check_params

MOST_BINS = 4096


class HistogramSum(Sum):
    """Ranges by counting ever closer around minimum and maximum, then the histograms: all integer sums."""

    title = "federated ranges, then integer counts in equally wide bins, summed"
    leaks = "sums over a client's rows: how many lie in each bin of each feature, closely around the extremes"
    source = "Goldstein and Dengel 2012"

    detector: HBOS

    def steps(self) -> Sequence[AdditiveStep]:
        """Count on octaves, close in on the extremes, then count in the bins of the range."""
        closer = around_quantiles((0.0, 1.0), 256)  # to 2**-24 of an extreme's magnitude, in three
        return *([CountStep(closer)] * 3), CountStep(over_range(self.detector.n_bins)), CountStep()

    def model(self, state: Arrays) -> Arrays:
        """Return the histograms."""
        return {"cuts": state["grid/cuts"], "counts": state["grid/counts"]}


def over_range(n_bins: int) -> Refine:
    """Return the refinement to ``n_bins`` bins of equal width from the least to the greatest value."""

    def refine(cuts: Floats, counts: Counts) -> Floats:
        low, high = brackets(cuts, counts, (0.0, 1.0))
        return np.sort(np.linspace(low[0], high[1], n_bins + 1))

    return refine


@DETECTORS.register("hbos")
class HBOS(BinnedDetector):
    """Histogram-based outlier score: rows in thinly populated bins are abnormal.

    Each feature's range is cut into ``n_bins`` bins of equal width. The score is minus the sum over
    features of ``log(height of the highest bin / height of the row's bin)``: the logarithm of a density
    under independent features, of which every feature's highest bin is 1. A bin without rows, or a
    value outside the range, counts as half a row. Affine changes of a feature do not change it.

    Parameters
    ----------
    n_bins : int, default=64
        Bins a feature, 2 to 4,096.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags scores three standard deviations
        below the mean, both as the histograms give them for independent features.

    Attributes
    ----------
    cuts_ : ndarray of shape (n_features, n_bins + 1)
        Edges of each feature's bins.
    counts_ : ndarray of shape (n_features, n_bins + 2), int64
        Rows in each bin; the first and the last lie outside the range.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    References
    ----------
    Goldstein and Dengel (2012), Histogram-based outlier score (HBOS), KI-2012 poster track.

    Examples
    --------
    >>> from fedanomaly.detectors import HBOS
    >>> HBOS(n_bins=4).fit([[0.0], [0.1], [0.2], [0.3], [4.0]]).score_samples([[0.1], [4.0], [9.0]])
    array([ 0.        , -1.38629436, -2.07944154])
    """

    name = "hbos"
    title = "HBOS: a histogram a feature, rows in thinly populated bins are abnormal"
    default_scaling = "none"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {HistogramSum.name: HistogramSum}

    def __init__(self, *, n_bins: int = 64, contamination: str | float = "auto") -> None:
        self.n_bins = n_bins
        self.contamination = contamination

    def _tables_of(self, cuts: Floats, counts: Counts) -> tuple[list[Floats], Floats]:
        heights = at_least_half(counts)
        table = np.log(heights.max(axis=1, keepdims=True) / heights)
        return [table], table

    def _terms(self, X: Array) -> Terms:
        return self._read(X)[0]

    def _check_params(self) -> None:
        check_params(
            n_bins=_params.between(self.n_bins, 2, MOST_BINS),
            contamination=_params.contamination(self.contamination),
        )
