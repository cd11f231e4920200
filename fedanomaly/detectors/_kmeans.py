"""k-means (Lloyd 1982) from k-means++ seeds, bit for bit the same whatever number of threads.

scikit-learn's ``KMeans`` adds up its threads' partial sums in the order in which they finish.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

ROWS_PER_CLUSTER = 128
"""Centres are searched for on a random sample of at most so many rows a cluster, as faiss does."""

MAX_ITER = 20


def kmeans(X: Array, n_clusters: int, generator: np.random.Generator) -> tuple[Floats, Labels]:
    """Return centroids (n_clusters, F) and how many rows each stands for (n_clusters,), int64.

    Every row is assigned to the closest centre in the end, and a centroid is the mean of exactly the
    rows counted for it; an empty cluster has count 0.
    """
    rows = np.array(X, dtype=np.float64, order="C")
    sample, most = rows, ROWS_PER_CLUSTER * n_clusters
    if len(rows) > most:
        sample = rows[np.sort(generator.choice(len(rows), most, replace=False))]
    centers = _seeds(sample, n_clusters, generator)
    before: Labels | None = None
    for _ in range(MAX_ITER):
        labels = _closest(sample, centers)
        if before is not None and np.array_equal(labels, before):
            break
        centers, before = _means(sample, labels, centers)[0], labels
    return _means(rows, _closest(rows, centers), centers)


def _seeds(X: Floats, n: int, generator: np.random.Generator) -> Floats:
    """Return ``n`` rows by k-means++ (Arthur and Vassilvitskii 2007)."""
    chosen = [int(generator.integers(len(X)))]
    closest = np.full(len(X), np.inf)
    for _ in range(n - 1):
        difference = X - X[chosen[-1]]
        closest = np.minimum(closest, np.einsum("nf,nf->n", difference, difference, optimize=False))
        cumulative = np.cumsum(closest)
        at = np.searchsorted(cumulative, generator.random() * cumulative[-1], side="right")
        chosen.append(min(int(at), len(X) - 1))
    return X[chosen]


def _closest(X: Floats, centers: Floats) -> Labels:
    from fedanomaly.detectors import _row_kernels

    labels = np.empty(len(X), dtype=np.int64)
    _row_kernels.assign(X, np.array(centers.T, order="C"), labels)
    return labels


def _means(X: Floats, labels: Labels, centers: Floats) -> tuple[Floats, Labels]:
    """Return the mean of each cluster's rows (an empty one keeps its centre) and the counts."""
    counts = np.bincount(labels, minlength=len(centers))
    sums = np.stack([np.bincount(labels, column, len(centers)) for column in X.T], axis=1)
    filled = counts > 0
    means = centers.copy()
    means[filled] = sums[filled] / counts[filled, None]
    return means, counts.astype(np.int64)
