"""Local DIFFI: which features led a row down short paths of a forest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.detectors._forest_codes import codes_of, node_step
from fedanomaly.detectors._trees import Forest, no_split

_CHUNK_VALUES = 1 << 20  # of a row's position in every tree


def local_diffi(forest: Forest, X: Array) -> npt.NDArray[np.float64]:
    """Return the local importance of each feature for the isolation of rows.

    A tree that isolates the row after ``h`` splits gives ``1 / h - 1 / h_max`` to every split's feature
    on the path, ``h_max = ceil(log2(psi))`` being the height limit; a feature's importance is the mean
    over all its splits on the row's paths, 0 if there is none.

    Parameters
    ----------
    forest : Forest
        The trees.
    X : ndarray of shape (n_rows, n_features), float64
        Finite rows.

    Returns
    -------
    ndarray of shape (n_rows, n_features), float64
        From 0 to 1.

    References
    ----------
    Carletti, Terzi and Susto (2023), Interpretable anomaly detection with DIFFI: depth-based feature
    importance of isolation forest, Engineering Applications of Artificial Intelligence 119, section 4.2.
    """
    size = max(1, _CHUNK_VALUES // max(1, len(forest)))
    return np.concatenate([_importance(forest, X[i : i + size]) for i in range(0, len(X), size)])


def _importance(forest: Forest, X: Array) -> npt.NDArray[np.float64]:
    wide = forest.nodes.itemsize == 8
    codes = codes_of(X, node_step(wide)).astype(np.int64)
    trees, rows = np.arange(len(forest))[:, None], np.arange(len(X))
    stop, low_bits = no_split(forest.nodes.dtype), 0xFFFFFFFF if wide else 0xFF
    place = np.zeros((len(forest), len(X)), dtype=np.int64)
    features, passed = [], []
    for _ in range(forest.depth):
        node = forest.nodes[trees, place].astype(np.int64)
        feature = node & low_bits
        value = codes[rows, feature]
        place = 2 * place + 1 + ((value << 32 if wide else value) > node)
        features.append(feature)
        passed.append(node != stop)
    height = np.sum(passed, axis=0)
    limit = np.maximum(1, np.ceil(np.log2(np.maximum(forest.psi, 2))))[:, None]
    # a tree of a forest that was recounted or grown in full can be deeper than its psi asks for
    gain = np.maximum(0.0, 1.0 / np.maximum(height, 1) - 1.0 / limit)
    total, visits = np.zeros(X.size), np.zeros(X.size)
    for feature, here in zip(features, passed, strict=True):
        cell = (rows * X.shape[1] + feature)[here]
        total += np.bincount(cell, np.broadcast_to(gain, feature.shape)[here], X.size)
        visits += np.bincount(cell, minlength=X.size)
    return (total / np.maximum(visits, 1)).reshape(X.shape)
