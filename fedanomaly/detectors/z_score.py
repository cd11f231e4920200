"""Squared z-scores: distance from the mean in standard deviations, feature by feature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.detectors import _params
from fedanomaly.detectors._additive import AdditiveDetector, Sum, Terms
from fedanomaly.detectors._chi_squared import exceeded_by_one_in_20
from fedanomaly.detectors._moments import DeviationsStep, MeanStep, mean_and_scale
from fedanomaly.detectors._received import require_float64
from fedanomaly.detectors.base import DETECTORS, Aggregation, check_params


class VarianceSum(Sum):
    """Mean, then squared deviations from it: two sums."""

    title = "mean and variance of each feature from two sums"
    leaks = "sums over a client's rows: of each feature, and of its squared deviations from the common mean"
    source = "Grubbs 1969"

    def steps(self) -> Sequence[AdditiveStep]:
        """Sum the rows, then their squared deviations."""
        return MeanStep(), DeviationsStep(products=False)

    def model(self, state: Arrays) -> Arrays:
        """Return mean and standard deviation."""
        mean, scale, _ = mean_and_scale(state)
        return {"mean": mean, "scale": scale}


@DETECTORS.register("z-score")
class ZScore(AdditiveDetector):
    """Mean squared z-score: the score is minus the mean over features of ``((x - mean) / sd) ** 2``.

    Parameters
    ----------
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags what 1 row in 20 would exceed if
        features were normal and independent (chi-squared).

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_features,)
        Mean and standard deviation (of the population); 1 for constant features.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    References
    ----------
    Grubbs (1969), Procedures for detecting outlying observations in samples, Technometrics 11(1).

    Examples
    --------
    >>> from fedanomaly.detectors import ZScore
    >>> ZScore().fit([[0.0], [2.0], [4.0], [2.0]]).score_samples([[2.0], [6.0]]).round(6)
    array([ 0., -8.])
    """

    name = "z-score"
    title = "z-score: mean squared distance from the mean in standard deviations"
    default_scaling = "none"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {VarianceSum.name: VarianceSum}

    def __init__(self, *, contamination: str | float = "auto") -> None:
        self.contamination = contamination

    def to_arrays(self) -> Arrays:
        """Return ``mean`` and ``scale``."""
        return {"mean": self.mean_, "scale": self.scale_}

    def _take_over(self, arrays: Arrays) -> None:
        require_only(arrays, {"mean", "scale"})
        mean = require_float64(arrays, "mean", (None,), low=-1e100, high=1e100)
        scale = require_float64(arrays, "scale", mean.shape, low=1e-100, high=1e100)
        if not len(mean):
            raise InvalidArrays("array 'mean' is empty")
        self.mean_, self.scale_ = mean, scale
        self.n_features_in_ = len(mean)
        self.offset_ = -exceeded_by_one_in_20(len(mean)) / len(mean)

    def _terms(self, X: Array) -> Terms:
        z = np.clip((np.clip(X, -1e150, 1e150) - self.mean_) / self.scale_, -1e150, 1e150)
        return np.asarray(z**2 / X.shape[1])

    def _check_params(self) -> None:
        check_params(contamination=_params.contamination(self.contamination))
