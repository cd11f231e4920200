"""Principal components: reconstruction error, and how far out a row lies within the components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.detectors import _params
from fedanomaly.detectors._additive import Sum
from fedanomaly.detectors._chi_squared import exceeded_by_one_in_20
from fedanomaly.detectors._moments import Correlations, DeviationsStep, Floats, MeanStep
from fedanomaly.detectors._quadratic import QuadraticDetector, quadratic_arrays
from fedanomaly.detectors.base import DETECTORS, Aggregation, check_params

_RANK = 1e-10  # eigenvalues of a correlation matrix below this are rounding


class ComponentsSum(Sum):
    """Mean, then products of deviations from it: two sums."""

    title = "principal components of the covariance from two sums"
    leaks = "sums over a client's rows: of the rows, and of products of their deviations from the common mean"
    source = "Jackson and Mudholkar 1979; Yue and Qin 2001"

    detector: PCA

    def steps(self) -> Sequence[AdditiveStep]:
        """Sum the rows, then the products of deviations."""
        return MeanStep(), DeviationsStep(products=True)

    def model(self, state: Arrays) -> Arrays:
        """Return the quadratic form of the error."""
        return quadratic_arrays(Correlations.of(state, constant_variance=0.0), self.detector.weights)


@DETECTORS.register("pca")
class PCA(QuadraticDetector):
    """Reconstruction error of a row from the leading principal components of the correlation matrix.

    The leading components are as few as explain ``explained_variance`` of the variance (fewer where
    that would part components of equal variance), and at least one is always left out. The error is the
    squared length of what they leave of a standardised row (process control's SPE or Q statistic).

    An anomaly that itself dominates a leading component reconstructs well: rows that were not cleaned
    of anomalies need the other half, how far out a row lies within the components (Hotelling's T^2).
    ``index='combined'`` adds both, each in units of the value that 1 normal row in 20 exceeds.

    Parameters
    ----------
    explained_variance : float, default=0.5
        Share of the variance, in (0, 1].
    index : {'combined', 'residual'}, default='combined'
        Weighted sum of both, or the reconstruction error alone.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags what 1 row in 20 would exceed if
        rows were normal.

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
    Jackson and Mudholkar (1979), Control procedures for residuals associated with principal component
    analysis, Technometrics 21(3). Yue and Qin (2001), Reconstruction-based fault identification using a
    combined index, Ind. Eng. Chem. Res. 40(20). Terms: Alcala and Qin (2009), Reconstruction-based
    contribution for process monitoring, Automatica 45(7).

    Examples
    --------
    >>> from fedanomaly.detectors import PCA
    >>> detector = PCA(index="residual").fit([[0, 0.1], [1, 0.9], [2, 2.1], [3, 2.9]])
    >>> bool(detector.score_samples([[0, 3]])[0] < detector.score_samples([[3, 3]])[0])
    True
    """

    name = "pca"
    title = "PCA: reconstruction error and distance within the leading components"
    default_scaling = "none"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {ComponentsSum.name: ComponentsSum}

    def __init__(
        self,
        *,
        explained_variance: float = 0.5,
        index: str = "combined",
        contamination: str | float = "auto",
    ) -> None:
        self.explained_variance = explained_variance
        self.index = index
        self.contamination = contamination

    def weights(self, eigenvalues: Floats) -> Floats:
        """Return the weight of each component's squared score, eigenvalues ascending."""
        kept = self._kept(eigenvalues[::-1])
        rest, leading = np.split(eigenvalues, [len(eigenvalues) - kept])
        if self.index == "residual":
            return np.repeat([1.0, 0.0], [len(rest), kept])
        first, second = float(rest.sum()), float((rest**2).sum())
        spread = first > _RANK * len(eigenvalues)  # else the rows lie in the leading components
        error = second / first * exceeded_by_one_in_20(first**2 / second) if spread else 1.0
        distance = exceeded_by_one_in_20(kept) if kept else 1.0
        return np.concatenate([np.full(len(rest), 1.0 / error), 1.0 / (distance * leading)])

    def _kept(self, falling: Floats) -> int:
        """Return how many components lead; never a part of several equal ones, which rounding would pick."""
        explained = np.cumsum(falling)
        wanted = int(np.searchsorted(explained, self.explained_variance * explained[-1] * (1 - 1e-9))) + 1
        first_left_out = falling[min(wanted, len(falling) - 1)]
        return int((falling > max(first_left_out * (1 + 1e-6), _RANK * len(falling))).sum())

    def _check_params(self) -> None:
        index = self.index
        check_params(
            explained_variance=_params.share(self.explained_variance, zero=False),
            index=(
                index,
                isinstance(index, str) and index in ("combined", "residual"),
                "'combined' or 'residual'",
            ),
            contamination=_params.contamination(self.contamination),
        )
