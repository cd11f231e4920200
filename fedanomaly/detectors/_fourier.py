"""Random Fourier features of the Gaussian kernel (Rahimi and Recht 2007), and the model over them.

``exp(-gamma ||x - z||^2)`` is the mean of ``cos(<f, x - z>)`` over frequencies ``f`` from
N(0, 2 gamma I). With ``m`` of them, a row's features are ``cos(<f, x>) / sqrt(m)`` and
``sin(<f, x>) / sqrt(m)``: two features a frequency, of norm 1 together, with less variance than one
cosine with a random phase (Sutherland and Schneider 2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.detectors._rbf import row_chunks, weighted_sums
from fedanomaly.detectors._received import LARGE, require_float64

Floats = npt.NDArray[np.float64]


def n_fourier(n_components: int) -> int:
    """Return the number of features: ``n_components``, rounded up to an even number."""
    return n_components + n_components % 2


def draw_frequencies(n_components: int, n_features: int, gamma: float, seed: int | None) -> Floats:
    """Return the frequencies of :func:`n_fourier` features, shape (n_fourier / 2, n_features)."""
    generator = keyed_generator(seed or 0, "shared", "fourier frequencies")
    normal = generator.standard_normal((n_fourier(n_components) // 2, n_features))
    return np.asarray(np.sqrt(2.0 * gamma) * normal, dtype=np.float64)


def fourier_values(X: Array, frequencies: Floats) -> Floats:
    """Return the features of rows, shape (n_rows, 2 * n_frequencies): all cosines, then all sines."""
    from fedanomaly.detectors import _row_kernels

    out = np.empty((len(X), 2 * len(frequencies)))
    transposed = np.array(frequencies.T, order="C")
    for rows in row_chunks(len(X), out.shape[1]):
        part = np.clip(np.array(X[rows], dtype=np.float64, order="C"), -LARGE, LARGE)
        _row_kernels.cosines_and_sines(part, transposed, 1.0 / np.sqrt(len(frequencies)), out[rows])
    return out


def fourier_sum(X: Array, frequencies: Floats) -> Floats:
    """Return the sum over rows of :func:`fourier_values`, shape (2 * n_frequencies,), in bounded memory."""
    total = np.zeros(2 * len(frequencies))
    for rows in row_chunks(len(X), len(total)):
        total += fourier_values(X[rows], frequencies).sum(axis=0)
    return total


@dataclass(frozen=True, eq=False)
class FourierExpansion:
    """A one-class SVM that is linear in random Fourier features.

    Attributes
    ----------
    frequencies : ndarray of shape (n_frequencies, n_features), float64
        Random projections.
    coefficients : ndarray of shape (2 * n_frequencies,), float64
        Weights of the cosines, then of the sines.
    rho : float
        Provisional threshold on the score.
    """

    frequencies: Floats
    coefficients: Floats
    rho: float

    @property
    def n_features(self) -> int:
        """Number of features of a row."""
        return int(self.frequencies.shape[1])

    def score(self, X: Array) -> Floats:
        """Return the scores of shape (n_rows,); a row's score does not depend on the rows beside it."""
        scores = np.empty(len(X))
        for rows in row_chunks(len(X), len(self.coefficients)):
            scores[rows] = weighted_sums(fourier_values(X[rows], self.frequencies), self.coefficients)
        return scores

    def to_arrays(self) -> Arrays:
        """Return the attributes as named arrays."""
        return {
            "frequencies": self.frequencies,
            "coefficients": self.coefficients,
            "rho": np.array([self.rho]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Read the named arrays back; raise :class:`InvalidArrays` unless every score will be finite."""
        require_only(arrays, {"frequencies", "coefficients", "rho"})
        frequencies = require_float64(arrays, "frequencies", (None, None))
        if not frequencies.size:
            raise InvalidArrays("random Fourier features need at least one frequency and one feature")
        coefficients = require_float64(arrays, "coefficients", (2 * len(frequencies),))
        return cls(frequencies, coefficients, float(require_float64(arrays, "rho", (1,))[0]))
