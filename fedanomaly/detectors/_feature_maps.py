"""Feature maps of the Gaussian kernel: finite vectors whose inner products are its values, roughly.

A one-class SVM is linear in such features, so clients can sum them (the mean embedding) or average
weights on them (the hinge rounds). Every map is ``phi(x) = A v(x)``: raw values ``v`` that are cheap
for many rows, and a linear ``A`` that only their sums and the weights have to go through.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors import _fourier as fourier
from fedanomaly.detectors import _nystroem as nystroem
from fedanomaly.detectors._fourier import FourierExpansion
from fedanomaly.detectors._rbf import KernelExpansion, kernel_values
from fedanomaly.detectors._received import LARGE, require_float64

if TYPE_CHECKING:
    from fedanomaly.detectors.one_class_svm import OneClassSVM

Floats = npt.NDArray[np.float64]
Expansion = KernelExpansion | FourierExpansion

_CHUNK_ROWS = 4096


class FeatureMap(ABC):
    """A feature map with ``||phi(x)|| <= 1``, the same on the server and every client."""

    prefix: ClassVar[str]
    """Where the server's state holds what the map is made of."""

    names: ClassVar[tuple[str, ...]]
    """The arrays it is made of."""

    size: int
    """Number of features."""

    @classmethod
    def request(cls, state: Arrays) -> Arrays:
        """Return the arrays a client makes the map of."""
        return {name: state[f"{cls.prefix}/{name}"] for name in cls.names}

    @classmethod
    @abstractmethod
    def of(cls, arrays: Arrays, detector: OneClassSVM, n_features: int | None) -> Self:
        """Return the map; raise :class:`InvalidArrays` unless ``arrays`` are what :meth:`request` returns."""

    @abstractmethod
    def values(self, X: Array) -> Floats:
        """Return the raw values of rows, shape (n_rows, size)."""

    def features(self, values: Floats) -> Floats:
        """Return ``A`` times raw values (or a sum of them), shape (size,) or (n_rows, size)."""
        return values

    def fold(self, w: Floats) -> Floats:
        """Return ``A^T w``: ``<w, phi(x)>`` is the inner product of that with the raw values of ``x``."""
        return w

    @abstractmethod
    def typical_scores(self, w: Floats) -> Floats:
        """Return scores such as rows have, from what the server knows."""

    @abstractmethod
    def expansion(self, w: Floats, rho: float) -> Expansion:
        """Return the model that scores ``<w, phi(x)>``."""

    def rows(self, X: Array) -> Floats:
        """Return the features of rows, shape (n_rows, size)."""
        parts = (X[start : start + _CHUNK_ROWS] for start in range(0, len(X), _CHUNK_ROWS))
        return np.concatenate([self.features(self.values(part)) for part in parts])

    def mean_embedding(self, mean_values: Floats, nu: float) -> Expansion:
        """Return the model ``<mean phi, phi(x)>``; ``rho`` is the ``nu`` quantile of typical scores."""
        w = self.features(mean_values)
        return self.expansion(w, self.rho_guess(w, nu))

    def rho_guess(self, w: Floats, nu: float) -> float:
        """Return the ``nu`` quantile of typical scores."""
        return float(np.quantile(self.typical_scores(w), nu))


class NystroemMap(FeatureMap):
    """Kernel values with synthetic landmarks, whitened (Williams and Seeger 2001).

    Parameters
    ----------
    landmarks : ndarray of shape (size, n_features), float64
        Drawn from the normal distribution with all rows' mean and covariance.
    gamma : float
        Kernel width.
    """

    prefix = "nystrom"
    names = ("landmarks", "gamma")

    def __init__(self, landmarks: Floats, gamma: float) -> None:
        self.landmarks = landmarks
        self.gamma = gamma
        self.size = len(landmarks)

    @classmethod
    def of(cls, arrays: Arrays, detector: OneClassSVM, n_features: int | None) -> Self:
        """Return the map of landmarks (size, n_features) and gamma (1,)."""
        landmarks = require_float64(arrays, "landmarks", (None, n_features))
        return cls(landmarks, float(require_float64(arrays, "gamma", (1,), low=1 / LARGE)[0]))

    @cached_property
    def root(self) -> Floats:
        """Cholesky's factor of the landmarks' kernel matrix."""
        return nystroem.landmark_root(self.landmarks, self.gamma)

    def values(self, X: Array) -> Floats:
        """Return the kernel values with the landmarks."""
        return kernel_values(X, self.landmarks, self.gamma)

    def features(self, values: Floats) -> Floats:
        """Return whitened kernel values."""
        return nystroem.solve_lower(self.root, values.T).T

    def fold(self, w: Floats) -> Floats:
        """Return the coefficients of the landmarks."""
        return nystroem.solve_upper(self.root, w)

    def typical_scores(self, w: Floats) -> Floats:
        """Return the landmarks' scores: row i of the root is nearly phi(landmark i)."""
        return np.asarray((self.root * w).sum(axis=1), dtype=np.float64)

    def expansion(self, w: Floats, rho: float) -> KernelExpansion:
        """Return the weighted sum of kernels around the landmarks."""
        return KernelExpansion.single(self.landmarks, self.fold(w), self.gamma, rho)


class FourierMap(FeatureMap):
    """Random Fourier features (Rahimi and Recht 2007): cosine and sine of shared random projections.

    Nothing but ``gamma`` has to be agreed on: all sides draw the frequencies from the run's seed.

    Parameters
    ----------
    frequencies : ndarray of shape (size / 2, n_features), float64
        Drawn from N(0, 2 gamma I).
    """

    prefix = "fourier"
    names = ("gamma",)

    def __init__(self, frequencies: Floats) -> None:
        self.frequencies = frequencies
        self.size = 2 * len(frequencies)

    @classmethod
    def of(cls, arrays: Arrays, detector: OneClassSVM, n_features: int | None) -> Self:
        """Draw the frequencies for gamma (1,)."""
        gamma = float(require_float64(arrays, "gamma", (1,), low=1 / LARGE)[0])
        if n_features is None:
            raise InvalidArrays("the number of features is not known, which random Fourier features need")
        return cls(fourier.draw_frequencies(detector.n_components, n_features, gamma, detector.random_state))

    def values(self, X: Array) -> Floats:
        """Return cosines, then sines, of the projections."""
        return fourier.fourier_values(X, self.frequencies)

    def typical_scores(self, w: Floats) -> Floats:
        """Return half the norm of ``w`` squared: for the mean embedding, half the mean score of all rows."""
        return np.array([(w**2).sum() / 2])

    def expansion(self, w: Floats, rho: float) -> FourierExpansion:
        """Return the trigonometric sum."""
        return FourierExpansion(self.frequencies, w, rho)
