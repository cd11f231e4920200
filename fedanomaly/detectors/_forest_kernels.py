"""Compiled loops of the isolation forest: grow trees into, and push rows through, flat heap arrays.

Imported on first use only: numba is slow to import, and a server never scores. The node format and
its validation are in :mod:`fedanomaly.detectors._trees`; nothing here checks bounds, so all that
comes in must have been validated there.

Both loops see a value only as its *code*: the order-preserving integer image of the float32, cut to
the bits that a node stores. A node holds a threshold's code with the feature in the free low bits,
so ``code(x) > node`` is exactly ``code(x) > code(threshold)``: nothing to unpack, and no row can
fall on one side of a split while the tree grows and on the other when it is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit

from fedanomaly.detectors._prefetch import LINE, prefetch

Array = Any  # numba infers the types; these annotations are for readers
Integer = Any

BLOCK = 32  # rows that walk down a tree together; their codes stay in the first-level cache
_COARSEST = 1 << 17  # a threshold keeps at least 6 bits of mantissa

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def _uniform(state: Array) -> float:
    """Uniform on [0, 1) in steps of 2**-53, by SplitMix64 (Steele, Lea and Flood 2014).

    A counter under a mixing function: integers only, hence the same numbers on every machine.
    """
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.float64((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


@_compiled
def _below(state: Array, n: Integer) -> Integer:
    """Uniform integer from 0 to n - 1; the product's rounding never reaches n."""
    return np.int64(_uniform(state) * n)


@_compiled
def _image(bits: Integer) -> Integer:
    """Order-preserving integer image of a float32's bits, and its own inverse."""
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@_compiled
def _code(bits: Integer) -> Integer:
    """Image of a value; infinities (overflow of a float64) count as the largest float32, -0.0 as 0.0.

    In 32-bit steps throughout, so that the loop over a row becomes vector instructions.
    """
    image = _image(bits)
    image = np.int32(0) if image == np.int32(-1) else image
    image = np.int32(0x7F7FFFFF) if image > np.int32(0x7F7FFFFF) else image
    return np.int32(-0x7F800000) if image < np.int32(-0x7F800000) else image


@_compiled
def to_codes(x: Array, floats: Array, code_bits: Integer) -> Integer:
    """Write the codes of ``x`` as the bits of ``floats``; return whether a value is not finite (0 or 1)."""
    bits = floats.view(np.int32)
    bad = np.int32(0)
    for i in range(len(x)):
        bad |= np.int32(x[i] - x[i] != 0)  # infinite or NaN; an or of integers becomes vector instructions
        floats[i] = x[i]
    for i in range(len(x)):
        bits[i] = _code(bits[i]) & code_bits
    return bad


def _finite_check(line: int, ahead: int) -> Callable[[Array], bool]:
    """Return what tells whether a flat array is finite, for so many values a line of memory.

    Left to itself, a core reads a quarter slower than its memory can give: lines are asked for
    ``ahead`` values before they are looked at. Both numbers are constants to the compiler.
    """
    block = 8 * line

    @_compiled
    def check(x: Array) -> bool:
        bad = np.int32(0)
        whole = max(0, len(x) - ahead) // block * block
        for start in range(0, whole, block):
            for k in range(0, block, line):
                prefetch(x, start + ahead + k)
            for k in range(block):
                bad |= np.int32(x[start + k] - x[start + k] != 0)
        for i in range(whole, len(x)):
            bad |= np.int32(x[i] - x[i] != 0)
        return bool(bad == 0)

    return cast("Callable[[Array], bool]", check)


_doubles, _singles = _finite_check(8, 1024), _finite_check(16, 4096)


def all_finite(X: Array) -> bool:
    """Return whether no value is infinite or NaN; C-contiguous, at the speed of memory."""
    return (_doubles if X.itemsize == 8 else _singles)(X.reshape(-1))


@_compiled
def _sample(state: Array, taken: Array, X: Array, rows: Array) -> None:
    """Fill ``rows`` with distinct row numbers, by Floyd's algorithm (Bentley, Floyd 1987); send for them.

    ``taken`` has a bit a row, all of them zero before and after.
    """
    values, n_features, line = X.reshape(-1), X.shape[1], LINE // X.itemsize
    n, size = len(X), len(rows)
    for i in range(size):
        last = n - size + i
        row = _below(state, last + 1)
        if (taken[row >> 6] >> np.uint64(row & 63)) & np.uint64(1):
            row = last
        taken[row >> 6] |= np.uint64(1) << np.uint64(row & 63)
        rows[i] = row
        for at in range(row * n_features, (row + 1) * n_features, line):
            prefetch(values, at)
        prefetch(values, (row + 1) * n_features - 1)
    for i in range(size):
        taken[rows[i] >> 6] = np.uint64(0)


@_compiled
def _draw_cut(state: Array, low: Integer, high: Integer, step: Integer, value: Array, bits: Array) -> Integer:
    """Draw a threshold's code from low to high - step, so that both sides of the split keep a row.

    Uniform between the two values, then rounded to a grid that is at most 1/64 as wide as they are
    apart: bits that no row tells apart would only make the tree longer on the wire. ``value`` and
    ``bits`` are room for a float32, seen as such and as an integer.
    """
    bits[0] = _image(np.int32(low))
    lowest = np.float64(value[0])
    bits[0] = _image(np.int32(high))
    value[0] = lowest + _uniform(state) * (np.float64(value[0]) - lowest)
    grid = step
    while grid < _COARSEST and (grid << 7) <= high - low:
        grid <<= 1
    return max(low, min(np.int64(_code(bits[0])) & -grid, high - step))


@_compiled
def grow(X: Array, keys: Array, psi: Integer, depth: Integer, nodes: Array, counts: Array) -> None:
    """Grow one tree a key; equal keys and rows give equal trees on every machine.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float32 or float64
        C-contiguous, no NaN.
    keys : ndarray of shape (n_trees,), uint64
        Start of each tree's random counter.
    psi : int
        Rows a tree, 1 to min(n_rows, 2**depth), drawn without replacement.
    depth : int
        Depth of the heap.
    nodes, counts : ndarrays of shapes (n_trees, 2**depth - 1) and (n_trees, 2**depth)
        Written here; they come in as :meth:`Forest.blank` makes them.
    """
    n, n_features = X.shape
    wide = nodes.itemsize == 8
    step = np.int64(1 if wide else 256)  # distance between neighbouring codes
    shift = np.int64(32 if wide else 0)
    height = 0  # ceil(log2(psi)), the height limit of Liu et al. (2008), algorithm 1
    while (1 << height) < psi:
        height += 1
    states = keys.copy()
    taken = np.zeros((n >> 6) + 1, np.uint64)
    sampled, aside = np.empty((2, psi), np.int64), np.empty(psi, np.int64)
    floats = np.empty(psi * n_features, np.float32)
    bits = floats.view(np.int32)
    codes = bits.reshape((psi, n_features))
    code_bits = np.int32(-step)
    value = np.empty(1, np.float32)
    features = np.empty(n_features, np.int64)
    stack = np.empty((depth + 1, 4), np.int64)
    _sample(states, taken, X, sampled[0])
    for tree in range(len(keys)):
        state, rows = states[tree:], sampled[tree % 2]
        if tree + 1 < len(keys):  # its rows arrive while this tree grows
            _sample(states[tree + 1 :], taken, X, sampled[(tree + 1) % 2])
        for i in range(psi):
            row = rows[i]
            for f in range(n_features):
                floats[i * n_features + f] = X[row, f]
            rows[i] = i
        for i in range(len(bits)):
            bits[i] = _code(bits[i]) & code_bits
        for f in range(n_features):
            features[f] = f
        stack[0] = (1, 0, 0, psi)  # heap number (the root is 1), level, and the rows[start:stop] there
        size = 1
        while size:
            size -= 1
            number, level, start, stop = stack[size]
            low = high = np.int64(0)
            feature = np.int64(0)
            candidates = n_features if stop - start > 1 and level < height else 0
            while candidates and low == high:  # draw features until one of them varies here
                drawn = _below(state, candidates)
                candidates -= 1
                feature = features[drawn]
                features[drawn] = features[candidates]
                features[candidates] = feature
                low = high = np.int64(codes[rows[start], feature])
                for i in range(start + 1, stop):
                    low = min(low, np.int64(codes[rows[i], feature]))
                    high = max(high, np.int64(codes[rows[i], feature]))
            if low == high:
                counts[tree, (number << (depth - level)) - (1 << depth)] = stop - start
                continue
            cut = _draw_cut(state, low, high, step, value, value.view(np.int32))
            nodes[tree, number - 1] = (cut << shift) | feature
            left, right = start, 0
            for i in range(start, stop):  # without a branch: half of all guesses would be wrong
                row = rows[i]
                beyond = codes[row, feature] > cut
                rows[left] = aside[right] = row
                left += not beyond
                right += beyond
            rows[left:stop] = aside[:right]
            stack[size] = (2 * number, level + 1, start, left)
            stack[size + 1] = (2 * number + 1, level + 1, left, stop)
            size += 2


@_compiled
def _step(block: Array, tree: Array, feature_bits: Integer, row: Integer, at: Integer) -> Integer:
    """Return where ``row`` of a block goes from place ``at`` of a tree: to the left child or the right."""
    node = tree[at]
    code = block[np.uint32(node & feature_bits) * np.uint32(BLOCK) + np.uint32(row)]
    return np.uint32(2) * at + np.uint32(1) + np.uint32(code > node)


@_compiled
def _descend(block: Array, tree: Array, depth: Integer, rows: Integer, at: Array) -> None:
    """Walk the rows of a block down one tree, without a branch, and write where each arrives.

    On the first two levels all rows meet the same three nodes: plain comparisons of neighbouring
    codes, which become vector instructions. Below, eight rows go side by side: their places stay in
    registers, and while one waits for memory the others move.
    """
    bits = tree.dtype.type(0xFFFFFFFF if tree.itemsize == 8 else 0xFF)
    at[:] = 0
    if depth > 1:
        root, left, right = tree[0], tree[1], tree[2]
        x = block[np.uint32(root & bits) * np.uint32(BLOCK) :]
        y = block[np.uint32(left & bits) * np.uint32(BLOCK) :]
        z = block[np.uint32(right & bits) * np.uint32(BLOCK) :]
        for i in range(BLOCK):
            first, if_left, if_right = np.uint32(x[i] > root), np.uint32(y[i] > left), np.uint32(z[i] > right)
            second = if_left ^ ((if_left ^ if_right) & (np.uint32(0) - first))
            at[i] = np.uint32(3) + np.uint32(2) * first + second
        levels = depth - 2
    else:
        levels = depth
    for i in range(0, rows, 8):  # a block is full but for the last one
        a, b, c, d = at[i], at[i + 1], at[i + 2], at[i + 3]
        e, f, g, h = at[i + 4], at[i + 5], at[i + 6], at[i + 7]
        for _ in range(levels):
            a = _step(block, tree, bits, i, a)
            b = _step(block, tree, bits, i + 1, b)
            c = _step(block, tree, bits, i + 2, c)
            d = _step(block, tree, bits, i + 3, d)
            e = _step(block, tree, bits, i + 4, e)
            f = _step(block, tree, bits, i + 5, f)
            g = _step(block, tree, bits, i + 6, g)
            h = _step(block, tree, bits, i + 7, h)
        at[i], at[i + 1], at[i + 2], at[i + 3] = a, b, c, d
        at[i + 4], at[i + 5], at[i + 6], at[i + 7] = e, f, g, h


@_compiled
def score(X: Array, nodes: Array, leaf_values: Array, out: Array) -> bool:
    """Write each row's mean leaf value, summed over the trees in their order, into ``out``.

    Returns whether all values of ``X`` are finite; where a row's are not, its mean means nothing.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float32 or float64
        C-contiguous.
    nodes : ndarray of shape (n_trees, 2**depth - 1), int32 or int64
        Validated, C-contiguous.
    leaf_values : ndarray of shape (n_trees, 2**depth), float32
        What a row earns at each bottom position.
    out : ndarray of shape (n_rows,), float64
    """
    n, n_features = X.shape
    n_trees, n_nodes = nodes.shape
    depth = 0
    while (1 << depth) <= n_nodes:
        depth += 1
    shift = np.int64(32 if nodes.itemsize == 8 else 0)
    code_bits = np.int32(-1 if nodes.itemsize == 8 else -256)
    values = X.reshape(-1)
    floats = np.empty(BLOCK * n_features, np.float32)
    bits = floats.view(np.int32)
    block = np.zeros(n_features * BLOCK, nodes.dtype)  # feature by feature
    at = np.empty(BLOCK, np.uint32)
    total = np.empty(BLOCK, np.float64)
    bad = np.int32(0)
    for first in range(0, n, BLOCK):
        rows = min(BLOCK, n - first)
        bad |= to_codes(values[first * n_features : (first + rows) * n_features], floats, code_bits)
        for i in range(rows):
            for f in range(n_features):
                block[f * BLOCK + i] = np.int64(bits[i * n_features + f]) << shift
        total[:] = 0.0
        for tree in range(n_trees):
            _descend(block, nodes[tree], depth, rows, at)
            earned = leaf_values[tree]
            for i in range(rows):
                total[i] += earned[at[i] - np.uint32(n_nodes)]
        for i in range(rows):
            out[first + i] = total[i] / n_trees
    return bool(bad == 0)
