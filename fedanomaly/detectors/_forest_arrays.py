"""A forest as named arrays: what messages and model files hold; checked in full before it is used.

Only what a tree has is there: which places of the heap split, the splits' features and thresholds,
and how many rows each leaf has. Places are in heap order and all trees' entries for a place stand
side by side (all roots, then all left children of a root, ...): neighbours are alike, which the
compression on the wire makes use of. Trees of 256 rows take 150 to 300 bytes each, compressed.
Leaves that were counted anew, over other rows than the trees were grown on, come with ``rows``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors._trees import MAX_DEPTH, MAX_TREES, Forest, no_split, node_dtype

NAMES = frozenset({"splits", "feature", "threshold", "leaf_rows", "psi", "depth", "n_features"})
MAX_ROWS = 2**48
Places = tuple[npt.NDArray[np.int64], ...]  # heap place and tree
_FLIP = np.int32(0x7FFFFFFF)


def forest_to_arrays(forest: Forest) -> Arrays:
    """Return a forest as named arrays.

    Returns
    -------
    dict of ndarray
        ``splits``: one bit a place of every tree's heap, packed into uint8; ``feature``, unsigned, and
        ``threshold``, float32: one a split (a row with a value up to the threshold goes left);
        ``leaf_rows``, unsigned: rows in each leaf; ``psi``, int32, shape (n_trees,): rows each tree
        was grown on; ``depth`` and ``n_features``: int64. Where ``leaf_rows`` does not add up to
        ``psi``, since other rows were counted: ``rows``, int64, what it adds up to in each tree.
    """
    splits = (forest.nodes != no_split(forest.nodes.dtype)).T
    nodes = forest.nodes.T[splits]
    wide = nodes.itemsize == 8
    image = (nodes >> 32).astype(np.int32) if wide else nodes & np.int32(-256)
    feature = nodes & nodes.dtype.type(0xFFFFFFFF if wide else 0xFF)
    counted = {} if forest.rows is None else {"rows": forest.rows.astype(np.int64)}
    return {
        "splits": np.packbits(splits),
        "feature": feature.astype(feature_dtype(forest.n_features)),
        "threshold": image_of(image).view(np.float32),
        "leaf_rows": narrow(forest.counts[leaves_of(forest)]),
        "psi": forest.psi,
        "depth": np.array(forest.depth, dtype=np.int64),
        "n_features": np.array(forest.n_features, dtype=np.int64),
        **counted,
    }


def forest_from_arrays(arrays: Mapping[str, Array], *, min_trees: int = 1) -> Forest:
    """Return the forest in ``arrays``, copied; raise :class:`InvalidArrays` unless it is whole.

    Every accepted forest scores every finite row, within [-1, 0], in time and memory that the number
    of its trees and its depth bound.
    """
    require_only(arrays, {*NAMES, "rows"})
    n_features = int(require(arrays, "n_features", kind="i", shape=(), low=1, high=2**31 - 1))
    depth = int(require(arrays, "depth", kind="i", shape=(), low=1, high=MAX_DEPTH))
    psi = require(arrays, "psi", kind="i", shape=(None,), low=1, high=2**depth).astype(np.int32)
    if not min_trees <= len(psi) <= MAX_TREES:
        raise InvalidArrays(f"there are {len(psi)} trees, expected {min_trees} to {MAX_TREES}")
    splits = _unpacked(arrays, depth, len(psi))
    n_splits = int(splits.sum())
    feature = require(arrays, "feature", kind="u", shape=(n_splits,), low=0, high=n_features - 1)
    image = _checked_image(arrays, n_splits, n_features)
    place, tree = leaf_at = where_true(leaf_places(splits))
    rows = _counted_rows(arrays, len(psi))
    least, most = (1, 2**depth) if rows is None else (0, MAX_ROWS)
    leaf_rows = require(arrays, "leaf_rows", kind="u", shape=(len(place),), low=least, high=most)
    whole, wanted = (psi, "psi") if rows is None else (rows, "rows")
    if not np.array_equal(np.bincount(tree, weights=leaf_rows, minlength=len(psi)), whole):
        raise InvalidArrays(f"array 'leaf_rows' does not add up to {wanted!r} in every tree")

    return built(where_true(splits), leaf_at, image, feature, leaf_rows, psi, depth, n_features, rows)


def built(
    split_at: Places,
    leaf_at: Places,
    image: Array,
    feature: Array,
    leaf_rows: Array,
    psi: npt.NDArray[np.int32],
    depth: int,
    n_features: int,
    rows: npt.NDArray[np.int64] | None,
) -> Forest:
    """Return the forest with these splits and leaves, each given by heap place and tree."""
    blank = Forest.blank(len(psi), 1, depth, n_features)
    counts = blank.counts if rows is None else blank.counts.astype(np.int64)
    place, tree = leaf_at
    counts[tree, _bottom(place, depth)] = leaf_rows
    dtype = node_dtype(n_features)
    cut = image.astype(dtype) << 32 if dtype is np.int64 else image
    place, tree = split_at
    blank.nodes[tree, place] = cut | feature.astype(dtype)
    return Forest(blank.nodes, counts, psi, n_features, rows)


def leaves_of(forest: Forest) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return tree and bottom position of all leaves, in the order of the array ``leaf_rows``."""
    place, tree = where_true(leaf_places((forest.nodes != no_split(forest.nodes.dtype)).T))
    return tree, _bottom(place, forest.depth)


def _counted_rows(arrays: Mapping[str, Array], n_trees: int) -> npt.NDArray[np.int64] | None:
    """Return the number of rows counted in each tree, or None where these are the trees' own."""
    if "rows" not in arrays:
        return None
    rows = require(arrays, "rows", kind="i", shape=(n_trees,), low=1, high=MAX_ROWS)
    if rows.dtype != np.int64:
        raise InvalidArrays(f"array 'rows' has dtype {rows.dtype}, expected int64")
    return rows.copy()


def _unpacked(arrays: Mapping[str, Array], depth: int, n_trees: int) -> npt.NDArray[np.bool_]:
    """Return which places split, shape (2**depth - 1, n_trees); a split stands below a split only."""
    n_nodes = 2**depth - 1
    size = n_nodes * n_trees
    packed = require(arrays, "splits", kind="u", shape=(ceil(size / 8),))
    if packed.dtype != np.uint8:
        raise InvalidArrays(f"array 'splits' has dtype {packed.dtype}, expected uint8")
    bits = np.unpackbits(packed)
    if bits[size:].any():
        raise InvalidArrays("array 'splits' has bits beyond the last place")
    splits = bits[:size].reshape(n_nodes, n_trees).astype(np.bool_)
    if (splits[1:] & ~np.repeat(splits[: n_nodes // 2], 2, axis=0)).any():
        raise InvalidArrays("array 'splits' holds a split below a node that does not split")
    return splits


def _checked_image(arrays: Mapping[str, Array], n_splits: int, n_features: int) -> npt.NDArray[np.int32]:
    """Return the integer images of the thresholds, which must be finite and as coarse as nodes are."""
    threshold = require(arrays, "threshold", kind="f", shape=(n_splits,))
    if threshold.dtype != np.float32:
        raise InvalidArrays(f"array 'threshold' has dtype {threshold.dtype}, expected float32")
    image = image_of(np.ascontiguousarray(threshold).view(np.int32))
    if node_dtype(n_features) is np.int32 and (image & 0xFF).any():
        raise InvalidArrays("array 'threshold' holds a number of more than 24 bits")
    return image


def image_of(bits: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the order-preserving integer images of float32 bits, or the bits of images."""
    return bits ^ ((bits >> np.int32(31)) & _FLIP)


def leaf_places(splits: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which places are leaves, shape (2**(depth + 1) - 1, n_trees): the heap and its bottom."""
    n_nodes, n_trees = splits.shape
    reached = np.concatenate([np.ones((1, n_trees), dtype=np.bool_), np.repeat(splits, 2, axis=0)])
    reached[:n_nodes] &= ~splits
    return reached


def where_true(places: npt.NDArray[np.bool_]) -> Places:
    """Return heap places and trees, as :func:`numpy.nonzero`, which is slow in two dimensions."""
    return np.divmod(np.flatnonzero(places), max(1, places.shape[1]))


def _bottom(place: npt.NDArray[np.int64], depth: int) -> npt.NDArray[np.int64]:
    """Return the bottom positions below which leaves at these heap places keep their rows."""
    level = np.frexp((place + 1).astype(np.float64))[1] - 1  # floor(log2(place + 1)), exactly
    return np.asarray(((place + 1) << (depth - level)) - 2**depth)


def feature_dtype(n_features: int) -> npt.DTypeLike:
    """Return the least dtype of the numbers of so many features."""
    return np.min_scalar_type(n_features - 1)


def narrow(counts: Array) -> Array:
    """Return counts as the least unsigned dtype that holds them."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))), copy=False)
