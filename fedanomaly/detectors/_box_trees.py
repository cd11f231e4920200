"""Trees of random boxes that count: no row shapes them, so counts of any rows can be added and taken away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.detectors._forest_arrays import MAX_ROWS
from fedanomaly.detectors._forest_codes import LARGEST, codes_of, node_step
from fedanomaly.detectors._received import require_float64
from fedanomaly.detectors._trees import MAX_DEPTH, MAX_PSI, MAX_TREES, Forest, no_split, node_dtype

Integers = npt.NDArray[np.int64]

UNIT = 2.0**-20
"""Counts that have decayed are multiples of this, so that adding and taking away stay exact."""

_NAMES = frozenset({"keys", "low", "high", "center", "width", "leaf_rows", "psi"})
_SHARED_NODES = 1 << 20  # trees of no more nodes are kept for whoever asks next
_WIDEST = 1e40  # of a scale; numbers are float32


class Box(NamedTuple):
    """Where trees cut: the range of each feature, and on which scale cuts are uniform.

    Attributes
    ----------
    low, high : ndarrays of shape (n_features,), int32
        Codes of the smallest and largest value.
    center, width : ndarrays of shape (n_features,), float64
        Cuts are uniform in arcsinh((value - center) / width), or in the value where ``width`` is 0.
    """

    low: Array
    high: Array
    center: Array
    width: Array

    @property
    def n_features(self) -> int:
        """Features a row has."""
        return len(self.low)

    def step(self) -> int:
        """Return the distance between neighbouring codes."""
        return node_step(node_dtype(self.n_features) is np.int64)

    def to_arrays(self) -> Arrays:
        """Return the box as named arrays."""
        return dict(self._asdict())

    @classmethod
    def from_arrays(cls, arrays: Arrays, n_features: int | None = None) -> Self:
        """Return the box in ``arrays``, copied; raise :class:`InvalidArrays` unless it is one."""
        low = require(arrays, "low", kind="i", shape=(n_features,), low=-LARGEST - 1, high=LARGEST)
        shape = (len(low),)
        high = require(arrays, "high", kind="i", shape=shape, low=-LARGEST - 1, high=LARGEST)
        center = require_float64(arrays, "center", shape, low=-_WIDEST, high=_WIDEST)
        width = require_float64(arrays, "width", shape, low=0, high=_WIDEST)
        if low.dtype != np.int32 or high.dtype != np.int32:
            raise InvalidArrays(f"codes of the box have dtypes {low.dtype} and {high.dtype}, expected int32")
        box = cls(low.copy(), high.copy(), center.copy(), width.copy())
        if not len(low) or bool((low > high).any()):
            raise InvalidArrays("the box has no features, or ends before it begins")
        if bool(((low | high) % box.step()).any()):
            raise InvalidArrays(f"codes of the box are no multiples of {box.step()}")
        if bool(((width > 0) & (width < 1 / _WIDEST)).any()):
            raise InvalidArrays("array 'width' holds numbers too small to divide by")
        return box

    def trees(self, keys: Array, depth: int) -> Array:
        """Return the packed nodes of one tree a key, shape (n_trees, 2**depth - 1); not to be modified."""
        drawn = _shared_trees if len(keys) << depth <= _SHARED_NODES else _shared_trees.__wrapped__
        return drawn(*(array.tobytes() for array in self), keys.tobytes(), depth)

    def rows_in(self, X: Array, nodes: Array) -> Integers:
        """Return how many rows reach each bottom position, shape (n_trees, 2**depth)."""
        from fedanomaly.detectors import _box_loops

        counts = np.zeros((len(nodes), nodes.shape[1] + 1), dtype=np.int64)
        _box_loops.count_leaves(codes_of(X, self.step()), nodes, counts)
        return counts


@lru_cache(maxsize=4)
def _shared_trees(low: bytes, high: bytes, center: bytes, width: bytes, keys: bytes, depth: int) -> Array:
    """Return the trees in a box: all clients in one process, and all rounds, ask for the same ones."""
    from fedanomaly.detectors import _box_loops  # numba: only where trees are grown

    lowest, highest = (np.frombuffer(corner, np.int32).astype(np.int64) for corner in (low, high))
    centers, widths = (np.frombuffer(scale, np.float64).copy() for scale in (center, width))
    each = np.frombuffer(keys, np.uint64).copy()
    nodes = Forest.blank(len(each), 1, depth, len(lowest)).nodes
    _box_loops.box_trees(each, lowest, highest, centers, widths, nodes)
    return nodes


@dataclass(frozen=True, eq=False)
class CountForest:
    """Random trees in a box with the number of rows in each leaf.

    A row's path ends where psi times the share of rows in its node is at most one: where a tree grown
    on psi rows would have isolated it. Counts are additive, so forests over the same box and keys add
    up, and rows can be added and taken away one by one.

    Attributes
    ----------
    box : Box
        Where the trees cut.
    keys : ndarray of shape (n_trees,), uint64
        Random numbers that the trees are made of.
    leaf_rows : ndarray of shape (n_trees, 2**depth), int64, or float64 after a decay
        Rows in each leaf, at its leftmost descendant; zero elsewhere.
    psi : int
        Rows that paths are measured for; fewer where there are fewer rows.
    """

    box: Box
    keys: Array
    leaf_rows: Array
    psi: int

    @cached_property
    def nodes(self) -> Array:
        """Packed nodes."""
        return self.box.trees(self.keys, int(self.leaf_rows.shape[1]).bit_length() - 1)

    def add(self, X: Array) -> Self:
        """Return the forest with rows added."""
        return self._with(self.leaf_rows + self.box.rows_in(X, self.nodes))

    def forget(self, X: Array, weight: float = 1.0) -> Self:
        """Return the forest with rows of this weight taken away.

        Raises
        ------
        UserError
            If the forest cannot have counted them.
        """
        rows = self.box.rows_in(X, self.nodes)
        left = self.leaf_rows - (rows if weight == 1 else _on_grid(rows * weight))
        if bool((left < 0).any()):
            raise UserError(
                "these rows cannot be forgotten: some were never counted, or weigh less by now (see 'weight')"
            )
        return self._with(left)

    def decay(self, factor: float) -> Self:
        """Return the forest with every row seen so far weighing ``factor`` times what it did."""
        return self._with(_on_grid(self.leaf_rows * factor))

    def forest(self) -> Forest:
        """Return the trees cut off where paths end."""
        nodes, n_trees = self.nodes.copy(), len(self.keys)
        none = no_split(nodes.dtype)
        sums = [self.leaf_rows]  # rows in each node, from the bottom up
        while sums[-1].shape[1] > 1:
            sums.append(sums[-1].reshape(n_trees, -1, 2).sum(axis=2))
        rows = sums[-1][:, 0]
        psi = np.clip(rows, 1, self.psi).astype(np.int32)
        counts = np.zeros_like(self.leaf_rows)
        reached = np.ones((n_trees, 1), dtype=np.bool_)
        depth = len(sums) - 1
        for level, inside in enumerate(reversed(sums)):
            here = nodes[:, 2**level - 1 : 2 ** (level + 1) - 1] if level < depth else None
            ends = (
                reached
                if here is None
                else reached & ((inside * psi[:, None] <= rows[:, None]) | (here == none))
            )
            counts[:, :: 2 ** (depth - level)][ends] = inside[ends]
            if here is not None:
                here[ends | ~reached] = none
                reached = np.repeat(reached & ~ends, 2, axis=1)
        return Forest(nodes, counts, psi, self.box.n_features, rows)

    def to_arrays(self) -> Arrays:
        """Return the forest as named arrays; whole counts as integers in their smallest dtype."""
        whole = self.leaf_rows.dtype.kind == "i"
        most = int(self.leaf_rows.max(initial=0))
        return {
            **self.box.to_arrays(),
            "keys": self.keys,
            "leaf_rows": self.leaf_rows.astype(np.min_scalar_type(most)) if whole else self.leaf_rows,
            "psi": np.array(self.psi, dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Return the forest in ``arrays``, copied; raise :class:`InvalidArrays` unless it is whole."""
        require_only(arrays, set(_NAMES))
        box = Box.from_arrays(arrays)
        keys = require(arrays, "keys", kind="u", shape=(None,))
        if keys.dtype != np.uint64 or not 1 <= len(keys) <= MAX_TREES:
            raise InvalidArrays(f"array 'keys' is {keys.dtype} of {len(keys)} trees")
        psi = int(require(arrays, "psi", kind="i", shape=(), low=1, high=MAX_PSI))
        leaf_rows = require(arrays, "leaf_rows", kind="uf", shape=(len(keys), None), low=0, high=MAX_ROWS)
        if leaf_rows.shape[1] not in {2**depth for depth in range(1, MAX_DEPTH + 1)}:
            raise InvalidArrays(f"array 'leaf_rows' has {leaf_rows.shape[1]} leaves a tree")
        if leaf_rows.dtype.kind == "u":
            leaf_rows = leaf_rows.astype(np.int64)
        elif leaf_rows.dtype != np.float64 or not np.array_equal(leaf_rows, _on_grid(leaf_rows)):
            raise InvalidArrays("array 'leaf_rows' holds shares of a row that no decay leaves")
        forest = cls(box, keys.copy(), leaf_rows.copy(), psi)
        if bool(forest.leaf_rows[~_leaves(forest.nodes)].any()):
            raise InvalidArrays("array 'leaf_rows' counts rows where there is no leaf")
        return forest

    def _with(self, leaf_rows: Array) -> Self:
        """Return a forest of the same trees; whole counts become integers again."""
        if leaf_rows.dtype.kind == "f" and not bool((leaf_rows % 1).any()):
            leaf_rows = leaf_rows.astype(np.int64)
        other = replace(self, leaf_rows=leaf_rows)
        other.__dict__["nodes"] = self.nodes
        return other


def _on_grid(counts: Array) -> npt.NDArray[np.float64]:
    """Return counts rounded to multiples of :data:`UNIT`."""
    return np.asarray(np.rint(np.asarray(counts, dtype=np.float64) / UNIT) * UNIT)


def _leaves(nodes: Array) -> npt.NDArray[np.bool_]:
    """Return which bottom positions are leaves' leftmost descendants, shape (n_trees, 2**depth)."""
    n_trees, n_nodes = nodes.shape
    leaves = np.zeros((n_trees, n_nodes + 1), dtype=np.bool_)
    reached = np.ones((n_trees, 1), dtype=np.bool_)
    while (width := reached.shape[1]) <= n_nodes:
        splits = reached & (nodes[:, width - 1 : 2 * width - 1] != no_split(nodes.dtype))
        leaves[:, :: (n_nodes + 1) // width] |= reached & ~splits
        reached = np.repeat(splits, 2, axis=1)
    return leaves | reached
