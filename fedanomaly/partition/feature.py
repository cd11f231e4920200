"""Feature skew: neighbouring rows in feature space go to the same client."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import deal, equal_sizes

_SAMPLE = 4096  # rows the centroids are fitted on
_CENTROIDS = 64  # at most; more clients cut the same chain finer
_ITERATIONS = 5
_LEVELS = 127  # a feature becomes a whole number from -127 to 127
_PER_DEVIATION = 16.0  # levels a standard deviation
_CHUNK = 2048  # rows whose distances fit in the cache

Floats = npt.NDArray[np.float64]


@PARTITIONERS.register("feature")
class FeaturePartitioner(Partitioner):
    """Order the rows along a chain of k-means centroids and cut the chain into equal blocks.

    One centroid a client (64 at most) is fitted by k-means++ and Lloyd's steps on a keyed sample;
    a chain visits the centroids, each time the nearest not yet visited; every row belongs to its
    nearest centroid and, within it, lies nearer to the previous or to the next one of the chain.

    Notes
    -----
    Clusters themselves would make poor clients: most hold a handful of rows, one holds half the
    table. Equal blocks keep quantity skew out of a study of feature skew, and need no repair.

    Every process of a federation computes the partition for itself, so it must not depend on a
    machine's vector width or number of threads. Features are therefore scaled by order statistics
    and rounded to whole numbers from -127 to 127; all sums stay below 2**24 (float32) or 2**53
    (float64) and are exact in whatever order a BLAS adds them.
    """

    name = "feature"
    title = "feature skew: blocks along a chain of k-means centroids, equally many rows each"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        rng = keyed_generator(request.seed, "partition", "feature")
        position = _chain_position(table.X, min(request.clients, _CENTROIDS), rng)
        return deal(np.argsort(position, kind="stable"), equal_sizes(len(table), request.clients))


def _chain_position(X: Array, n_centroids: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return an integer a row that orders the rows along the chain."""
    sample = X[np.sort(rng.choice(len(X), min(len(X), _SAMPLE), replace=False))]
    center, factor = _scale(sample)
    centroids = _chain(_k_means(_quantised(sample, center, factor), n_centroids, rng))
    exact = np.dtype(np.float32 if 3 * _LEVELS**2 * X.shape[1] < 1 << 24 else np.float64)
    weights: Array = np.ascontiguousarray(-2.0 * centroids.T, dtype=exact)
    norms = (centroids**2).sum(axis=1).astype(exact)
    last = len(centroids) - 1
    position = np.empty(len(X), dtype=np.int64)
    for start in range(0, len(X), _CHUNK):
        rows = slice(start, start + _CHUNK)
        distance: Array = _quantised(X[rows], center, factor).astype(exact) @ weights
        distance += norms  # less the row's own norm, the same for all centroids
        nearest = distance.argmin(axis=1)
        each = np.arange(len(nearest))
        lean = distance[each, np.maximum(nearest - 1, 0)] - distance[each, np.minimum(nearest + 1, last)]
        position[rows] = (nearest << 40) + lean.astype(np.int64)
    return position


def _scale(sample: Array) -> tuple[Floats, Floats]:
    """Return median and levels a unit of each feature, from order statistics (0 levels if constant)."""
    ordered = np.sort(sample, axis=0)
    at = [int(q * (len(ordered) - 1)) for q in (0.1, 0.5, 0.9)]
    low, center, high = ordered[at[0]], ordered[at[1]], ordered[at[2]]
    with np.errstate(over="ignore", divide="ignore"):
        # 2.56 deviations lie between the 10 and 90 % quantiles of a normal distribution, ~5 in a sample
        deviation = np.where(high > low, high / 2.56 - low / 2.56, ordered[-1] / 5.0 - ordered[0] / 5.0)
        factor = _PER_DEVIATION / deviation
    usable = np.isfinite(factor)
    return np.where(usable, center, 0.0), np.where(usable, factor, 0.0)


def _quantised(X: Array, center: Floats, factor: Floats) -> Floats:
    with np.errstate(over="ignore"):
        levels = np.asarray((X - center) * factor, dtype=np.float64)
    np.clip(levels, -_LEVELS, _LEVELS, out=levels)
    return np.rint(levels, out=levels)


def _k_means(Q: Floats, n_centroids: int, rng: np.random.Generator) -> Floats:
    """Return at most ``n_centroids`` distinct whole-numbered centroids of quantised rows."""
    norms = (Q**2).sum(axis=1)
    chosen = [int(rng.integers(len(Q)))]
    nearest = np.full(len(Q), np.inf)
    while len(chosen) < n_centroids:
        latest = chosen[-1]
        np.minimum(nearest, norms + norms[latest] - 2.0 * (Q @ Q[latest]), out=nearest)
        cumulative = np.cumsum(nearest)
        if not cumulative[-1] > 0:
            break  # fewer distinct rows than centroids
        chosen.append(int(np.searchsorted(cumulative, rng.integers(int(cumulative[-1])), side="right")))
    centroids = Q[chosen]
    for _ in range(_ITERATIONS):
        distance = (centroids**2).sum(axis=1) - 2.0 * (Q @ centroids.T)
        member = np.zeros_like(distance)
        member[np.arange(len(Q)), distance.argmin(axis=1)] = 1.0
        sizes = member.sum(axis=0)[:, None]
        centroids = np.where(sizes > 0, np.rint((member.T @ Q) / np.maximum(sizes, 1.0)), centroids)
    return np.unique(centroids, axis=0)


def _chain(centroids: Floats) -> Floats:
    """Return the centroids in the order of a chain: from the outermost to the nearest not yet visited."""
    norms = (centroids**2).sum(axis=1)
    distance = norms[:, None] + norms - 2.0 * (centroids @ centroids.T)
    visited = [int(distance.sum(axis=1).argmax())]
    while len(visited) < len(centroids):
        distance[:, visited[-1]] = np.inf
        visited.append(int(distance[visited[-1]].argmin()))
    return centroids[visited]
