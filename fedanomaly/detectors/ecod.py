"""ECOD (Li et al. 2022): outliers by empirical cumulative distributions, on summed histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.detectors import _params
from fedanomaly.detectors._additive import Sum, Terms
from fedanomaly.detectors._binned import BinnedDetector, at_least_half
from fedanomaly.detectors._grid import Counts, CountStep, Floats, even_in_log_tails
from fedanomaly.detectors.base import DETECTORS, Aggregation, check_params

MOST_BINS = 8192


class TailSum(Sum):
    """Histograms whose bins follow the tails: all integer sums."""

    title = "integer counts in bins that are fine in the tails, found in four exchanges, summed"
    leaks = "sums over a client's rows: how many lie in each bin of each feature, in the tails down to one"
    source = "Li et al. 2022"

    detector: ECOD

    def steps(self) -> Sequence[AdditiveStep]:
        """Count on octaves, move the bins to the tails, and count there."""
        return *([CountStep(even_in_log_tails(self.detector.n_bins - 1))] * 3), CountStep()

    def model(self, state: Arrays) -> Arrays:
        """Return the histograms."""
        return {"cuts": state["grid/cuts"], "counts": state["grid/counts"]}


@DETECTORS.register("ecod")
class ECOD(BinnedDetector):
    """Empirical-cumulative-distribution outlier detection: rows far out in many tails are abnormal.

    With the shares of training rows at or below (left) and at or above (right) a value, a row has
    three sums over features of ``-log`` share: all left tails, all right tails, and of each feature the
    tail to which its distribution is skewed. The score is minus the largest of the three.

    The shares are those of bins: values that share a bin count as equal, on both sides, as ties do. So
    atoms (zeros, codes) keep their mass instead of being smeared by interpolation, and a term is at
    most a bin's step, about ``4 log(2 N) / n_bins``, too small. Beyond all rows the share is half a row.

    Parameters
    ----------
    n_bins : int, default=256
        Bins a feature, 8 to 8,192.
    tails : {'row', 'feature'}, default='row'
        Where the largest is taken: of a row's three sums, as the paper has it, or in every feature by
        itself, as PyOD has it (several moderate values on different sides then add up).
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags scores three standard deviations
        below the mean, both as the histograms give them for independent features.

    Attributes
    ----------
    cuts_ : ndarray of shape (n_features, n_bins - 1)
        Where the bins of each feature meet.
    counts_ : ndarray of shape (n_features, n_bins), int64
        Rows in each bin.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    References
    ----------
    Li, Zhao, Hu, Botta, Ionescu and Chen (2022), ECOD: unsupervised outlier detection using empirical
    cumulative distribution functions, IEEE TKDE, algorithm 1.

    Examples
    --------
    >>> from fedanomaly.detectors import ECOD
    >>> ECOD().fit([[0.0], [0.0], [0.0], [1.0]]).score_samples([[0.0], [1.0], [2.0]])
    array([-0.28768207, -1.38629436, -2.07944154])
    """

    name = "ecod"
    title = "ECOD: how far out a row lies in the tails of every feature"
    default_scaling = "none"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {TailSum.name: TailSum}

    def __init__(self, *, n_bins: int = 256, tails: str = "row", contamination: str | float = "auto") -> None:
        self.n_bins = n_bins
        self.tails = tails
        self.contamination = contamination

    def _tables_of(self, cuts: Floats, counts: Counts) -> tuple[list[Floats], Floats]:
        rows = counts.sum(axis=1, keepdims=True)
        below = np.cumsum(counts, axis=1)
        left = np.log(rows / at_least_half(below))
        right = np.log(rows / at_least_half(rows - below + counts))
        skewed = np.where(_skewness_sign(cuts, counts)[:, None] < 0, left, right)
        return [left, right, skewed], np.maximum(left, right) if self.tails == "feature" else skewed

    def _terms(self, X: Array) -> Terms:
        left, right, skewed = self._read(X)
        if self.tails == "feature":
            return np.maximum(left, right)
        sums = np.array([terms.sum(axis=1) for terms in (left, right, skewed)])
        return np.array(np.choose(sums.argmax(axis=0)[:, None], [left, right, skewed]), order="C")

    def _check_params(self) -> None:
        tails = self.tails
        check_params(
            n_bins=_params.between(self.n_bins, 8, MOST_BINS),
            tails=(tails, isinstance(tails, str) and tails in ("row", "feature"), "'row' or 'feature'"),
            contamination=_params.contamination(self.contamination),
        )


def _skewness_sign(cuts: Floats, counts: Counts) -> Floats:
    """Return each feature's skewness but for a positive factor, from the middles of its bins.

    From counts and not from a third moment, so that rounding never decides between two tails.
    """
    edges = np.concatenate([cuts[:, :1], cuts, cuts[:, -1:]], axis=1)
    width = np.maximum(edges[:, -1:] - edges[:, :1], np.finfo(np.float64).tiny)
    middles = ((edges[:, 1:] - edges[:, :1]) + (edges[:, :-1] - edges[:, :1])) / (2.0 * width)
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = (shares * middles).sum(axis=1, keepdims=True)
    third = (shares * (middles - mean) ** 3).sum(axis=1)
    return np.where(np.abs(third) < 1e-12, 0.0, third)
