"""Gaussian mixture by federated expectation maximisation: one sum of sufficient statistics a round."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from fedanomaly.core.arrays import Array, Arrays, require_only, under_prefix, with_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Step
from fedanomaly.detectors import _params
from fedanomaly.detectors._additive import AdditiveDetector, Sum, Terms, chunks
from fedanomaly.detectors._chi_squared import exceeded_by_one_in_20
from fedanomaly.detectors._mixture import MOST_COMPONENTS, NAMES, Mixture, log_sum
from fedanomaly.detectors._moments import DeviationsStep, MeanStep
from fedanomaly.detectors._received import require_count, require_float64
from fedanomaly.detectors.base import DETECTORS, Aggregation, Scores, check_params


class SpreadStep(DeviationsStep):
    """Second moments of all rows; the server spreads the first components over them."""

    def __init__(self, detector: GMM) -> None:
        super().__init__(products=detector.covariance_type == "full")
        self.detector = detector

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the first mixture."""
        moments = super().finish(state, total)
        detector = self.detector
        first = Mixture.spread(
            detector.n_components, moments["moments/mean"], moments["moments/second"], detector.reg_covar
        )
        return {**moments, **with_prefix(first.to_arrays(), "mixture")}


class ExpectationStep(AdditiveStep):
    """One step of EM: clients weigh their rows by component, the server maximises over the sums."""

    name = "expectation"

    def __init__(self, detector: GMM) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Return the current mixture."""
        return under_prefix(state, "mixture")

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``count`` and the sums of :meth:`Mixture.expectation`."""
        sums = Mixture.from_arrays(request, X.shape[1]).expectation(X)
        return {"count": np.array([len(X)], dtype=np.int64), **sums}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept responsibilities that add up to the rows, with moments that such rows can have."""
        require_only(answer, {"count", "rows", "first", "second", "log_likelihood"})
        count = require_count(state, answer, turn)
        means, form = state["mixture/means"], state["mixture/whitening"].shape
        rows = require_float64(answer, "rows", (len(means),), low=0, high=count * (1 + 1e-9))
        if abs(float(rows.sum()) - count) > 1e-6 * count:
            raise InvalidArrays("responsibilities do not add up to the number of rows")
        first = require_float64(answer, "first", means.shape, low=-1e100, high=1e100)
        second = require_float64(answer, "second", form, low=-1e150, high=1e150)
        require_float64(answer, "log_likelihood", (1,), low=-1e200, high=1e200)
        squares = np.einsum("kff->kf", second) if second.ndim == 3 else second
        if (np.abs(first) > np.sqrt(rows[:, None] * np.maximum(squares, 0)) * (1 + 1e-6) + 1e-140).any():
            raise InvalidArrays("a first moment is larger than its second allows (Cauchy-Schwarz)")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the next mixture, and the mean log-likelihood a row under the one before."""
        mixture = Mixture.from_arrays(under_prefix(state, "mixture"))
        return {
            **with_prefix(mixture.maximised(total, self.detector.reg_covar).to_arrays(), "mixture"),
            "log_likelihood": total["log_likelihood"] / int(total["count"][0]),
        }


class ExpectationSum(Sum):
    """EM from summed sufficient statistics, one step of it a round, up to ``max_iter`` of them."""

    title = "expectation maximisation, one step a round, from summed sufficient statistics"
    leaks = "sums over a client's rows, every round: of the rows and their products, weighted by component"
    source = "Dempster et al. 1977"
    iterative = True

    detector: GMM

    def steps(self) -> Sequence[AdditiveStep]:
        """Sum the rows and their products, then begin."""
        return MeanStep(), SpreadStep(self.detector), ExpectationStep(self.detector)

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Take one step of EM."""
        return self.steps()[-1:] if server_round <= self.detector.max_iter else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the current mixture."""
        return under_prefix(state, "mixture")


@DETECTORS.register("gmm")
class GMM(AdditiveDetector):
    """Gaussian mixture: the score is the logarithm of a row's density.

    EM starts from components that the federated mean and covariance alone determine, takes ``max_iter``
    steps and draws nothing: fitting repeats itself, and ``max_iter`` federated rounds are the same as
    ``fit`` on all rows.

    Parameters
    ----------
    n_components : int, default=2
        Components, 1 to 256.
    covariance_type : {'diag', 'full'}, default='diag'
        Whether a component's features are uncorrelated.
    reg_covar : float, default=0.001
        Added to variances, above 0, in squared units of the (scaled) features.
    max_iter : int, default=10
        Steps of EM, at least 1; in a federation one a round.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags densities below all those of which,
        in some component, 19 of 20 rows reach a higher one (chi-squared).

    Attributes
    ----------
    mixture_ : Mixture
        Weights, means and whitenings.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_iter_ : int
        Steps of EM that ``fit`` took.
    n_features_in_ : int
        Number of features.

    See Also
    --------
    sklearn.mixture.GaussianMixture : The same steps from a k-means start.

    References
    ----------
    Dempster, Laird and Rubin (1977), Maximum likelihood from incomplete data via the EM algorithm.

    Examples
    --------
    >>> from fedanomaly.detectors import GMM
    >>> detector = GMM().fit([[-5.0], [-5.2], [-4.8], [5.0], [5.2], [4.8]])
    >>> detector.predict([[5.1], [0.0], [40.0]])
    array([ 1, -1, -1])
    """

    name = "gmm"
    title = "Gaussian mixture: logarithm of the density, by federated EM"
    default_scaling = "standard"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {ExpectationSum.name: ExpectationSum}

    def __init__(
        self,
        *,
        n_components: int = 2,
        covariance_type: str = "diag",
        reg_covar: float = 1e-3,
        max_iter: int = 10,
        contamination: str | float = "auto",
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.contamination = contamination

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on rows of shape (n_samples, n_features) in one place; ``y`` is ignored.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        super().fit(X)
        self.n_iter_ = int(self.max_iter)
        return self

    def contributions(self, X: npt.ArrayLike) -> Terms:
        """Return the terms of each row's squared Mahalanobis distance, shape (n_samples, n_features).

        From each component, weighted by its responsibility for the row. Where features correlate, a
        term may be negative. They add up to that distance, not to the score.
        """
        return super().contributions(X)

    def to_arrays(self) -> Arrays:
        """Return the mixture: ``weights``, ``means`` and ``whitening``."""
        check_is_fitted(self, "mixture_")
        return self.mixture_.to_arrays()

    def _take_over(self, arrays: Arrays) -> None:
        require_only(arrays, set(NAMES))
        self.mixture_ = Mixture.from_arrays(arrays)
        self.__dict__.pop("n_iter_", None)  # that of an earlier fit
        self.n_features_in_ = self.mixture_.means.shape[1]
        within = 0.5 * exceeded_by_one_in_20(self.n_features_in_)
        self.offset_ = float(self.mixture_.log_peaks.min()) - within

    def _scores(self, X: Array) -> Scores:
        scores = np.empty(len(X))
        for part in chunks(X):
            scores[part] = log_sum(self.mixture_.log_densities(X[part]))
        return scores

    def _terms(self, X: Array) -> Terms:
        joint = self.mixture_.log_densities(X)
        share = np.exp(joint - log_sum(joint)[:, None])
        terms = np.zeros(X.shape)
        for k in range(share.shape[1]):
            terms += share[:, k, None] * self.mixture_.distances(X, k)
        return terms

    def _rounds(self) -> int:
        return int(self.max_iter)

    def _check_params(self) -> None:
        kind, floor = self.covariance_type, self.reg_covar
        check_params(
            n_components=_params.between(self.n_components, 1, MOST_COMPONENTS),
            covariance_type=(
                kind,
                isinstance(kind, str) and kind in ("diag", "full"),
                "'diag' or 'full'",
            ),
            reg_covar=(floor, isinstance(floor, Real) and 1e-12 <= float(floor) <= 1e12, "in [1e-12, 1e12]"),
            max_iter=_params.whole(self.max_iter, 1),
            contamination=_params.contamination(self.contamination),
        )
