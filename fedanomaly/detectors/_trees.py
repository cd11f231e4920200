"""Isolation trees as flat arrays in memory: 4 bytes a node, no links to follow.

A tree is a complete binary heap of depth D. Entry ``i`` of its ``nodes`` has its children at
``2 i + 1`` (value <= threshold) and ``2 i + 2``; links are implied, so no array can send a walk
astray. A node packs threshold and feature into one integer: the order-preserving integer image of
the float32 threshold, cut to its upper 24 bits, and the feature in the low byte. Beyond 256 features
it is 64 bits: all 32 bits of the image above 32 bits of feature. A node that does not split holds
``+inf`` as its threshold, which sends every row to the left: the walk always takes D steps and ends
at a leaf's leftmost descendant on the bottom, where ``counts`` keeps how many rows the leaf has.
What travels is in :mod:`fedanomaly.detectors._forest_arrays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import InvalidArrays

if TYPE_CHECKING:
    from fedanomaly.detectors._forest_masks import Program

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


def average_path(n: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return c(n) for real n from 0 to ``MAX_PSI``: straight lines between the whole numbers."""
    whole = np.minimum(n.astype(np.int64), MAX_PSI - 1)
    step = AVERAGE_PATH[whole + 1] - AVERAGE_PATH[whole]
    return np.asarray(AVERAGE_PATH[whole] + (n - whole) * step)


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
    """Isolation trees of one depth.

    Attributes
    ----------
    nodes : ndarray of shape (n_trees, 2**depth - 1), int32 or int64
        Packed nodes.
    counts : ndarray of shape (n_trees, 2**depth), uint16, or of ``rows``' dtype
        Rows in each leaf, at its leftmost descendant; zero elsewhere.
    psi : ndarray of shape (n_trees,), int32
        Rows each tree was grown on.
    n_features : int
        Features a row has.
    rows : ndarray of shape (n_trees,), int64 or float64, or None
        Rows that ``counts`` counts, where they are others than the ``psi`` a tree was grown on.
    """

    nodes: Array
    counts: Array
    psi: Array
    n_features: int
    rows: Array | None = None

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
            None
            if all(forest.rows is None for forest in deepened)
            else np.concatenate([forest.psi if forest.rows is None else forest.rows for forest in deepened]),
        )

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def depth(self) -> int:
        """Steps from a root to the bottom."""
        return int(self.nodes.shape[1]).bit_length()

    @cached_property
    def leaf_values(self) -> npt.NDArray[np.float32]:
        """What a row earns at each bottom position, shape (n_trees, 2**depth): h / c(psi).

        The path length h is the leaf's depth plus c(rows in it); where ``rows`` were counted instead,
        plus c of what is the leaf's share of psi rows. A tree grown on one row tells nothing and gives
        1, the value of an average row.
        """
        depths = np.zeros((len(self), 1), dtype=np.uint8)
        for level in range(self.depth):
            splits = self.nodes[:, 2**level - 1 : 2 ** (level + 1) - 1] != no_split(self.nodes.dtype)
            depths = np.repeat(depths + splits, 2, axis=1)
        values = self._paths_below()
        values += depths
        values /= np.maximum(AVERAGE_PATH[self.psi], 1.0)[:, None]
        values[self.psi == 1] = 1.0
        return np.asarray(values, dtype=np.float32)

    def _paths_below(self) -> npt.NDArray[np.float64]:
        """Return the mean path length below each bottom position."""
        if self.rows is None:
            return AVERAGE_PATH[self.counts]
        share = self.counts * (self.psi / np.maximum(self.rows, 1))[:, None]
        return average_path(np.minimum(share, self.psi[:, None]))

    @cached_property
    def program(self) -> Program | None:
        """The same trees as the vector kernel runs them; None where walking them is faster."""
        from fedanomaly.detectors import _forest_masks  # numba: only where rows are scored

        return _forest_masks.program(self)

    def _deepened(self, depth: int) -> Forest:
        """Return the same trees in a deeper heap."""
        if depth == self.depth:
            return self
        deep = Forest.blank(len(self), 1, depth, self.n_features)
        deep.nodes[:, : self.nodes.shape[1]] = self.nodes
        counts = deep.counts.astype(self.counts.dtype)
        counts[:, :: 2 ** (depth - self.depth)] = self.counts
        return Forest(deep.nodes, counts, self.psi, self.n_features, self.rows)
