"""Reference points with their local densities: one or several LOF models whose logarithms are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors._rbf import row_chunks
from fedanomaly.detectors._received import require_float64

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LocalDensities:
    """Members, each a set of reference points for the local outlier factor (Breunig et al. 2000).

    Attributes
    ----------
    points : ndarray of shape (n_points, n_features), float64
        Reference points of all members, one member after the other.
    k_distances : ndarray of shape (n_points,), float64
        Distance of each point to its k-th nearest neighbour in its member, at least 0.
    densities : ndarray of shape (n_points,), float64
        Local reachability density, above 0; finite for duplicates too (at most 1e10).
    sizes : ndarray of shape (n_members,), int64
        Points of each member, at least 2.
    neighbors : ndarray of shape (n_members,), int64
        The k of each member, from 1 to its size - 1.
    """

    points: Floats
    k_distances: Floats
    densities: Floats
    sizes: Integers
    neighbors: Integers

    @classmethod
    def of(cls, X: Array, n_neighbors: int) -> Self:
        """Return one member over at least 2 rows; k is lowered to their number - 1."""
        points = np.array(X, dtype=np.float64, order="C")
        return cls.of_neighbors(points, *_nearest(points, points, min(n_neighbors, len(points) - 1), own=0))

    @classmethod
    def of_neighbors(cls, points: Floats, squared: Floats, which: Integers) -> Self:
        """Return one member from each point's k nearest others: squared distances, ascending, and numbers."""
        from fedanomaly.detectors import _row_kernels

        k_distances = np.sqrt(squared.max(axis=1))
        # a factor among densities of 1 is the mean reachability distance, the inverse of the density
        reach = np.empty(len(points))
        _row_kernels.outlier_factors(squared, which, k_distances, np.ones(len(points)), reach)
        sizes = np.array([len(points)], dtype=np.int64)
        return cls(points, k_distances, 1.0 / reach, sizes, np.array([which.shape[1]], dtype=np.int64))

    @classmethod
    def union(cls, members: Sequence[Self]) -> Self:
        """Return all members side by side."""
        arrays = [member.to_arrays() for member in members]
        if len({part["points"].shape[1] for part in arrays}) != 1:
            raise InvalidArrays("the members differ in their number of features")
        return cls.from_arrays({name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]})

    def log_factors(self, X: Array) -> Floats:
        """Return the mean over members of the logarithm of each row's LOF, shape (n_rows,).

        Rows are scored as new ones (scikit-learn's ``novelty=True``): a row that is also a reference
        point is its own nearest neighbour.
        """
        from fedanomaly.detectors import _row_kernels

        total = np.zeros(len(X))
        transposed, k_distances, densities, sizes, neighbors = self._searched
        most = max(len(self.sizes), int(self.neighbors.max()))
        for rows in row_chunks(len(X), most):
            part = np.array(X[rows], dtype=np.float64, order="C")  # a copy: X may be a read-only memory map
            factors = np.empty((len(self.sizes), len(part)))
            _row_kernels.member_factors(part, transposed, k_distances, densities, sizes, neighbors, factors)
            np.clip(factors, 1e-300, 1e300, out=factors)  # finite for rows however far away
            _row_kernels.add_rows(np.log(factors, out=factors), total[rows])
        return np.asarray(total / len(self.sizes), dtype=np.float64)

    @cached_property
    def _searched(self) -> tuple[Array, ...]:
        """The attributes as the compiled search wants them: each member's points features x size."""
        parts = np.split(self.points, np.cumsum(self.sizes)[:-1])
        transposed = np.concatenate([part.T.reshape(-1) for part in parts])
        others = (self.k_distances, self.densities, self.sizes, self.neighbors)
        return transposed, *(np.array(array) for array in others)  # copies: none is read-only

    def to_arrays(self) -> Arrays:
        """Return the attributes as named arrays."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Read the named arrays back; raise :class:`InvalidArrays` unless every score will be finite."""
        require_only(arrays, {"points", "k_distances", "densities", "sizes", "neighbors"})
        sizes = require(arrays, "sizes", kind="i", shape=(None,), low=2)
        neighbors = require(arrays, "neighbors", kind="i", shape=(len(sizes),), low=1)
        points = require_float64(arrays, "points", (None, None), low=-1e100, high=1e100)
        if not points.size or sum(sizes.tolist()) != len(points):
            raise InvalidArrays(f"sizes of the members do not add up to {len(points)} points")
        if bool((neighbors >= sizes).any()) or {sizes.dtype, neighbors.dtype} != {np.dtype(np.int64)}:
            raise InvalidArrays("neighbors must be int64, as sizes, and below the size of each member")
        shape = (len(points),)
        k_distances = require_float64(arrays, "k_distances", shape, low=0, high=1e150)
        densities = require_float64(arrays, "densities", shape, low=1e-120, high=1.000001e10)
        return cls(
            points,
            k_distances,
            densities,
            sizes,
            neighbors,
        )


def nearest_others(points: Floats, some: slice, k: int) -> Integers:
    """Return the numbers of the k nearest other points of ``points[some]``, ascending by distance."""
    return _nearest(points[some], points, k, own=some.start)[1]


def squared_distances(points: Floats, which: Integers) -> Floats:
    """Return the squared distances of each point to those of the given numbers, shape of ``which``.

    To the bit what the search for neighbours computes: summed feature by feature.
    """
    total = np.zeros(which.shape)
    for column in points.T:
        difference = column[:, None] - column[which]
        total += difference * difference
    return total


def _nearest(X: Array, points: Floats, k: int, own: int = -1) -> tuple[Floats, Integers]:
    """Return squared distances and numbers of each row's k nearest points, ascending; ties by number.

    ``own`` is the number of the first row among the points, so that no row is its own neighbour; -1:
    the rows are not among them.
    """
    from fedanomaly.detectors import _row_kernels

    squared = np.empty((len(X), k))
    which = np.empty((len(X), k), dtype=np.int64)
    transposed = np.array(points.T, order="C")
    for rows in row_chunks(len(X), k):
        part = np.array(X[rows], dtype=np.float64, order="C")  # a copy: X may be a read-only memory map
        first = own + rows.start if own >= 0 else -1
        _row_kernels.nearest(part, transposed, first, squared[rows], which[rows])
    return squared, which
