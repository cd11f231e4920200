"""Detectors whose score is a quadratic form ``(x - mean)' A (x - mean)``, taken apart by features.

The form is kept as ``W`` with ``W' W = A``, where ``W = B D``: ``D`` divides by the standard deviations
and ``B`` is a *symmetric* root. Then the squares of ``W (x - mean)`` are one term a feature, none
negative, and add up to the form: the complete decomposition of Alcala and Qin (2009, section 3.1), and
for Mahalanobis's distance the corr-max transformation of Garthwaite and Koch (2016), of which each
component is the one most correlated with its feature.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors._additive import AdditiveDetector, Terms
from fedanomaly.detectors._chi_squared import exceeded_by_one_in_20
from fedanomaly.detectors._moments import MOST_FEATURES, Correlations, Floats
from fedanomaly.detectors._received import require_float64

_LIMIT = 1e100  # of whatever is multiplied, so that squares and their sums stay finite

Spectrum = Callable[[Floats], Floats]


class QuadraticDetector(AdditiveDetector):
    """A quadratic form about the mean.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Mean of the rows.
    transform_ : ndarray of shape (n_features, n_features)
        ``W``: a row's terms are the squares of ``W (x - mean)``.
    """

    mean_: Floats
    transform_: Floats

    def to_arrays(self) -> Arrays:
        """Return ``mean``, ``transform`` and ``limit``, which ``contamination='auto'`` flags beyond."""
        return {"mean": self.mean_, "transform": self.transform_, "limit": self._limit}

    def _take_over(self, arrays: Arrays) -> None:
        require_only(arrays, {"mean", "transform", "limit"})
        mean = require_float64(arrays, "mean", (None,), low=-_LIMIT, high=_LIMIT)
        if not 1 <= len(mean) <= MOST_FEATURES:
            raise InvalidArrays(f"array 'mean' has {len(mean)} features, expected 1 to {MOST_FEATURES}")
        square = (len(mean), len(mean))
        self.transform_ = require_float64(arrays, "transform", square, low=-_LIMIT, high=_LIMIT)
        self._limit = require_float64(arrays, "limit", (1,), low=0)
        self.mean_ = mean
        self.n_features_in_ = len(mean)
        self.offset_ = -float(self._limit[0])

    def _terms(self, X: Array) -> Terms:
        deviations = np.ascontiguousarray(np.clip(X, -_LIMIT, _LIMIT) - self.mean_)
        turned = np.einsum("nf,gf->ng", deviations, self.transform_, optimize=False)
        return np.asarray(np.clip(turned, -1e150, 1e150) ** 2)


def quadratic_arrays(correlations: Correlations, spectrum: Spectrum) -> Arrays:
    """Return the model whose root ``B`` has the correlation matrix's eigenvectors.

    Parameters
    ----------
    correlations : Correlations
        Of all rows.
    spectrum : callable
        From the correlation matrix's eigenvalues, ascending, to those of ``B ** 2``.

    Notes
    -----
    ``limit`` is what 1 row in 20 would exceed if rows were normal: the form is then a weighted sum of
    chi-squared variables, which Box (1954) approximates by one with the same mean and variance.
    """
    with threadpool_limits(1, user_api="blas"):  # the same bits whatever number of threads there are
        values, vectors = np.linalg.eigh(correlations.matrix)
        weights = spectrum(np.maximum(values, 0.0))
        root = (vectors * np.sqrt(weights)) @ vectors.T
    spread = np.maximum(values, 0.0) * weights
    first, second = float(spread.sum()), float((spread**2).sum())
    limit = second / first * exceeded_by_one_in_20(first**2 / second) if second > 0 else 0.0
    return {
        "mean": correlations.mean,
        "transform": (root + root.T) / 2 / correlations.scale,
        "limit": np.array([limit]),
    }
