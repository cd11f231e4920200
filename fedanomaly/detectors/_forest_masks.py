"""Scores of an isolation forest, 256 rows at a time and without a branch or a gather, by AVX-512.

A tree of 256 rows that stops at depth 8 has some 40 to 60 splits of 255 possible ones. So few are
faster to ask all of, for 16 rows in an instruction, than to walk: a walk takes two dependent loads a
level and row, and a gather is no faster than as many loads. QuickScorer (Lucchese et al. 2015) is the
idea; here its bits are rows, not leaves.

For every tree and block of rows: (1) each split's answers, one bit a row; (2) from the root down,
which rows reach each child, by and; (3) each row's leaf number, one byte a row; (4) the leaves'
values, looked up in registers and added up. Trees come as a :class:`Program`, in which splits that
change no row's value are left out. A row's leaf values are added in the order of the trees, as in
:func:`fedanomaly.detectors._forest_kernels.score`, so that both give the same scores to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from fedanomaly.detectors import _vectors as v
from fedanomaly.detectors._forest_kernels import to_codes
from fedanomaly.detectors._trees import Forest, no_split

Array = Any  # numba infers the types; these annotations are for readers
Integer = Any

BLOCK = 256  # rows; their codes fit the first-level cache up to 32 features
MAX_LEAVES = 256  # a leaf's number is a byte
_WORDS = BLOCK // 64  # words of 64 rows
_SPLITS_A_LEVEL = 20  # about as many splits take as long as one step of a walk does
_TABLE = 2 * v.LANES  # leaf values in two registers

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True, eq=False)
class Program:
    """Trees as lists of splits and leaves, level by level from the root: what the kernel runs.

    Entries, splits and leaves alike, are numbered in that order; the children of split k are entries
    2 k + 1 and 2 k + 2.

    Attributes
    ----------
    starts : ndarray of shape (n_trees + 1,), int64
        Where each tree's splits start; its leaves start at ``starts[tree] + tree``.
    nodes, places : ndarrays of shape (n_splits,), int32
        Packed nodes, and each split's entry.
    leaf_places : ndarray of shape (n_leaves,), int32
        Each leaf's entry.
    leaf_values : ndarray of shape (n_leaves + 32,), float32
        What a row earns there, and room behind the last table.
    """

    starts: npt.NDArray[np.int64]
    nodes: npt.NDArray[np.int32]
    places: npt.NDArray[np.int32]
    leaf_places: npt.NDArray[np.int32]
    leaf_values: npt.NDArray[np.float32]


def program(forest: Forest) -> Program | None:
    """Return a forest's program, or None if walking its trees is faster or all that is possible."""
    n_trees, n_nodes = forest.nodes.shape
    if forest.nodes.itemsize != 4:
        return None
    most = min(n_nodes, MAX_LEAVES - 1)
    made = Program(
        np.zeros(n_trees + 1, np.int64),
        np.empty(n_trees * most, np.int32),
        np.empty(n_trees * most, np.int32),
        np.empty(n_trees * (most + 1), np.int32),
        np.zeros(n_trees * (most + 1) + _TABLE, np.float32),
    )
    limit = n_trees * min(most, _SPLITS_A_LEVEL * forest.depth)
    used = _translate(
        forest.nodes,
        forest.leaf_values,
        np.int32(no_split(np.int32)),
        limit,
        made.starts,
        made.nodes,
        made.places,
        made.leaf_places,
        made.leaf_values,
    )
    if used < 0:
        return None
    leaves = used + n_trees
    return Program(
        made.starts,
        made.nodes[:used].copy(),
        made.places[:used].copy(),
        made.leaf_places[:leaves].copy(),
        made.leaf_values[: leaves + _TABLE].copy(),
    )


@_compiled
def _translate(
    trees: Array,
    values: Array,
    no_split: Integer,
    limit: Integer,
    starts: Array,
    nodes: Array,
    places: Array,
    leaf_places: Array,
    leaf_values: Array,
) -> Integer:
    """Fill a program; return its number of splits, or -1 if they or a tree's leaves are too many."""
    n_trees, n_nodes = trees.shape
    ends = np.empty(2 * n_nodes + 1, np.int32)  # of each place: where what stands for it is
    entries = np.empty(2 * MAX_LEAVES - 1, np.int32)
    n_splits = 0
    for tree in range(n_trees):
        for at in range(2 * n_nodes, -1, -1):
            if at >= n_nodes:
                ends[at] = at
            else:
                left, right = ends[2 * at + 1], ends[2 * at + 2]
                alike = (
                    left >= n_nodes
                    and right >= n_nodes
                    and values[tree, left - n_nodes] == values[tree, right - n_nodes]
                )
                ends[at] = left if alike or trees[tree, at] == no_split else at
        leaf = n_splits + tree
        entries[0] = ends[0]
        read, written = 0, 1
        while read < written:
            at = entries[read]
            if at >= n_nodes:
                leaf_places[leaf] = read
                leaf_values[leaf] = values[tree, at - n_nodes]
                leaf += 1
            elif written + 2 > len(entries) or n_splits == limit:
                return -1
            else:
                nodes[n_splits] = trees[tree, at]
                places[n_splits] = read
                n_splits += 1
                entries[written], entries[written + 1] = ends[2 * at + 1], ends[2 * at + 2]
                written += 2
            read += 1
        starts[tree + 1] = n_splits
    return n_splits


@_compiled
def _on_a_cache_line(size: Integer) -> Array:
    """Return an int32 array that no register's load from a multiple of 16 straddles."""
    room = np.zeros(size + v.LANES, np.int32)
    start = (-(room.ctypes.data >> 2)) & (v.LANES - 1)
    return room[start : start + size]


@_compiled
def _fill(x: Array, rows: Integer, n_features: Integer, row_codes: Array, codes: Array) -> Integer:
    """Write the codes of up to 256 rows feature by feature; return whether a value is not finite."""
    bad = np.int32(0)
    bits = row_codes.view(np.int32)
    for first in range(0, rows, v.LANES):
        size = min(v.LANES, rows - first) * n_features
        bad |= to_codes(x[first * n_features : first * n_features + size], row_codes, np.int32(-256))
        for feature in range(0, n_features, v.LANES):
            v.transpose(bits, feature, n_features, codes, feature * BLOCK + first, BLOCK)
    return bad


@_compiled
def _answer(codes: Array, nodes: Array, answers: Array) -> None:
    """Write, 16 bits at a time, which rows go to the right at each split."""
    for k in range(len(nodes)):
        node = v.splat_int(nodes[k])
        at = np.int64(nodes[k] & np.int32(0xFF)) * BLOCK
        for i in range(BLOCK // v.LANES):
            answer = v.greater(v.load_ints(codes, at + i * v.LANES), node)
            answers[k * (BLOCK // v.LANES) + i] = answer


@_compiled
def _descend(answers: Array, places: Array, reached: Array) -> None:
    """Write which rows reach each entry; all of them reach the root."""
    for k in range(len(places)):
        here = v.load_words(reached, np.int64(places[k]) * _WORDS)
        right = v.load_words(answers, k * _WORDS)
        v.store(reached, (2 * k + 1) * _WORDS, v.without(here, right))
        v.store(reached, (2 * k + 2) * _WORDS, v.both(here, right))


@_compiled
def _number(reached: Array, leaf_places: Array, numbers: Array) -> None:
    """Write the number of the leaf that each row reaches."""
    a = b = c = d = v.splat_byte(np.uint8(0))
    for leaf in range(1, len(leaf_places)):
        at = np.int64(leaf_places[leaf]) * _WORDS
        number = v.splat_byte(np.uint8(leaf))
        a = v.choose(reached[at], number, a)
        b = v.choose(reached[at + 1], number, b)
        c = v.choose(reached[at + 2], number, c)
        d = v.choose(reached[at + 3], number, d)
    v.store(numbers, 0, a)
    v.store(numbers, 64, b)
    v.store(numbers, 128, c)
    v.store(numbers, 192, d)


@_compiled
def _earn(numbers: Array, leaf_values: Array, n_leaves: Integer, earned: Array) -> None:
    """Write the value of each row's leaf."""
    for table in range((n_leaves + _TABLE - 1) // _TABLE):
        low = v.load_floats(leaf_values, table * _TABLE)
        high = v.load_floats(leaf_values, table * _TABLE + v.LANES)
        this = v.splat_int(np.int32(table))
        for i in range(0, BLOCK, v.LANES):
            number = v.widen(v.load_bytes(numbers, i))
            found = v.look_up(low, number, high)
            v.store(earned, i, v.choose(v.equal(v.table_of(number), this), found, v.load_floats(earned, i)))


@_compiled
def score(
    X: Array,
    starts: Array,
    nodes: Array,
    places: Array,
    leaf_places: Array,
    leaf_values: Array,
    out: Array,
) -> bool:
    """Write each row's mean leaf value into ``out``; return whether all values of ``X`` are finite.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float32 or float64
        C-contiguous.
    starts, nodes, places, leaf_places, leaf_values : ndarrays
        A :class:`Program` over at most 256 features.
    out : ndarray of shape (n_rows,), float64
    """
    n, n_features = X.shape
    n_trees = len(starts) - 1
    values = X.reshape(-1)
    row_codes = np.zeros((n_features + 1) * v.LANES, np.float32)  # with room for the last transposed tile
    codes = _on_a_cache_line((n_features + v.LANES - 1) // v.LANES * v.LANES * BLOCK)
    answers = np.zeros((MAX_LEAVES - 1) * _WORDS, np.uint64)
    reached = np.zeros((2 * MAX_LEAVES - 1) * _WORDS, np.uint64)
    reached[:_WORDS] = ~np.uint64(0)
    numbers = np.zeros(BLOCK, np.uint8)
    earned = np.zeros(BLOCK, np.float32)
    total = np.empty(BLOCK, np.float64)
    bad = np.int32(0)
    for first in range(0, n, BLOCK):
        rows = min(BLOCK, n - first)
        bad |= _fill(values[first * n_features :], rows, n_features, row_codes, codes)
        total[:] = 0.0
        for tree in range(n_trees):
            start, stop = starts[tree], starts[tree + 1]
            _answer(codes, nodes[start:stop], answers.view(np.uint16))
            _descend(answers, places[start:stop], reached)
            _number(reached, leaf_places[start + tree : stop + tree + 1], numbers)
            _earn(numbers, leaf_values[start + tree :], stop - start + 1, earned)
            for i in range(BLOCK):
                total[i] += earned[i]
        for i in range(rows):
            out[first + i] = total[i] / n_trees
    return bool(bad == 0)
