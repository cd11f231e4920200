"""Isolation trees as flat arrays: 4 bytes a node, no links to follow, checked in full before use.

A tree is a complete binary heap of depth D. Entry ``i`` of its ``nodes`` has its children at
``2 i + 1`` (value <= threshold) and ``2 i + 2``; links are implied, so no array can send a walk
astray. A node packs threshold and feature into one integer: the order-preserving integer image of
the float32 threshold, cut to its upper 24 bits, and the feature in the low byte. Beyond 256 features
it is 64 bits: all 32 bits of the image above 32 bits of feature. A node that does not split holds
``+inf`` as its threshold, which sends every row to the left: the walk always takes D steps and ends
at a leaf's leftmost descendant on the bottom, where ``counts`` keeps how many rows the leaf has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays

MAX_TREES = 100_000
MAX_DEPTH = 12
MAX_PSI = 2**MAX_DEPTH
NARROW_FEATURES = 256
_INFINITY = 0x7F800000  # image of +inf; the image of the lowest finite float32 is its negative

_HARMONIC = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, MAX_PSI))])
AVERAGE_PATH: npt.NDArray[np.float64] = np.zeros(MAX_PSI + 1)
"""c(n), the mean depth of a leaf when n rows are split until each is alone (Liu et al. 2008, eq. 1).

With the exact harmonic number: its usual estimate takes a logarithm, whose last bit differs between
machines, and is off by a quarter at n = 3.
"""
AVERAGE_PATH[2:] = 2.0 * _HARMONIC[1:] - 2.0 * np.arange(1, MAX_PSI) / np.arange(2, MAX_PSI + 1)


def depth_for(psi: int) -> int:
    """Return the depth of a heap that holds trees grown on ``psi`` rows: ceil(log2(psi)), at least 1."""
    return max(1, (psi - 1).bit_length())


def node_dtype(n_features: int) -> type[np.int32 | np.int64]:
    """Return the dtype of a node: int32 up to 256 features, int64 beyond."""
    return np.int32 if n_features <= NARROW_FEATURES else np.int64


def no_split(dtype: npt.DTypeLike) -> int:
    """Return the node that sends every row to the left."""
    return _INFINITY << (32 if np.dtype(dtype).itemsize == 8 else 0)


@dataclass(frozen=True, eq=False)
class Forest:
    """Isolation trees of one depth; construct through :meth:`from_arrays` unless they are your own.

    Attributes
    ----------
    nodes : ndarray of shape (n_trees, 2**depth - 1), int32 or int64
        Packed nodes.
    counts : ndarray of shape (n_trees, 2**depth), uint16
        Rows in each leaf, at its leftmost descendant; zero elsewhere.
    psi : ndarray of shape (n_trees,), int32
        Rows each tree was grown on.
    n_features : int
        Features a row has.
    """

    nodes: Array
    counts: Array
    psi: Array
    n_features: int

    @classmethod
    def blank(cls, n_trees: int, psi: int, depth: int, n_features: int) -> Forest:
        """Return trees without a split or a count, for the growing loop to write into."""
        dtype = node_dtype(n_features)
        return cls(
            np.full((n_trees, 2**depth - 1), no_split(dtype), dtype=dtype),
            np.zeros((n_trees, 2**depth), dtype=np.uint16),
            np.full(n_trees, psi, dtype=np.int32),
            n_features,
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], *, min_trees: int = 1) -> Forest:
        """Return the forest in ``arrays``, copied; raise :class:`InvalidArrays` unless it is whole.

        Every accepted forest scores every finite row, within [-1, 0], in time and memory that its
        own size bounds.
        """
        require_only(arrays, {"nodes", "counts", "psi", "n_features"})
        n_features = int(_typed(arrays, "n_features", np.int64, (), low=1, high=2**31 - 1))
        nodes = _typed(arrays, "nodes", node_dtype(n_features), (None, None))
        n_trees, n_nodes = nodes.shape
        depth = (n_nodes + 1).bit_length() - 1
        if not 1 <= depth <= MAX_DEPTH or n_nodes != 2**depth - 1:
            raise InvalidArrays(f"trees have {n_nodes} nodes, expected 2**depth - 1, depth 1 to {MAX_DEPTH}")
        if not min_trees <= n_trees <= MAX_TREES:
            raise InvalidArrays(f"there are {n_trees} trees, expected {min_trees} to {MAX_TREES}")
        counts = _typed(arrays, "counts", np.uint16, (n_trees, 2**depth))
        psi = _typed(arrays, "psi", np.int32, (n_trees,), low=1, high=2**depth)
        _check_nodes(nodes, n_features)
        leaves, _ = _walk(nodes)
        if not np.array_equal(counts > 0, leaves):
            raise InvalidArrays("array 'counts' does not hold rows at the trees' leaves, and only there")
        if not np.array_equal(counts.sum(axis=1, dtype=np.int64), psi):
            raise InvalidArrays("array 'counts' does not add up to 'psi' in every tree")
        return cls(nodes, counts, psi, n_features)

    @classmethod
    def join(cls, forests: Sequence[Forest]) -> Forest:
        """Return all trees of forests over the same features in one, at the greatest depth."""
        if len(features := {forest.n_features for forest in forests}) != 1:
            raise InvalidArrays(f"trees over different numbers of features: {sorted(features)}")
        depth = max(forest.depth for forest in forests)
        deepened = [forest._deepened(depth) for forest in forests]
        return cls(
            np.concatenate([forest.nodes for forest in deepened]),
            np.concatenate([forest.counts for forest in deepened]),
            np.concatenate([forest.psi for forest in deepened]),
            features.pop(),
        )

    def to_arrays(self) -> Arrays:
        """Return ``nodes``, ``counts``, ``psi`` and ``n_features`` as named arrays."""
        n_features = np.array(self.n_features, dtype=np.int64)
        return {"nodes": self.nodes, "counts": self.counts, "psi": self.psi, "n_features": n_features}

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def depth(self) -> int:
        """Steps from a root to the bottom."""
        return int(self.nodes.shape[1]).bit_length()

    @cached_property
    def leaf_values(self) -> npt.NDArray[np.float32]:
        """What a row earns at each bottom position, shape (n_trees, 2**depth): h / c(psi).

        The path length h is the leaf's depth plus c(rows in it). A tree grown on one row tells
        nothing and gives 1, the value of an average row.
        """
        _, depths = _walk(self.nodes)
        values = (depths + AVERAGE_PATH[self.counts]) / np.maximum(AVERAGE_PATH[self.psi], 1.0)[:, None]
        values[self.psi == 1] = 1.0
        return np.asarray(values, dtype=np.float32)

    def _deepened(self, depth: int) -> Forest:
        """Return the same trees in a deeper heap."""
        if depth == self.depth:
            return self
        deep = Forest.blank(len(self), 1, depth, self.n_features)
        deep.nodes[:, : self.nodes.shape[1]] = self.nodes
        deep.counts[:, :: 2 ** (depth - self.depth)] = self.counts
        return Forest(deep.nodes, deep.counts, self.psi, self.n_features)


def _typed(
    arrays: Mapping[str, Array],
    name: str,
    dtype: npt.DTypeLike,
    shape: tuple[int | None, ...],
    low: int | None = None,
    high: int | None = None,
) -> Array:
    """Return a C-ordered copy of one array of exactly this dtype, so that nobody can change it later."""
    array = require(arrays, name, kind="iu", shape=shape, low=low, high=high)
    if array.dtype != np.dtype(dtype):
        raise InvalidArrays(f"array {name!r} has dtype {array.dtype}, expected {np.dtype(dtype)}")
    return np.array(array, order="C")


def _check_nodes(nodes: Array, n_features: int) -> None:
    """Refuse a feature that rows do not have and a threshold that is not finite."""
    bits = 32 if nodes.itemsize == 8 else 8
    feature = nodes & nodes.dtype.type(2**bits - 1)
    image = nodes >> 32 if nodes.itemsize == 8 else nodes - feature
    split = nodes != no_split(nodes.dtype)
    if (feature[split] >= n_features).any():
        raise InvalidArrays(f"array 'nodes' asks for a feature beyond the {n_features} there are")
    if ((image < -_INFINITY) | (image >= _INFINITY))[split].any():
        raise InvalidArrays("array 'nodes' holds thresholds that are not finite")


def _walk(nodes: Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]:
    """Return, for each bottom position, whether it stands for a leaf, and the depth of the leaf above it."""
    n_trees = len(nodes)
    leaves = np.ones((n_trees, 1), dtype=np.bool_)
    depths = np.zeros((n_trees, 1), dtype=np.uint8)
    parent_splits = leaves
    for level in range(int(nodes.shape[1]).bit_length()):
        splits = nodes[:, 2**level - 1 : 2 ** (level + 1) - 1] != no_split(nodes.dtype)
        if (splits & ~parent_splits).any():
            raise InvalidArrays("array 'nodes' holds a split below a node that does not split")
        depths = np.repeat(depths + splits, 2, axis=1)
        leaves = np.repeat(leaves, 2, axis=1)
        leaves[:, 1::2] &= splits
        parent_splits = np.repeat(splits, 2, axis=1)
    return leaves, depths
