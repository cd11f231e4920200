"""Trees of many clients read as one forest: what a thousand small answers cost in a few operations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Column, Columns, Lengths
from fedanomaly.core.arrays import Array, Arrays, within
from fedanomaly.detectors._forest_arrays import (
    Places,
    built,
    feature_dtype,
    image_of,
    leaf_places,
    narrow,
    where_true,
)
from fedanomaly.detectors._trees import MAX_DEPTH, Forest, node_dtype

_MOST_PLACES = 1 << 20  # some 50 MB meanwhile; larger forests gain nothing and are read one by one
_LISTS = ("psi", "feature", "threshold", "leaf_rows")
_FORMS = (  # name, kind and dimensions
    *(("splits", "u", 1), ("feature", "u", 1), ("threshold", "f", 1), ("leaf_rows", "u", 1)),
    *(("psi", "i", 1), ("depth", "i", 0), ("n_features", "i", 0)),
)


class _Layout(NamedTuple):
    """Where everything of many forests, part after part, lies in one forest."""

    depth: int
    n_features: int
    psi: npt.NDArray[np.int32]
    splits: npt.NDArray[np.bool_]  # shape (places, all trees)
    split_at: Places  # in the order of the parts' arrays
    split_order: npt.NDArray[np.intp]  # where each split of the parts stands among all, in heap order
    leaf_at: Places
    leaf_order: npt.NDArray[np.intp]


def joined_forest(parts: Columns) -> Forest | None:
    """Return the trees of many forests, part after part; None unless all are alike, whole and not too many.

    A few operations, however many parts, for what :func:`forest_from_arrays` does one by one and
    :meth:`Forest.join` puts together. None says nothing; parts with ``rows`` are left to these too.
    """
    if (at := _layout(parts)) is None or not within(at.psi, 1, 2**at.depth):
        return None
    feature, threshold, leaf_rows = (parts[name].values for name in _LISTS[1:])
    image = image_of(threshold.view(np.int32))
    coarse = node_dtype(at.n_features) is np.int64 or not (image & 0xFF).any()
    if not (coarse and np.isfinite(threshold).all() and within(feature, 0, at.n_features - 1)):
        return None
    summed = np.bincount(at.leaf_at[1], weights=leaf_rows, minlength=len(at.psi))
    if not within(leaf_rows, 1, 2**at.depth) or not np.array_equal(summed, at.psi):
        return None
    return built(at.split_at, at.leaf_at, image, feature, leaf_rows, at.psi, at.depth, at.n_features, None)


def joined_arrays(parts: Columns) -> Arrays | None:
    """Return the arrays of the forest that is many sound forests, part after part; None as above.

    Those of :func:`forest_to_arrays`, without a forest in between.
    """
    if (at := _layout(parts)) is None:
        return None
    feature, threshold, leaf_rows = (parts[name].values for name in _LISTS[1:])
    return {
        "splits": np.packbits(at.splits),
        "feature": _placed(feature, at.split_order).astype(feature_dtype(at.n_features), copy=False),
        "threshold": _placed(threshold, at.split_order),
        "leaf_rows": narrow(_placed(leaf_rows, at.leaf_order)),
        "psi": at.psi,
        "depth": np.array(at.depth, dtype=np.int64),
        "n_features": np.array(at.n_features, dtype=np.int64),
    }


def _layout(parts: Columns) -> _Layout | None:
    if not _have_form(parts):
        return None
    depths, widths = parts["depth"].values, parts["n_features"].values
    depth, n_features = int(depths[0]), int(widths[0])
    if (depths != depth).any() or (widths != n_features).any():
        return None
    if not (1 <= depth <= MAX_DEPTH and 1 <= n_features < 2**31):
        return None
    psi = parts["psi"].values
    if len(psi) << depth > _MOST_PLACES or not within(psi, 1, 2**31 - 1):
        return None
    sizes = np.stack([_lengths(parts[name]) for name in _LISTS], axis=1)
    few = len(sizes) < 2**16
    owner = np.repeat(np.arange(len(sizes), dtype=np.uint16 if few else np.int64), sizes[:, 0])
    splits = _unpacked_parts(parts["splits"], sizes[:, 0], owner, 2**depth - 1)
    if splits is None or (splits[1:] & ~np.repeat(splits[: len(splits) // 2], 2, axis=0)).any():
        return None
    n_splits = np.bincount(owner, splits.sum(axis=0), len(sizes))
    if (sizes[:, 1:] != np.stack([n_splits, n_splits, n_splits + sizes[:, 0]], axis=1)).any():
        return None
    split_at, split_order = _by_owner(splits, owner)
    leaf_at, leaf_order = _by_owner(leaf_places(splits), owner)
    psi = psi.astype(np.int32, copy=False)
    return _Layout(depth, n_features, psi, splits, split_at, split_order, leaf_at, leaf_order)


def _have_form(parts: Columns) -> bool:
    """Return whether the forests' arrays have the right names, kinds and dimensions."""
    for name, kind, ndim in _FORMS:
        column = parts.get(name)
        if column is None or column.values.dtype.kind != kind or column.values.ndim != 1:
            return False
        if (column.lengths is None) != (ndim == 0):
            return False
    exact = parts["threshold"].values.dtype == np.float32 and parts["splits"].values.dtype == np.uint8
    return exact and len(parts) == len(_FORMS)


def _lengths(column: Column) -> Lengths:
    assert column.lengths is not None  # by its form
    return column.lengths


def _unpacked_parts(
    packed: Column, n_trees: Array, owner: Array, n_nodes: int
) -> npt.NDArray[np.bool_] | None:
    """Return which places split, shape (n_nodes, all trees); None if a part has other bits than these."""
    n_bytes = _lengths(packed)
    if (n_bytes != (n_nodes * n_trees + 7) // 8).any():
        return None
    splits = np.empty((n_nodes, len(owner)), dtype=np.bool_)
    starts, of_tree = np.cumsum(n_bytes) - n_bytes, n_trees[owner]
    for number in np.unique(n_trees).tolist():  # parts with as many trees are unpacked at once
        parts = starts[n_trees == number]
        each = packed.values[parts[:, None] + np.arange((n_nodes * number + 7) // 8)]
        bits = np.unpackbits(each, axis=1).view(np.bool_)
        if bits[:, n_nodes * number :].any():
            return None
        beside = bits[:, : n_nodes * number].reshape(len(parts), n_nodes, number).swapaxes(0, 1)
        splits[:, of_tree == number] = beside.reshape(n_nodes, -1)
    return splits


def _by_owner(places: npt.NDArray[np.bool_], owner: Array) -> tuple[Places, npt.NDArray[np.intp]]:
    """Return heap places and trees, part by part, then in heap order; and where these are in heap order."""
    place, tree = where_true(places)
    order = np.argsort(owner[tree], kind="stable")
    return (place[order], tree[order]), order


def _placed(values: Array, order: npt.NDArray[np.intp]) -> Array:
    placed = np.empty_like(values)
    placed[order] = values
    return placed
