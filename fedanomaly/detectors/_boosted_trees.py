"""Boosted trees in flat arrays: from xgboost's model to arrays, their checks, their sum over rows.

xgboost grows the trees; it never reads what another process sent. Trees travel as three plain
arrays, which are checked here in full, at 8 to 9 bytes a node (its JSON takes about 120).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors._received import require_float64

MAX_TREES = 200_000
MAX_NODES = 1 << 26
_FLOAT32 = float(np.finfo(np.float32).max)
_LEAF = -1


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """A sum of regression trees, each breadth first.

    The children of a tree's j-th inner node are its nodes 2 j + 1 and 2 j + 2, so that links need not
    be sent, and cannot be false.

    Attributes
    ----------
    sizes : ndarray of shape (n_trees,), int64
        Nodes a tree, an odd number.
    feature : ndarray of shape (n_nodes,), int32
        Feature an inner node splits, or -1 in a leaf.
    value : ndarray of shape (n_nodes,), float32
        Threshold of an inner node (a row with a smaller value goes left), or log-odds of a leaf.
    share : ndarray of shape (n_trees,), float64
        Weight of each tree in the sum, in [0, 1].
    n_features : int
        Of a row.
    """

    sizes: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int32]
    value: npt.NDArray[np.float32]
    share: npt.NDArray[np.float64]
    n_features: int

    @classmethod
    def none(cls, n_features: int) -> BoostedTrees:
        """Return the empty sum, which is 0 for every row."""
        return cls.of([], n_features)

    @classmethod
    def of(cls, trees: Sequence[dict[str, Any]], n_features: int) -> BoostedTrees:
        """Return trees of xgboost's JSON model, each with share 1."""
        flat = [_breadth_first(tree) for tree in trees]
        return cls(
            np.array([len(feature) for feature, _ in flat], dtype=np.int64),
            np.concatenate([np.empty(0, np.int32), *(feature for feature, _ in flat)]),
            np.concatenate([np.empty(0, np.float32), *(value for _, value in flat)]),
            np.ones(len(flat)),
            n_features,
        )

    @classmethod
    def join(cls, parts: Sequence[tuple[BoostedTrees, float]]) -> BoostedTrees:
        """Return the weighted sum of sums of trees over the same features."""
        if len({part.n_features for part, _ in parts}) != 1:
            raise InvalidArrays("the trees differ in their number of features")
        return cls(
            np.concatenate([part.sizes for part, _ in parts]),
            np.concatenate([part.feature for part, _ in parts]),
            np.concatenate([part.value for part, _ in parts]),
            np.concatenate([part.share * weight for part, weight in parts]),
            parts[0][0].n_features,
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def odds(self, X: Array) -> npt.NDArray[np.float64]:
        """Return the sum over trees of share times leaf, shape (n_rows,): log-odds of an anomaly."""
        from fedanomaly.detectors import _boosted_kernels  # numba: only where rows are scored

        total = np.zeros(len(X))
        rows = np.clip(X, -_FLOAT32, _FLOAT32).astype(np.float32)
        starts = np.cumsum(self.sizes) - self.sizes
        left = np.where(self.feature == _LEAF, 0, self._inner_before() * 2 + 1)
        _boosted_kernels.add_leaves(rows, starts, left, self.feature, self.value, self.share, total)
        return total

    def _inner_before(self) -> npt.NDArray[np.int64]:
        """Return how many inner nodes stand before each node in its own tree."""
        inner = (self.feature != _LEAF).astype(np.int64)
        before = np.cumsum(inner) - inner
        starts = np.cumsum(self.sizes) - self.sizes
        return np.asarray(before - np.repeat(before[starts] if len(self) else before, self.sizes))

    def to_arrays(self) -> Arrays:
        """Return the attributes as named arrays."""
        return {
            "sizes": self.sizes,
            "feature": self.feature,
            "value": self.value,
            "share": self.share,
            "n_features": np.array(self.n_features, dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> BoostedTrees:
        """Read the arrays back; raise :class:`InvalidArrays` unless every row ends in a leaf of each tree."""
        require_only(arrays, {"sizes", "feature", "value", "share", "n_features"})
        n_features = int(require(arrays, "n_features", kind="i", shape=(), low=1, high=2**31 - 2))
        sizes = _typed(arrays, "sizes", np.int64, (None,), low=1, high=MAX_NODES)
        if len(sizes) > MAX_TREES or sum(sizes.tolist()) > MAX_NODES:
            raise InvalidArrays(f"there are more than {MAX_TREES} trees or {MAX_NODES} nodes")
        nodes = (int(sizes.sum()),)
        feature = _typed(arrays, "feature", np.int32, nodes, low=_LEAF, high=n_features - 1)
        value = _typed(arrays, "value", np.float32, nodes)
        share = require_float64(arrays, "share", (len(sizes),), low=0, high=1)
        trees = cls(sizes, feature, value, share, n_features)
        trees._require_whole()
        return trees

    def _require_whole(self) -> None:
        """Raise unless every tree is one: each node but the root is the child of an earlier inner node."""
        if not len(self):
            return
        before = self._inner_before()
        starts = np.cumsum(self.sizes) - self.sizes
        place = np.arange(len(self.feature)) - np.repeat(starts, self.sizes)
        ends = starts + self.sizes - 1
        inner = before[ends] + (self.feature[ends] != _LEAF)
        if bool((place > 2 * before).any()) or bool((self.sizes != 2 * inner + 1).any()):
            raise InvalidArrays("the nodes do not make whole trees")


def trees_of(model: bytes, n_features: int) -> BoostedTrees:
    """Return the trees of a booster that this process has trained, from its JSON form."""
    booster = json.loads(model)["learner"]["gradient_booster"]["model"]
    return BoostedTrees.of(booster["trees"], n_features)


def _breadth_first(tree: dict[str, Any]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    left, right = tree["left_children"], tree["right_children"]
    order = [0]
    for node in order:  # grows while it is walked through
        if left[node] != _LEAF:
            order += [left[node], right[node]]
    feature = [tree["split_indices"][node] if left[node] != _LEAF else _LEAF for node in order]
    value = [tree["split_conditions"][node] for node in order]
    return np.array(feature, dtype=np.int32), np.array(value, dtype=np.float32)


def _typed(
    arrays: Arrays,
    name: str,
    dtype: type[np.generic],
    shape: tuple[int | None, ...],
    low: float | None = None,
    high: float | None = None,
) -> Array:
    kind = np.dtype(dtype).kind
    array = require(arrays, name, kind=kind, shape=shape, low=low, high=high)
    if array.dtype != dtype:
        raise InvalidArrays(f"array {name!r} is {array.dtype}, expected {np.dtype(dtype)}")
    return array
