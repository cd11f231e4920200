"""Rows that a Python caller passes in: checked once, then found by name like any other data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table
from fedanomaly.data.build import build_table

PREFIX = "memory"
_TABLES: dict[str, Table] = {}


def register_memory_table(
    X: Any,
    y: Any,
    *,
    feature_names: Sequence[str] | None = None,
    time: npt.ArrayLike | None = None,
    groups: Mapping[str, npt.ArrayLike] | None = None,
    amount: npt.ArrayLike | None = None,
) -> str:
    """Check rows, keep a copy for this process, and return the name under which they are found.

    Parameters
    ----------
    X : array-like or frame of shape (n_rows, n_features)
        Finite numbers. A frame (pandas, Polars) gives the feature names.
    y : array-like of shape (n_rows,)
        1 or True = anomaly, 0 or False = normal; both must occur.
    feature_names : sequence of str, optional
        Names of the columns; default the frame's own, or ``x0``, ``x1``, ...
    time, amount : array-like of shape (n_rows,), optional
        See :class:`~fedanomaly.data.base.Table`.
    groups : mapping of str to array-like of shape (n_rows,), optional
        Owners of each row, of any type that sorts; turned into codes from 0.

    Returns
    -------
    str
        ``memory:`` and the first 16 digits of the content's fingerprint. Equal rows, equal name.

    Raises
    ------
    UserError
        If shapes, values or labels are not as above.
    """
    source = "the rows passed in Python"
    names = feature_names
    if names is None and hasattr(X, "columns"):
        names = [str(column) for column in X.columns]
    values = _numeric(X, "X", 2, names)
    labels = _numeric(y, "y", 1, None)
    if names is None:
        names = [f"x{j}" for j in range(values.shape[1])]
    table = build_table(
        PREFIX,
        values,
        labels,
        list(names),
        source=source,
        time=None if time is None else _numeric(time, "time", 1, None),
        groups={str(key): _codes(key, column) for key, column in (groups or {}).items()},
        amount=None if amount is None else _numeric(amount, "amount", 1, None),
    )
    name = f"{PREFIX}:{table.fingerprint[:16]}"
    _TABLES[name] = Table(**{**vars(table), "name": name})
    return name


def memory_table(name: str) -> Table:
    """Return the table registered under ``name`` in this process."""
    if name not in _TABLES:
        raise UserError(
            f"there are no rows {name!r} in this process: rows passed in Python serve the local engine only; "
            "for other engines save them to a file"
        )
    return _TABLES[name]


def _numeric(values: Any, what: str, ndim: int, names: Sequence[str] | None) -> Array:
    """Return a copy as numbers (float64 for X), so that the caller's own array stays its own."""
    array = np.asarray(values)
    if array.ndim != ndim:
        raise UserError(f"{what} has {array.ndim} dimensions (shape {array.shape}), expected {ndim}")
    try:
        return np.array(array, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise UserError(f"{what} must hold numbers{_culprit(values, names)}: {error}") from error


def _culprit(values: Any, names: Sequence[str] | None) -> str:
    """Say which column of a frame is not numeric, if that can be told."""
    if names is not None and hasattr(values, "dtypes") and hasattr(values, "columns"):
        for name, dtype in zip(values.columns, list(values.dtypes), strict=True):
            if getattr(dtype, "kind", "O") not in "biuf":
                return f" (column {str(name)!r} is {dtype})"
    return ""


def _codes(key: str, column: npt.ArrayLike) -> Array:
    try:
        return np.asarray(np.unique(np.asarray(column), return_inverse=True)[1], dtype=np.int64)
    except TypeError as error:
        raise UserError(f"group {key!r} mixes types that cannot be sorted") from error


__all__ = ["PREFIX", "memory_table", "register_memory_table"]
