"""Noise for differential privacy: Gaussian and Laplace, whole numbers for whole numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array

Noise = Callable[[np.random.Generator, float, tuple[int, ...], bool], Array]


def gaussian(
    generator: np.random.Generator, sigma: float, shape: tuple[int, ...], whole: bool = False
) -> Array:
    """Return Gaussian noise of standard deviation ``sigma``; rounded to int64 where ``whole``.

    An answer of whole numbers plus rounded noise is the rounded answer plus noise: rounding comes
    after the mechanism and costs no privacy, so both kinds have the same guarantee. It adds 1/12 to
    the variance.

    References
    ----------
    Dwork and Roth (2014), The algorithmic foundations of differential privacy, appendix A.
    """
    noise = generator.normal(0.0, sigma, shape)
    return np.rint(noise).astype(np.int64) if whole else noise


def laplace(
    generator: np.random.Generator, scale: float, shape: tuple[int, ...], whole: bool = False
) -> Array:
    """Return Laplace noise of the given scale; discrete Laplace, int64, where ``whole``.

    Discrete Laplace noise takes the value k with probability proportional to ``exp(-|k| / scale)``:
    the difference of two geometric numbers. Its variance is ``2 p / (1 - p)**2``, ``p = exp(-1 / scale)``.

    References
    ----------
    Ghosh, Roughgarden and Sundararajan (2009), Universally utility-maximizing privacy mechanisms.
    """
    if not whole:
        return generator.laplace(0.0, scale, shape)
    success = -np.expm1(-1.0 / scale)
    return np.asarray(generator.geometric(success, shape) - generator.geometric(success, shape), np.int64)


def clip_rows(X: npt.NDArray[np.float64], norm: float) -> npt.NDArray[np.float64]:
    """Return rows of shape (n, d) with every row longer than ``norm`` (Euclidean) shortened to it."""
    length = np.sqrt(np.einsum("ij,ij->i", X, X))
    factor = np.minimum(1.0, norm / np.maximum(length, 1e-300))
    return np.ascontiguousarray(X * factor[:, None])
