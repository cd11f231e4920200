"""Mahalanobis's distance (1936) from the federated mean, by the federated covariance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.detectors import _params
from fedanomaly.detectors._additive import Sum
from fedanomaly.detectors._moments import Correlations, DeviationsStep, Floats, MeanStep
from fedanomaly.detectors._quadratic import QuadraticDetector, quadratic_arrays
from fedanomaly.detectors.base import DETECTORS, Aggregation, check_params

_RANK = 1e-10  # eigenvalues of a correlation matrix below this are rounding


class CovarianceSum(Sum):
    """Mean, then products of deviations from it: two sums."""

    title = "mean and covariance from two sums"
    leaks = "sums over a client's rows: of the rows, and of products of their deviations from the common mean"
    source = "Mahalanobis 1936; pairwise sums (Chan et al. 1983)"

    detector: Mahalanobis

    def steps(self) -> Sequence[AdditiveStep]:
        """Sum the rows, then the products of deviations."""
        return MeanStep(), DeviationsStep(products=True)

    def model(self, state: Arrays) -> Arrays:
        """Return the distance's quadratic form."""
        return quadratic_arrays(Correlations.of(state), self.detector.inverse)


@DETECTORS.register("mahalanobis")
class Mahalanobis(QuadraticDetector):
    """Squared Mahalanobis distance: the score is minus ``(x - mean)' S^-1 (x - mean)``.

    ``S`` is the covariance with its correlations shrunk towards zero, which keeps it invertible where
    features are collinear, constant or more than the rows, and does not depend on the features' units.

    Parameters
    ----------
    shrinkage : float, default=0.001
        Share by which correlations are shrunk, 0 to 1. 0: the covariance itself, and its pseudo-inverse
        where it is singular (directions without any variance are then not seen at all); 1: z-scores.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags what 1 row in 20 would exceed if
        rows were normal (chi-squared).

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean of the rows.
    transform_ : ndarray of shape (n_features, n_features)
        A row's terms are the squares of ``transform_ @ (x - mean_)``.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    References
    ----------
    Mahalanobis (1936), On the generalised distance in statistics. Terms: Garthwaite and Koch (2016),
    Evaluating the contributions of individual variables to a quadratic form, Aust. N. Z. J. Stat. 58(1).

    Examples
    --------
    >>> from fedanomaly.detectors import Mahalanobis
    >>> detector = Mahalanobis(shrinkage=0).fit([[0, 0], [2, 2], [0, 2], [2, 0]])
    >>> detector.score_samples([[1, 1], [3, 1]]).round(6)
    array([ 0., -4.])
    """

    name = "mahalanobis"
    title = "Mahalanobis distance from the mean, by the covariance"
    default_scaling = "none"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {CovarianceSum.name: CovarianceSum}

    def __init__(self, *, shrinkage: float = 0.001, contamination: str | float = "auto") -> None:
        self.shrinkage = shrinkage
        self.contamination = contamination

    def inverse(self, eigenvalues: Floats) -> Floats:
        """Return the eigenvalues of the inverse of the shrunk correlation matrix."""
        shrunk = (1.0 - self.shrinkage) * eigenvalues + self.shrinkage
        seen = shrunk > _RANK * shrunk.max()
        return np.where(seen, 1.0, 0.0) / np.where(seen, shrunk, 1.0)

    def _check_params(self) -> None:
        check_params(
            shrinkage=_params.share(self.shrinkage, zero=True),
            contamination=_params.contamination(self.contamination),
        )
