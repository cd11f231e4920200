"""Compiled loops of trees that no row has shaped: grow them in a box, count the rows in any tree's leaves.

Imported on first use only, as numba is slow to import; nothing here checks bounds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from fedanomaly.detectors._forest_loops import mix

Array = Any  # numba infers the types; these annotations are for readers
Integer = Any
Real = Any

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def count_leaves(codes: Array, nodes: Array, out: Array) -> None:
    """Add every row to the bottom position it reaches in each tree; ``out`` is (n_trees, 2**depth), int64."""
    n_trees, n_nodes = nodes.shape
    wide = nodes.itemsize == 8
    bits = np.int64(0xFFFFFFFF if wide else 0xFF)
    shift = np.int64(32 if wide else 0)
    for tree in range(n_trees):
        for row in range(len(codes)):
            at: Integer = 0
            while at < n_nodes:
                node = np.int64(nodes[tree, at])
                at = 2 * at + 1 + ((np.int64(codes[row, node & bits]) << shift) > node)
            out[tree, at - n_nodes] += 1


@_compiled
def _warped(value: Real, floats: Array, bits: Array) -> Real:
    """Return the inverse hyperbolic sine of a number in octaves, straight between whole octaves.

    Like asinh it is odd, linear near zero and logarithmic far from it; unlike a library's logarithm it
    is the same to the last bit on every machine. ``floats`` is room for a number, ``bits`` the same.
    """
    size = abs(value)
    floats[0] = size + np.sqrt(size * size + 1.0)
    octaves = np.float64(bits[0] - 0x3FF0000000000000) * 2.0**-52
    return octaves if value >= 0 else -octaves


@_compiled
def _unwarped(octaves: Real, floats: Array, bits: Array) -> Real:
    """Return the number whose :func:`_warped` value is ``octaves``."""
    bits[0] = np.int64(abs(octaves) * 2.0**52) + 0x3FF0000000000000
    size = 0.5 * (floats[0] - 1.0 / floats[0])
    return size if octaves >= 0 else -size


@_compiled
def _image(bits: Integer) -> Integer:
    """Return the order-preserving integer image of a float32's bits, or the bits of an image."""
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@_compiled
def box_trees(keys: Array, low: Array, high: Array, center: Array, width: Array, nodes: Array) -> None:
    """Grow trees in a box, without rows: a random feature of those the box is wide in, cut at random.

    Parameters
    ----------
    keys : ndarray of shape (n_trees,), uint64
        Random numbers.
    low, high : ndarrays of shape (n_features,), int64
        Codes of the box's corners.
    center, width : ndarrays of shape (n_features,), float64
        Cuts are uniform in the inverse hyperbolic sine of (value - center) / width; in the value itself
        where ``width`` is 0.
    nodes : ndarray of shape (n_trees, 2**depth - 1), int32 or int64
        Written here; comes in without a split.
    """
    n_nodes = nodes.shape[1]
    wide = nodes.itemsize == 8
    step = np.int64(1 if wide else 256)
    shift = np.int64(32 if wide else 0)
    none = np.int64(0x7F800000) << shift
    bits = np.int64(0xFFFFFFFF if wide else 0xFF)
    floats, short = np.empty(1, np.float64), np.empty(1, np.float32)
    long_bits, short_bits = floats.view(np.int64), short.view(np.int32)
    features = np.flatnonzero(low < high)
    for tree in range(len(keys)):
        for place in range(1, n_nodes + 1):
            if place > 1 and np.int64(nodes[tree, (place >> 1) - 1]) == none:
                continue
            state = mix(keys[tree] ^ mix(np.uint64(place)))
            left = len(features)
            while left:
                state = mix(state)
                i = np.int64(state % np.uint64(left))
                left -= 1
                feature = features[i]
                features[i] = features[left]
                features[left] = feature
                lowest, highest = low[feature], high[feature]
                at = place
                while at > 1:  # what the splits above have left of the feature's range
                    above = np.int64(nodes[tree, (at >> 1) - 1])
                    if (above & bits) == feature:
                        cut = (above & ~bits) >> shift
                        if at & 1:
                            lowest = max(lowest, cut + step)
                        else:
                            highest = min(highest, cut)
                    at >>= 1
                if lowest >= highest:
                    continue
                short_bits[0] = _image(np.int32(lowest))
                a: Real = np.float64(short[0])
                short_bits[0] = _image(np.int32(highest))
                b: Real = np.float64(short[0])
                uniform = np.float64(mix(state) >> np.uint64(11)) * 2.0**-53
                c, w = center[feature], width[feature]
                if w > 0.0:
                    a = _warped((a - c) / w, floats, long_bits)
                    b = _warped((b - c) / w, floats, long_bits)
                    short[0] = c + w * _unwarped(a + uniform * (b - a), floats, long_bits)
                else:
                    short[0] = a + uniform * (b - a)
                cut = np.int64(_image(short_bits[0])) & -step
                cut = max(lowest, min(cut, highest - step))
                nodes[tree, place - 1] = (cut << shift) | feature
                break
        features.sort()
