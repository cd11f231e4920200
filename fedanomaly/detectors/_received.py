"""Checks of received arrays that several detectors share."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Array, Arrays, require, within
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.detectors.base import rows_of

LARGE = 1e30
"""Default bound: sums, squares and quotients of a few values below it stay finite in float64."""


def require_float64(
    arrays: Arrays, name: str, shape: tuple[int | None, ...], low: float = -LARGE, high: float = LARGE
) -> Array:
    """Return ``arrays[name]``; raise :class:`InvalidArrays` unless it is float64, so shaped and in range."""
    array = arrays.get(name)
    if array is not None and array.dtype.kind == "f" and array.dtype != np.float64:
        raise InvalidArrays(f"array {name!r} is {array.dtype}, expected float64")
    return require(arrays, name, kind="f", shape=shape, low=low, high=high)


def most_rows(state: Arrays, turn: Turn) -> int:
    """Return how many rows a client may have trained on: twice what it declared.

    Balancing of the training fold (SMOTE) comes after the declaration and at most doubles the rows.
    """
    return 2 * int(rows_of(state)[turn.client])


def require_count(state: Arrays, arrays: Arrays, turn: Turn) -> int:
    """Return ``count`` (1,), int64: from 1 to :func:`most_rows`, which bounds a client's weight."""
    count = require(arrays, "count", kind="i", shape=(1,), low=1, high=most_rows(state, turn))
    if count.dtype != np.int64:
        raise InvalidArrays(f"array 'count' is {count.dtype}, expected int64")
    return int(count[0])


def counts_are_sound(state: Arrays, counts: Array, answers: Answers) -> bool:
    """Return whether :func:`require_count` would accept every one of ``counts``, stacked int64 arrays."""
    return counts.shape[1:] == (1,) and within(counts, 1, _most_rows_of_each(state, answers))


def all_equal_rows(state: Arrays, counted: Array, answers: Answers) -> bool:
    """Return whether all columns of a client's row of ``counted`` are one number, from 1 to its most rows."""
    rows = counted[:, :1]
    return bool((counted == rows).all()) and within(rows, 1, _most_rows_of_each(state, answers))


def _most_rows_of_each(state: Arrays, answers: Answers) -> Array:
    """Return :func:`most_rows` of every client that answered, shape (n_answers, 1)."""
    return np.asarray(2 * rows_of(state)[answers.clients][:, None])


def require_equal_rows(counted: Array, most: int) -> None:
    """Raise :class:`InvalidArrays` unless every tree counts the same number of rows, from 1 to ``most``."""
    least, largest = int(counted.min(initial=most)), int(counted.max(initial=1))
    if len(counted) and not 1 <= least == largest <= most:
        raise InvalidArrays(f"trees count {least} to {largest} rows, expected one number up to {most}")
