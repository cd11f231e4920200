"""Compiled loops over pairs of rows: distances, projections, nearest neighbours, local outlier factors.

Imported on first use only, since numba is slow to import. Everything is accumulated in one fixed
order, and a row's result depends on that row and the references alone: not on the rows beside it,
the size of a chunk, the number of threads or the linear algebra library, as it would with matrix
products. References come transposed (``YT``, features x references), so that the innermost loops
run over neighbouring references and vectorise without reordering any sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any  # numba infers the types; annotations are for readers

TILE = 512  # references at a time: their partial sums stay in the first-level cache

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _row_distances(x: Array, YT: Array, first: int, last: int, out: Array) -> None:
    """Fill ``out[first:last]`` with squared distances of ``x`` to those references."""
    tile = out[first:last]
    tile[:] = 0.0
    for f in range(len(x)):
        value, y = x[f], YT[f, first:last]
        for j in range(last - first):
            difference = value - y[j]
            tile[j] += difference * difference


@_compiled
def squared_distances(X: Array, YT: Array, out: Array) -> None:
    """Fill ``out`` (rows x references) with squared Euclidean distances."""
    m = YT.shape[1]
    for first in range(0, m, TILE):
        for i in range(len(X)):
            _row_distances(X[i], YT, first, min(m, first + TILE), out[i])


@_compiled
def weighted_rows(K: Array, weights: Array, out: Array) -> None:
    """Fill ``out`` with ``K @ weights``, each sum from left to right."""
    for i in range(len(K)):
        total = 0.0
        for j in range(len(weights)):
            total += K[i, j] * weights[j]
        out[i] = total


@_compiled
def cosines_and_sines(X: Array, FT: Array, scale: float, out: Array) -> None:
    """Fill ``out`` (rows x 2 m) with the scaled cosines, then sines, of each row's ``m`` projections.

    ``FT`` holds the frequencies, features x m. Element by element: NumPy's vectorised cosine treats a
    row with a large argument in it differently.
    """
    m = FT.shape[1]
    for i in range(len(X)):
        projections = out[i, :m]
        projections[:] = 0.0
        for f in range(FT.shape[0]):
            value, frequency = X[i, f], FT[f]
            for j in range(m):
                projections[j] += value * frequency[j]
        for j in range(m):
            angle = projections[j]
            out[i, m + j] = scale * np.sin(angle)
            out[i, j] = scale * np.cos(angle)


@_compiled
def assign(X: Array, YT: Array, labels: Array) -> None:
    """Fill ``labels`` with each row's closest reference, the first one on a tie."""
    m = YT.shape[1]
    distances = np.empty(m)
    for i in range(len(X)):
        _row_distances(X[i], YT, 0, m, distances)
        best = 0
        for j in range(1, m):
            if distances[j] < distances[best]:
                best = j
        labels[i] = best


@_compiled
def _keep_nearest(distances: Array, first: int, last: int, skip: int, near: Array, which: Array) -> None:
    """Insert references into the ascending lists ``near`` and ``which``; the first one wins a tie."""
    k = len(near)
    for j in range(first, last):
        if distances[j] < near[k - 1] and j != skip:
            at = k - 1
            while at > 0 and distances[j] < near[at - 1]:
                near[at], which[at] = near[at - 1], which[at - 1]
                at -= 1
            near[at], which[at] = distances[j], j


@_compiled
def nearest(X: Array, YT: Array, own: int, squared: Array, which: Array) -> None:
    """Fill ``squared`` and ``which`` (rows x k) with each row's k nearest references, ascending.

    ``own`` is the number of the first row among the references, so that no row is its own
    neighbour, or -1 if the rows are not among them.
    """
    m = YT.shape[1]
    squared[:] = np.inf
    which[:] = 0
    distances = np.empty(m)
    for first in range(0, m, TILE):
        last = min(m, first + TILE)
        for i in range(len(X)):
            _row_distances(X[i], YT, first, last, distances)
            _keep_nearest(distances, first, last, own + i if own >= 0 else -1, squared[i], which[i])


@_compiled
def outlier_factors(squared: Array, which: Array, k_distances: Array, densities: Array, out: Array) -> None:
    """Fill ``out`` with local outlier factors from the nearest references of each row.

    Breunig et al. (2000), definitions 5 to 7, with scikit-learn's 1e-10 that keeps the density of
    duplicates finite.
    """
    n, k = squared.shape
    for i in range(n):
        reach, density = 0.0, 0.0
        for j in range(k):
            reach += max(np.sqrt(squared[i, j]), k_distances[which[i, j]])
            density += densities[which[i, j]]
        out[i] = density / k * (reach / k + 1e-10)


@_compiled
def member_factors(
    X: Array,
    transposed: Array,
    k_distances: Array,
    densities: Array,
    sizes: Array,
    neighbors: Array,
    out: Array,
) -> None:
    """Fill ``out`` (members x rows) with the outlier factors of all rows among each member's references.

    ``transposed`` holds the members' references one after the other, each features x size.
    """
    n, n_features = X.shape
    end = 0
    for member in range(len(sizes)):
        start, end, k = end, end + sizes[member], neighbors[member]
        YT = transposed[start * n_features : end * n_features].reshape((n_features, end - start))
        squared, which = np.empty((n, k)), np.empty((n, k), np.int64)
        nearest(X, YT, -1, squared, which)
        outlier_factors(squared, which, k_distances[start:end], densities[start:end], out[member])


@_compiled
def add_rows(values: Array, total: Array) -> None:
    """Add the rows of ``values`` to ``total``, one after the other."""
    for member in range(len(values)):
        for i in range(len(total)):
            total[i] += values[member, i]
