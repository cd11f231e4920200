"""Trees of many clients read as one forest: what a thousand small answers cost in a few operations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Column, Columns, Lengths
from fedanomaly.core.arrays import Array, within
from fedanomaly.detectors._forest_arrays import Places, built, image_of, leaf_places
from fedanomaly.detectors._trees import MAX_DEPTH, Forest, node_dtype

_MOST_PLACES = 1 << 20  # some 50 MB meanwhile; larger forests gain nothing and are read one by one
_LISTS = ("psi", "feature", "threshold", "leaf_rows")
_FORMS = (  # name, kind and dimensions
    *(("splits", "u", 1), ("feature", "u", 1), ("threshold", "f", 1), ("leaf_rows", "u", 1)),
    *(("psi", "i", 1), ("depth", "i", 0), ("n_features", "i", 0)),
)


def joined_forest(parts: Columns) -> Forest | None:
    """Return the trees of many forests, part after part; None unless all are alike, whole and not too many.

    A few operations, however many parts, for what :func:`forest_from_arrays` does one by one and
    :meth:`Forest.join` puts together. None says nothing; parts with ``rows`` are left to these too.
    """
    if not _have_form(parts):
        return None
    depths, widths = parts["depth"].values, parts["n_features"].values
    depth, n_features = int(depths[0]), int(widths[0])
    if (depths != depth).any() or (widths != n_features).any():
        return None
    if not (1 <= depth <= MAX_DEPTH and 1 <= n_features < 2**31):
        return None
    psi, feature, threshold, leaf_rows = (parts[name].values for name in _LISTS)
    if len(psi) << depth > _MOST_PLACES or not within(psi, 1, 2**depth):
        return None
    sizes = np.stack([_lengths(parts[name]) for name in _LISTS], axis=1)
    owner = np.repeat(np.arange(len(sizes)), sizes[:, 0])  # of each tree: its part
    splits = _unpacked_parts(parts["splits"], sizes[:, 0], owner, 2**depth - 1)
    if splits is None or (splits[1:] & ~np.repeat(splits[: len(splits) // 2], 2, axis=0)).any():
        return None
    n_splits = np.bincount(owner, splits.sum(axis=0), len(sizes))
    if (sizes[:, 1:] != np.stack([n_splits, n_splits, n_splits + sizes[:, 0]], axis=1)).any():
        return None
    image = image_of(threshold.view(np.int32))
    coarse = node_dtype(n_features) is np.int64 or not (image & 0xFF).any()
    if not (coarse and np.isfinite(threshold).all() and within(feature, 0, n_features - 1)):
        return None
    split_at, leaf_at = (_by_owner(np.nonzero(places), owner) for places in (splits, leaf_places(splits)))
    summed = np.bincount(leaf_at[1], weights=leaf_rows, minlength=len(psi))
    if not within(leaf_rows, 1, 2**depth) or not np.array_equal(summed, psi):
        return None
    psi = psi.astype(np.int32, copy=False)
    return built(split_at, leaf_at, image, feature, leaf_rows, psi, depth, n_features, None)


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
    bits = np.unpackbits(packed.values).view(np.bool_)
    tree = np.arange(len(owner)) - (np.cumsum(n_trees) - n_trees)[owner]  # its number in its part
    root = 8 * (np.cumsum(n_bytes) - n_bytes)[owner] + tree
    splits: npt.NDArray[np.bool_] = bits[root + np.arange(n_nodes)[:, None] * n_trees[owner]]
    return splits if np.count_nonzero(splits) == np.count_nonzero(bits) else None


def _by_owner(places: Places, owner: Array) -> Places:
    """Return heap places in the order of the joined arrays: part by part, then as :func:`np.nonzero`."""
    order = np.argsort(owner[places[1]], kind="stable")
    return places[0][order], places[1][order]
