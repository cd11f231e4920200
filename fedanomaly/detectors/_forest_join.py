"""Trees of many clients read as one forest: what a thousand small answers cost in a few operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.batches import within
from fedanomaly.detectors._forest_arrays import Places, built, image_of, leaf_places
from fedanomaly.detectors._trees import MAX_DEPTH, Forest, node_dtype

_MOST_PLACES = 1 << 20  # some 50 MB meanwhile; larger forests gain nothing and are read one by one
_LISTS = ("psi", "feature", "threshold", "leaf_rows")
_FORMS = (  # name, kind and dimensions
    *(("splits", "u", 1), ("feature", "u", 1), ("threshold", "f", 1), ("leaf_rows", "u", 1)),
    *(("psi", "i", 1), ("depth", "i", 0), ("n_features", "i", 0)),
)


def joined_forest(parts: Sequence[Mapping[str, Array]]) -> Forest | None:
    """Return the trees of many forests, part after part; None unless all are alike, whole and not too many.

    A few operations, however many parts, for what :func:`forest_from_arrays` does one by one and
    :meth:`Forest.join` puts together. None says nothing; parts with ``rows`` are left to these too.
    """
    if not parts or not all(_has_form(part) for part in parts):
        return None
    depth, n_features = int(parts[0]["depth"]), int(parts[0]["n_features"])
    heads = [(int(part["depth"]), int(part["n_features"])) for part in parts]
    if set(heads) != {(depth, n_features)} or not (1 <= depth <= MAX_DEPTH and 1 <= n_features < 2**31):
        return None
    psi, feature, threshold, leaf_rows = (
        np.concatenate([part[name] for part in parts])
        for name in ("psi", "feature", "threshold", "leaf_rows")
    )
    if len(psi) << depth > _MOST_PLACES or not within(psi, 1, 2**depth):
        return None
    sizes = np.array([[len(part[name]) for name in _LISTS] for part in parts])
    owner = np.repeat(np.arange(len(parts)), sizes[:, 0])  # of each tree: its part
    splits = _unpacked_parts(parts, sizes[:, 0], owner, 2**depth - 1)
    if splits is None or (splits[1:] & ~np.repeat(splits[: len(splits) // 2], 2, axis=0)).any():
        return None
    n_splits = np.bincount(owner, splits.sum(axis=0), len(parts))
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


def _has_form(part: Mapping[str, Array]) -> bool:
    """Return whether a forest's arrays have the right names, kinds and dimensions."""
    for name, kind, ndim in _FORMS:
        array = part.get(name)
        if type(array) is not np.ndarray or array.dtype.kind != kind or array.ndim != ndim:
            return False
    exact = part["threshold"].dtype == np.float32 and part["splits"].dtype == np.uint8
    return exact and len(part) == len(_FORMS)


def _unpacked_parts(
    parts: Sequence[Mapping[str, Array]], n_trees: Array, owner: Array, n_nodes: int
) -> npt.NDArray[np.bool_] | None:
    """Return which places split, shape (n_nodes, all trees); None if a part has other bits than these."""
    n_bytes = np.array([len(part["splits"]) for part in parts])
    if (n_bytes != (n_nodes * n_trees + 7) // 8).any():
        return None
    bits = np.unpackbits(np.concatenate([part["splits"] for part in parts])).view(np.bool_)
    tree = np.arange(len(owner)) - (np.cumsum(n_trees) - n_trees)[owner]  # its number in its part
    root = 8 * (np.cumsum(n_bytes) - n_bytes)[owner] + tree
    splits: npt.NDArray[np.bool_] = bits[root + np.arange(n_nodes)[:, None] * n_trees[owner]]
    return splits if np.count_nonzero(splits) == np.count_nonzero(bits) else None


def _by_owner(places: Places, owner: Array) -> Places:
    """Return heap places in the order of the joined arrays: part by part, then as :func:`np.nonzero`."""
    order = np.argsort(owner[places[1]], kind="stable")
    return places[0][order], places[1][order]
