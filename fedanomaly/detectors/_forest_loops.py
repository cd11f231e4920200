"""Compiled loops of forests that clients grow together: row hashes, shared draws, who goes where.

Imported on first use only, as numba is slow to import; nothing here checks bounds. Random numbers are
64-bit hashes of (key, counter) by SplitMix64 (Steele, Lea and Flood 2014): integers, hence the same on
every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any  # numba infers the types; these annotations are for readers
Integer = Any

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def mix(z: Integer) -> Integer:
    """Return a well-mixed 64-bit number; different numbers stay different."""
    z = np.uint64(z) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@_compiled
def _draw(row: Integer, key: Integer, copy: Integer) -> Integer:
    """Return the place in a tree's order of a row's ``copy``-th copy, the first being 1."""
    return mix(mix(row ^ key) + np.uint64(copy))


@_compiled
def hash_rows(codes: Array, key: Integer, out: Array) -> None:
    """Write the keyed hash of each row of codes (n_rows, n_features), int32, into ``out``, uint64."""
    n, n_features = codes.shape
    for i in range(n):
        z = np.uint64(key)
        for f in range(n_features):
            z = mix(z ^ np.uint64(np.uint32(codes[i, f])))
        out[i] = z


@_compiled
def _larger(array: Array) -> Array:
    """Return ``array`` with room for twice as many rows."""
    larger = np.empty((2 * len(array), array.shape[1]), array.dtype)
    larger[: len(array)] = array
    return larger


@_compiled
def may_be_drawn(rows: Array, most: Array, keys: Array, cut: Integer) -> Array:
    """Return (tree, index into ``rows``) of the rows of which some copy may come before ``cut``.

    Parameters
    ----------
    rows : ndarray of uint64
        Hashes of distinct rows.
    most : ndarray of int64
        Most copies of each that there can be.
    keys : ndarray of uint64
        One a tree.
    cut : uint64
        Inclusive.
    """
    found = np.empty((256, 2), np.int64)
    size = 0
    for tree in range(len(keys)):
        for i in range(len(rows)):
            for copy in range(1, most[i] + 1):
                if _draw(rows[i], keys[tree], copy) <= cut:
                    if size == len(found):
                        found = _larger(found)
                    found[size, 0] = tree
                    found[size, 1] = i
                    size += 1
                    break
    return found[:size]


@_compiled
def places(rows: Array, copies: Array, key: Integer, cut: Integer) -> Array:
    """Return (place in the tree's order, index into ``rows``) of every copy up to ``cut``, uint64."""
    found = np.empty((256, 2), np.uint64)
    size = 0
    for i in range(len(rows)):
        for copy in range(1, copies[i] + 1):
            place = _draw(rows[i], key, copy)
            if place <= cut:
                if size == len(found):
                    found = _larger(found)
                found[size, 0] = place
                found[size, 1] = i
                size += 1
    return found[:size]


@_compiled
def drawn(rows: Array, copies: Array, keys: Array, cuts: Array) -> Array:
    """Return (tree, index into ``rows``, number of copies up to the tree's cut) where there are any."""
    found = np.empty((256, 3), np.int64)
    size = 0
    for tree in range(len(keys)):
        for i in range(len(rows)):
            number = 0
            for copy in range(1, copies[i] + 1):
                number += _draw(rows[i], keys[tree], copy) <= cuts[tree]
            if number:
                if size == len(found):
                    found = _larger(found)
                found[size, 0] = tree
                found[size, 1] = i
                found[size, 2] = number
                size += 1
    return found[:size]


@_compiled
def node_seeds(keys: Array, trees: Array, places: Array, purpose: Integer) -> Array:
    """Return a random number for each node (tree, heap place): a function of the tree's key and the place."""
    seeds = np.empty(len(trees), np.uint64)
    for i in range(len(trees)):
        seeds[i] = mix(mix(keys[trees[i]] + np.uint64(purpose)) ^ np.uint64(places[i]))
    return seeds


@_compiled
def candidates(seeds: Array, asked: Array, choice: Array, out: Array) -> None:
    """Draw ``asked[i]`` of the features in ``choice`` for node i, without replacement, one after another.

    Parameters
    ----------
    seeds : ndarray of uint64
        One a node.
    asked : ndarray of int64
        At most ``len(choice)`` each.
    choice : ndarray of int64
        Features to draw from; put back in order.
    out : ndarray of int64
        Features of all nodes, one node after another.
    """
    end = 0
    for node in range(len(seeds)):
        for i in range(asked[node]):  # Fisher and Yates' shuffle, as far as it is needed
            left = len(choice) - i
            j = i + np.int64(mix(seeds[node] + np.uint64(i)) % np.uint64(left))
            choice[i], choice[j] = choice[j], choice[i]
            out[end] = choice[i]
            end += 1
        for i in range(asked[node] - 1, -1, -1):
            left = len(choice) - i
            j = i + np.int64(mix(seeds[node] + np.uint64(i)) % np.uint64(left))
            choice[i], choice[j] = choice[j], choice[i]


@_compiled
def observe(
    codes: Array,
    sample: Array,
    nodes: Array,
    where: Array,
    starts: Array,
    features: Array,
    count: Array,
    low: Array,
    high: Array,
) -> None:
    """Send sampled rows down their trees and note, at open nodes, how many come and what they hold.

    Parameters
    ----------
    codes : ndarray of shape (n_rows, n_features), int32
        Rows.
    sample : ndarray of shape (n, 3), int64
        Tree, row, and how often the tree has it.
    nodes : ndarray of shape (n_trees, 2**depth - 1), int32 or int64
        Packed nodes so far.
    where : ndarray of shape (n_trees + 1, 2**(depth + 1)), int32
        Number of the open node at each heap place (the root is 1), -1 where none is open; the last
        line's place 0: of the node that every sampled row passes.
    starts, features : ndarrays of int64
        What to look at in open node i: ``features[starts[i]:starts[i + 1]]``.
    count, low, high : ndarrays
        Written here: rows a node, smallest and largest code a feature to look at.
    """
    n_trees, n_nodes = nodes.shape
    wide = nodes.itemsize == 8
    bits = np.int64(0xFFFFFFFF if wide else 0xFF)
    shift = np.int64(32 if wide else 0)
    none = np.int64(0x7F800000) << shift
    every = where[n_trees, 0]
    for s in range(len(sample)):
        tree, row, times = sample[s]
        at: Integer = 1
        while at <= n_nodes:
            node = np.int64(nodes[tree, at - 1])
            if node == none:
                break
            at = 2 * at + ((np.int64(codes[row, node & bits]) << shift) > node)
        for target in (where[tree, at], every):
            if target < 0:
                continue
            count[target] += times
            for k in range(starts[target], starts[target + 1]):
                code = codes[row, features[k]]
                low[k] = min(low[k], code)
                high[k] = max(high[k], code)
