"""Sums of Gaussian kernels: what every one-class SVM of this package is, however it was built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors._received import LARGE, require_float64

Floats = npt.NDArray[np.float64]

_CHUNK_VALUES = 1 << 19  # kernel values held at a time: 4 MiB


def row_chunks(n_rows: int, n_references: int) -> Iterator[slice]:
    """Yield slices of rows so small that a float64 for each pair with a reference takes 4 MiB."""
    size = max(16, _CHUNK_VALUES // max(1, n_references))
    return (slice(start, start + size) for start in range(0, n_rows, size))


def kernel_values(X: Array, centers: Floats, gamma: float) -> Floats:
    """Return ``exp(-gamma * ||x - z||^2)`` for every row and centre, shape (n_rows, n_centers)."""
    out = np.empty((len(X), len(centers)))
    _fill(np.array(X, dtype=np.float64), np.array(centers.T, order="C"), gamma, out)
    return out


def kernel_sum(X: Array, centers: Floats, gamma: float) -> Floats:
    """Return the sum over rows of :func:`kernel_values`, shape (n_centers,), in bounded memory."""
    total = np.zeros(len(centers))
    for _, values in _chunks(X, centers, gamma):
        total += values.sum(axis=0)
    return total


def weighted_sums(K: Floats, weights: Floats) -> Floats:
    """Return ``K @ weights``, shape (n_rows,); every row is summed by itself, from left to right."""
    from fedanomaly.detectors import _row_kernels

    out = np.empty(len(K))
    _row_kernels.weighted_rows(K, weights, out)
    return out


def _fill(X: Floats, transposed: Floats, gamma: float, out: Floats) -> None:
    from fedanomaly.detectors import _row_kernels

    _row_kernels.squared_distances(X, transposed, out)
    np.multiply(out, -gamma, out=out)
    np.exp(out, out=out)


def _chunks(X: Array, centers: Floats, gamma: float) -> Iterator[tuple[slice, Floats]]:
    """Yield kernel values of a few rows at a time; the buffer is overwritten by the next."""
    transposed = np.array(centers.T, order="C")
    buffer: Floats | None = None
    for rows in row_chunks(len(X), len(centers)):
        part = np.array(X[rows], dtype=np.float64, order="C")  # a copy: X may be a read-only memory map
        if buffer is None:
            buffer = np.empty((len(part), len(centers)))
        _fill(part, transposed, gamma, buffer[: len(part)])
        yield rows, buffer[: len(part)]


@dataclass(frozen=True, eq=False)
class KernelExpansion:
    """One or several members ``f(x) = sum_j c_j exp(-gamma ||x - z_j||^2)`` and how they are averaged.

    The score of a row is the mean over members of ``(f(x) - mean) / scale``. A support vector
    machine is one member (mean 0, scale 1) whose centres are its support vectors; a Nyström model is
    one member whose centres are the landmarks, with the whitening folded into the coefficients.

    Attributes
    ----------
    centers : ndarray of shape (n_centers, n_features), float64
        The ``z_j`` of all members, one member after the other.
    coefficients : ndarray of shape (n_centers,), float64
        The ``c_j``.
    sizes : ndarray of shape (n_members,), int64
        How many centres each member has, at least 1.
    gamma, mean, scale : ndarray of shape (n_members,), float64
        Kernel width (> 0), mean and standard deviation (> 0) of each member's scores.
    rho : float
        Provisional threshold on the score.
    """

    centers: Floats
    coefficients: Floats
    sizes: npt.NDArray[np.int64]
    gamma: Floats
    mean: Floats
    scale: Floats
    rho: float

    @property
    def n_features(self) -> int:
        """Number of features of a row."""
        return int(self.centers.shape[1])

    @classmethod
    def single(cls, centers: Floats, coefficients: Floats, gamma: float, rho: float) -> Self:
        """Return an expansion with one member, neither shifted nor scaled."""
        sizes = np.array([len(centers)], dtype=np.int64)
        return cls(centers, coefficients, sizes, np.array([gamma]), np.zeros(1), np.ones(1), rho)

    @classmethod
    def union(cls, members: Sequence[Self]) -> Self:
        """Return the expansion whose members are those of all ``members``; ``rho`` is their mean."""
        arrays = [member.to_arrays() for member in members]
        if len({part["centers"].shape[1] for part in arrays}) != 1:
            raise InvalidArrays("the members differ in their number of features")
        joined = {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}
        joined["rho"] = joined["rho"].mean(keepdims=True)
        return cls.from_arrays(joined)

    def score(self, X: Array) -> Floats:
        """Return the scores of shape (n_rows,); a row's score does not depend on the rows beside it."""
        total = np.zeros(len(X))
        ends = np.cumsum(self.sizes)
        for member, end in enumerate(ends):
            mine = slice(int(end - self.sizes[member]), int(end))
            for rows, values in _chunks(X, self.centers[mine], float(self.gamma[member])):
                raw = weighted_sums(values, np.array(self.coefficients[mine]))
                total[rows] += (raw - self.mean[member]) / self.scale[member]
        return np.asarray(total / len(self.sizes), dtype=np.float64)

    def to_arrays(self) -> Arrays:
        """Return the attributes as named arrays."""
        return {
            "centers": self.centers,
            "coefficients": self.coefficients,
            "sizes": self.sizes,
            "gamma": self.gamma,
            "mean": self.mean,
            "scale": self.scale,
            "rho": np.array([self.rho]),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Read the named arrays back; raise :class:`InvalidArrays` unless every score will be finite."""
        require_only(arrays, {"centers", "coefficients", "sizes", "gamma", "mean", "scale", "rho"})
        sizes = require(arrays, "sizes", kind="i", shape=(None,), low=1)
        centers = require_float64(arrays, "centers", (None, None))
        if sizes.dtype != np.int64 or sum(sizes.tolist()) != len(centers):
            raise InvalidArrays(f"sizes (int64) of the members must add up to the {len(centers)} centers")
        if not centers.size or not len(sizes):
            raise InvalidArrays("a one-class SVM needs at least one member, one center and one feature")
        members = (len(sizes),)
        return cls(
            centers,
            require_float64(arrays, "coefficients", (len(centers),)),
            sizes,
            require_float64(arrays, "gamma", members, 1 / LARGE),
            require_float64(arrays, "mean", members),
            require_float64(arrays, "scale", members, 1 / LARGE),
            float(require_float64(arrays, "rho", (1,))[0]),
        )
