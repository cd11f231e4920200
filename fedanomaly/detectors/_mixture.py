"""A mixture of normal distributions: densities, and the sums one step of EM is made of.

A component is kept by the whitening of its covariance: the inverse of Cholesky's factor, lower
triangular, or one over the standard deviations where the covariance is diagonal. Both halves of EM
(Dempster, Laird and Rubin 1977) need no more, and the logarithm of the determinant is read off it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.detectors._additive import chunks
from fedanomaly.detectors._moments import MOST_FEATURES, second_moments
from fedanomaly.detectors._nystroem import cholesky, solve_lower
from fedanomaly.detectors._received import require_float64

Floats = npt.NDArray[np.float64]

NAMES = frozenset({"weights", "means", "whitening"})
MOST_COMPONENTS = 256
_LIMIT = 1e60  # of a factor: a product of two, squared and summed, stays finite
_LEAST_ROWS = 1e-9  # a component with less of the rows keeps what it was


@dataclass(frozen=True, eq=False)
class Mixture:
    """Weights (K,), means (K, F) and whitenings, (K, F, F) or for diagonal covariances (K, F)."""

    weights: Floats
    means: Floats
    whitening: Floats

    @classmethod
    def spread(cls, n_components: int, mean: Floats, covariance: Floats, regularisation: float) -> Self:
        """Return equal components whose means are spread as the normal distribution with these moments.

        The same standard normal numbers for everyone: fitting needs no seed and repeats itself.
        """
        root = _root(covariance, regularisation)
        normal = keyed_generator(0, "mixture", n_components).standard_normal((n_components, len(mean)))
        away = np.einsum("kg,fg->kf", normal, root, optimize=False) if root.ndim == 2 else normal * root
        whitening = np.repeat(_inverse(root)[None], n_components, axis=0)
        return cls(np.full(n_components, 1.0 / n_components), mean + away, whitening)

    @classmethod
    def from_arrays(cls, arrays: Arrays, n_features: int | None = None) -> Self:
        """Return the mixture in ``arrays``; raise :class:`InvalidArrays` unless it is one."""
        means = require_float64(arrays, "means", (None, n_features), low=-_LIMIT, high=_LIMIT)
        n, width = means.shape
        if not (1 <= n <= MOST_COMPONENTS and 1 <= width <= MOST_FEATURES):
            raise InvalidArrays(f"array 'means' has shape {means.shape}")
        weights = require_float64(arrays, "weights", (n,), low=1e-300, high=1)
        if abs(float(weights.sum()) - 1.0) > 1e-6:
            raise InvalidArrays("array 'weights' does not add up to 1")
        form = (n, width, width) if "whitening" in arrays and arrays["whitening"].ndim == 3 else (n, width)
        whitening = require_float64(arrays, "whitening", form, low=-_LIMIT, high=_LIMIT)
        diagonal = np.einsum("kff->kf", whitening) if whitening.ndim == 3 else whitening
        if (diagonal < 1 / _LIMIT).any() or (whitening.ndim == 3 and np.triu(whitening, 1).any()):
            raise InvalidArrays("array 'whitening' is not lower triangular with a positive diagonal")
        return cls(weights, means, whitening)

    def to_arrays(self) -> Arrays:
        """Return ``weights``, ``means`` and ``whitening``."""
        return {"weights": self.weights, "means": self.means, "whitening": self.whitening}

    @property
    def log_peaks(self) -> Floats:
        """Logarithm of each component's weight times its density at its mean, shape (K,)."""
        diagonal = np.einsum("kff->kf", self.whitening) if self.whitening.ndim == 3 else self.whitening
        height = np.log(diagonal).sum(axis=1) - 0.5 * self.means.shape[1] * np.log(2.0 * np.pi)
        return np.asarray(np.log(self.weights) + height)

    def log_densities(self, X: Array) -> Floats:
        """Return the logarithm of weight times density of rows (n, F) in each component, shape (n, K)."""
        rows = np.clip(X, -_LIMIT, _LIMIT)
        distances = np.empty((len(rows), len(self.weights)))
        for k, mean in enumerate(self.means):
            distances[:, k] = (self._whitened(np.ascontiguousarray(rows - mean), k) ** 2).sum(axis=1)
        return np.asarray(self.log_peaks - 0.5 * distances)

    def distances(self, X: Array, k: int) -> Floats:
        """Return the terms of each row's squared Mahalanobis distance from component ``k``, (n, F).

        A term is the deviation times that of the precision-weighted deviations, and may be negative.
        """
        deviations = np.ascontiguousarray(np.clip(X, -_LIMIT, _LIMIT) - self.means[k])
        whitened = self._whitened(deviations, k)
        if self.whitening.ndim == 2:
            return np.asarray(whitened**2)
        back = np.einsum("ng,gf->nf", whitened, self.whitening[k], optimize=False)
        return np.asarray(deviations * back)

    def expectation(self, X: Array) -> Arrays:
        """Return the sums over rows that the next mixture is made of.

        Returns
        -------
        dict of ndarray
            ``rows`` (K,): responsibilities; ``first`` (K, F) and ``second`` (K, F, F) or (K, F): moments
            about the current means, weighted by them; ``log_likelihood`` (1,).
        """
        rows, first = np.zeros(len(self.weights)), np.zeros_like(self.means)
        second, likelihood = np.zeros_like(self.whitening), 0.0
        for part in chunks(X):
            joint = self.log_densities(X[part])
            total = log_sum(joint)
            share = np.exp(joint - total[:, None])
            likelihood += float(total.sum())
            rows += share.sum(axis=0)
            for k, mean in enumerate(self.means):
                deviations = np.ascontiguousarray(X[part] - mean)
                weighted = deviations * share[:, k, None]
                first[k] += weighted.sum(axis=0)
                second[k] += second_moments(weighted, deviations, products=self.whitening.ndim == 3)
        return {"rows": rows, "first": first, "second": second, "log_likelihood": np.array([likelihood])}

    def maximised(self, total: Arrays, regularisation: float) -> Mixture:
        """Return the mixture that maximises the expected likelihood, from summed :meth:`expectation`."""
        rows = total["rows"]
        means, whitening = self.means.copy(), self.whitening.copy()
        for k in np.flatnonzero(rows > _LEAST_ROWS):
            delta = total["first"][k] / rows[k]
            square = np.multiply.outer(delta, delta) if whitening.ndim == 3 else delta**2
            means[k] += delta
            whitening[k] = _inverse(_root(total["second"][k] / rows[k] - square, regularisation))
        weights = np.maximum(rows / rows.sum(), 1e-300)
        return Mixture(weights / weights.sum(), means, whitening)

    def _whitened(self, deviations: Floats, k: int) -> Floats:
        if self.whitening.ndim == 2:
            return np.asarray(deviations * self.whitening[k])
        return np.asarray(np.einsum("nf,gf->ng", deviations, self.whitening[k], optimize=False))


def log_sum(joint: Floats) -> Floats:
    """Return the logarithm of the sum of exponentials over the last axis."""
    top = joint.max(axis=1)
    return np.asarray(top + np.log(np.exp(joint - top[:, None]).sum(axis=1)))


def _root(covariance: Floats, regularisation: float) -> Floats:
    """Return Cholesky's factor, or standard deviations, of a covariance with a lifted diagonal."""
    if covariance.ndim == 1:
        return np.asarray(np.sqrt(np.maximum(covariance, 0.0) + regularisation))
    even = (covariance + covariance.T) / 2
    return cholesky(even + regularisation * np.eye(len(covariance)), regularisation / 2)


def _inverse(root: Floats) -> Floats:
    return np.asarray(1.0 / root) if root.ndim == 1 else np.tril(solve_lower(root, np.eye(len(root))))
