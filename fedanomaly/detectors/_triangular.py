"""Compiled Cholesky factors and triangular systems, the same bits on every machine and thread count.

Imported on first use only, since numba is slow to import. Every number is reached by one fixed sequence of
operations, which a linear algebra library does not promise; the innermost loops run over neighbours in
memory and vectorise without reordering any sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any  # numba infers the types; annotations are for readers

_compiled = njit(cache=True, nogil=True, error_model="numpy")


@_compiled
def factorise(rest: Array, floor: float, root: Array) -> None:
    """Fill ``root``, zeros, with Cholesky's factor of ``rest``, whose lower triangle is used up.

    Pivots below ``floor`` are lifted to it.
    """
    n = len(rest)
    column = np.empty(n)
    for j in range(n):
        pivot = rest[j, j]
        if pivot < floor:
            pivot = floor
        pivot = np.sqrt(pivot)
        root[j, j] = pivot
        for i in range(j + 1, n):
            column[i] = root[i, j] = rest[i, j] / pivot
        for i in range(j + 1, n):
            factor, row, above = column[i], rest[i, j + 1 : i + 1], column[j + 1 : i + 1]
            for k in range(len(row)):
                row[k] -= factor * above[k]


@_compiled
def solve_lower(root: Array, x: Array) -> None:
    """Solve ``L z = x`` in place, for each column of ``x`` (n x columns)."""
    for i in range(len(x)):
        row = x[i]
        for j in range(i):
            factor, above = root[i, j], x[j]
            for c in range(len(row)):
                row[c] -= factor * above[c]
        for c in range(len(row)):
            row[c] /= root[i, i]


@_compiled
def solve_lower_one(root: Array, x: Array) -> None:
    """Solve ``L z = x`` in place, ``x`` of shape (n,)."""
    n = len(x)
    for j in range(n):
        x[j] /= root[j, j]
        factor = x[j]
        for i in range(j + 1, n):
            x[i] -= root[i, j] * factor


@_compiled
def solve_upper_one(root: Array, x: Array) -> None:
    """Solve ``L^T z = x`` in place, ``x`` of shape (n,)."""
    for j in range(len(x) - 1, -1, -1):
        x[j] /= root[j, j]
        factor, row = x[j], root[j]
        for i in range(j):
            x[i] -= row[i] * factor
