"""One-class support vector machine (Schölkopf et al. 2001): exact, on landmarks, or built by clients."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn import svm
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.detectors import _fourier as fourier
from fedanomaly.detectors import _nystroem as nystroem
from fedanomaly.detectors import _params
from fedanomaly.detectors._feature_maps import Expansion, FourierMap, NystroemMap
from fedanomaly.detectors._fourier import FourierExpansion
from fedanomaly.detectors._fourier_steps import RffHinge, RffMean
from fedanomaly.detectors._nystroem_steps import NystromHinge, NystromMean, Sgd
from fedanomaly.detectors._rbf import KernelExpansion, kernel_sum
from fedanomaly.detectors._sv_merge import SvMerge
from fedanomaly.detectors._svm_ensemble import ScoreEnsemble
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector, Scores, check_params


@DETECTORS.register("one-class-svm")
class OneClassSVM(Detector):
    """One-class SVM with a Gaussian kernel.

    Parameters
    ----------
    kernel : {'rbf'}, default='rbf'
        The Gaussian kernel ``exp(-gamma ||x - z||^2)``.
    nu : float, default=0.1
        Upper bound on the share of training rows outside, lower bound on the share of support
        vectors, in (0, 1].
    gamma : {'scale', 'auto'} or float, default='scale'
        Kernel width: ``1 / (n_features * X.var())``, ``1 / n_features``, or a number > 0.
    n_components : int, default=128
        Number of landmarks of the Nyström models and of random Fourier features, at least 1.
    approximation : {'exact', 'nystroem', 'rff'}, default='exact'
        What ``fit`` does: scikit-learn's ``OneClassSVM`` (quadratic in the rows: seconds at 20,000),
        the mean embedding on synthetic landmarks, the model that ``nystrom-mean`` builds, or that on
        random Fourier features (``rff-mean``). Aggregations have their own way and ignore it.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` takes the machine's own ``rho``, outside
        which lies about the share ``nu``.
    random_state : int or None, default=None
        Seed of the landmarks and the Fourier frequencies; ``None`` means 0.

    Attributes
    ----------
    expansion_ : KernelExpansion or FourierExpansion
        The fitted model: a weighted sum of kernels around support vectors or landmarks, or of cosines
        and sines.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    See Also
    --------
    sklearn.svm.OneClassSVM : The exact machine, whose ``score_samples`` this class repeats.

    References
    ----------
    Schölkopf et al. (2001), Estimating the support of a high-dimensional distribution.
    Williams and Seeger (2001), Using the Nyström method to speed up kernel machines.
    Rahimi and Recht (2007), Random features for large-scale kernel machines.

    Examples
    --------
    >>> from fedanomaly.detectors import OneClassSVM
    >>> X = [[0.0], [0.44], [0.45], [0.46], [1.0]]
    >>> OneClassSVM(gamma="auto", nu=0.5).fit(X).predict(X)
    array([-1,  1,  1,  1, -1])
    """

    name = "one-class-svm"
    compiled = True
    title = "One-class SVM: Gaussian kernel, exact, on synthetic Nyström landmarks or Fourier features"
    default_scaling = "standard"
    exact_rows = 20_000
    holds_rows = True
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {
        way.name: way for way in (NystromMean, NystromHinge, RffMean, RffHinge, Sgd, ScoreEnsemble, SvMerge)
    }

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        nu: float = 0.1,
        gamma: str | float = "scale",
        n_components: int = 128,
        approximation: str = "exact",
        contamination: str | float = "auto",
        random_state: int | None = None,
    ) -> None:
        self.kernel = kernel
        self.nu = nu
        self.gamma = gamma
        self.n_components = n_components
        self.approximation = approximation
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on rows of shape (n_samples, n_features) in one place; ``y`` is ignored.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        self._check_params()
        rows: Array = validate_data(self, X, dtype=np.float64, order="C")
        self.expansion_ = self._expansion(rows)
        self.offset_ = self.expansion_.rho
        if self.contamination != "auto":
            scores = self.expansion_.score(rows)
            self.offset_ = float(np.percentile(scores, 100.0 * float(self.contamination)))
        return self

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return the scores of shape (n_samples,): the lower, the more abnormal.

        A weighted sum of kernels, in bounded memory; for an exact machine scikit-learn's
        ``score_samples``. A row far from everything scores 0 (on Fourier features: about 0).
        """
        check_is_fitted(self, "expansion_")
        return self.expansion_.score(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def to_arrays(self) -> Arrays:
        """Return the fitted model as named arrays (without ``offset_``)."""
        check_is_fitted(self, "expansion_")
        return self.expansion_.to_arrays()

    def load(self, arrays: Arrays) -> Self:
        """Take over a fitted model, in place; ``offset_`` becomes its ``rho``."""
        form = FourierExpansion if "frequencies" in arrays else KernelExpansion
        expansion: Expansion = form.from_arrays(arrays)
        self.expansion_ = expansion
        self.offset_ = expansion.rho
        self.n_features_in_ = expansion.n_features
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    def exact_expansion(
        self, X: Array, gamma: float | None = None, nu: float | None = None
    ) -> KernelExpansion:
        """Return scikit-learn's machine on rows (n_rows, n_features), as an expansion.

        ``gamma`` and ``nu`` replace the detector's own, and a width that depends on the rows.
        """
        if gamma is None:
            variance = float(X.var())
            scale = 1.0 / (X.shape[1] * variance) if variance > 0 else 1.0
            gamma = {"scale": scale, "auto": 1.0 / X.shape[1]}.get(str(self.gamma)) or float(self.gamma)
        nu = min(self.nu if nu is None else nu, 1.0 - 1e-9)  # at 1 libsvm's rho is infinite
        machine = svm.OneClassSVM(kernel="rbf", nu=nu, gamma=gamma).fit(X)
        return KernelExpansion.single(
            np.array(machine.support_vectors_, order="C"),
            np.array(machine.dual_coef_[0]),
            gamma,
            float(machine.offset_[0]),
        )

    def _expansion(self, X: Array) -> Expansion:
        if self.approximation == "exact":
            return self.exact_expansion(X)
        mean, covariance = nystroem.mean_and_covariance(nystroem.moments(X))
        gamma = np.array([nystroem.kernel_gamma(self.gamma, mean, covariance)])
        features: NystroemMap | FourierMap
        if self.approximation == "nystroem":
            generator = keyed_generator(self.random_state or 0, "shared", "nystroem landmarks")
            landmarks = nystroem.draw_landmarks(mean, covariance, self.n_components, generator)
            features = NystroemMap(landmarks, float(gamma[0]))
            total = kernel_sum(X, landmarks, features.gamma)
        else:
            features = FourierMap.of({"gamma": gamma}, self, X.shape[1])
            total = fourier.fourier_sum(X, features.frequencies)
        expansion = features.mean_embedding(total / len(X), self.nu)
        return replace(expansion, rho=float(np.quantile(expansion.score(X), self.nu)))

    def _check_params(self) -> None:
        width: Any = self.gamma
        named = isinstance(width, str) and width in ("scale", "auto")
        number = isinstance(width, Real) and 0 < float(width) < float("inf")
        check_params(
            kernel=(self.kernel, self.kernel == "rbf", "'rbf'"),
            nu=(self.nu, isinstance(self.nu, Real) and 0 < float(self.nu) <= 1, "in (0, 1]"),
            gamma=(width, named or number, "'scale', 'auto' or a number > 0"),
            n_components=_params.whole(self.n_components, 1),
            approximation=(self.approximation, self.approximation in _FORMS, "'exact', 'nystroem' or 'rff'"),
            contamination=_params.contamination(self.contamination),
            random_state=_params.seed(self.random_state),
        )


_FORMS = ("exact", "nystroem", "rff")
