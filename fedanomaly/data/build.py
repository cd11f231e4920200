"""From a loader's columns to a checked, fingerprinted, read-only table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table


def table_fingerprint(
    X: Array,
    y: Array,
    feature_names: Sequence[str],
    time: Array | None = None,
    groups: Mapping[str, Array] | None = None,
    amount: Array | None = None,
) -> str:
    """Return the SHA-256 (hex) of a table's content: names, dtypes, shapes and bytes.

    Equal content gives an equal fingerprint, wherever it came from. About .05 s for 285k rows of
    29 features on a processor with SHA instructions.
    """
    parts: dict[str, Array | None] = {"X": X, "y": y, "time": time, "amount": amount}
    parts |= {f"group/{name}": codes for name, codes in (groups or {}).items()}
    sha = hashlib.sha256(repr(tuple(feature_names)).encode())
    for name in sorted(parts):
        array = parts[name]
        if array is not None:
            array = np.ascontiguousarray(array)
            sha.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
            sha.update(array.reshape(-1).view(np.uint8).data)  # no copy, unlike tobytes
    return sha.hexdigest()


def build_table(
    name: str,
    X: Array,
    y: Array,
    feature_names: Sequence[str],
    *,
    source: str,
    rows: int | None = None,
    time: Array | None = None,
    groups: Mapping[str, Array] | None = None,
    amount: Array | None = None,
    synthetic: bool = False,
    warnings: Sequence[str] = (),
) -> Table:
    """Return a :class:`Table` of the first ``rows`` rows, in canonical dtypes, read-only.

    Raises
    ------
    UserError
        If shapes disagree, a value is not finite, a label is not 0 or 1, or one class is missing.
    """
    X = np.asarray(X)
    y = np.asarray(y)
    if X.ndim != 2 or X.dtype.kind not in "biuf":
        raise UserError(f"{source}: X has shape {X.shape} and dtype {X.dtype}, expected rows x numbers")
    if y.shape != (len(X),):
        raise UserError(f"{source}: there are {len(X):,} rows but labels of shape {y.shape}")
    if len(feature_names) != X.shape[1] or len(set(feature_names)) != len(feature_names):
        raise UserError(
            f"{source}: {X.shape[1]} features need as many different names, got {len(feature_names)}"
        )
    columns = {"time": time, "amount": amount} | {
        f"group {key}": value for key, value in (groups or {}).items()
    }
    for column, values in columns.items():
        if values is not None and np.shape(values) != y.shape:
            raise UserError(f"{source}: {column} has shape {np.shape(values)}, expected {y.shape}")
    if rows is not None and checked_rows(rows) < len(y):
        X, y = X[:rows], y[:rows]
        time, amount = (None if column is None else column[:rows] for column in (time, amount))
        groups = {key: codes[:rows] for key, codes in (groups or {}).items()}
    if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
        raise UserError(f"{source}: labels must be 0 (normal) or 1 (anomaly)")
    n_anomalies = int(y.sum())
    if not 0 < n_anomalies < len(y):
        raise UserError(
            f"{source}: {n_anomalies} of the {len(y):,} rows are anomalies; both classes are needed"
            + ("" if rows is None else " (keep more rows)")
        )
    final_groups = {key: _frozen(value, np.int64) for key, value in (groups or {}).items()}
    final_X = _frozen(X, np.float64)
    _require_finite(final_X, feature_names, source)
    final_time = None if time is None else _frozen(time, np.float64)
    final_amount = None if amount is None else _frozen(amount, np.float64)
    for column, floats in (("time", final_time), ("amount", final_amount)):
        if floats is not None:
            _require_finite(floats[:, None], [column], source)
    final_y = _frozen(y, np.int8)
    return Table(
        name=name,
        X=final_X,
        y=final_y,
        feature_names=tuple(feature_names),
        source=source,
        fingerprint=table_fingerprint(
            final_X, final_y, feature_names, final_time, final_groups, final_amount
        ),
        time=final_time,
        groups=final_groups,
        amount=final_amount,
        synthetic=synthetic,
        warnings=tuple(warnings),
    )


def checked_rows(rows: int, least: int = 1) -> int:
    """Return ``rows``, or raise :class:`UserError` if it is below ``least``."""
    if rows < least:
        raise UserError(f"rows is {rows}, expected at least {least}")
    return rows


def _require_finite(X: npt.NDArray[np.float64], names: Sequence[str], source: str) -> None:
    if np.isfinite(X.sum()):  # one pass; a sum that overflows is looked at more closely
        return
    finite = np.isfinite(X)
    if not finite.all():
        row, column = (int(index[0]) for index in np.nonzero(~finite))
        raise UserError(f"{source}: column {names[column]!r} holds {X[row, column]} in row {row + 1}")


def _frozen(values: Array, dtype: npt.DTypeLike) -> Array:
    """Return a read-only C-ordered array that owns its rows (never a caller's own memory)."""
    array = np.array(values, dtype=dtype, order="C", copy=not _fresh(values, dtype))
    array.setflags(write=False)
    return array


def _fresh(values: Array, dtype: npt.DTypeLike) -> bool:
    return values.base is None and values.dtype == dtype and values.flags.c_contiguous


__all__ = ["build_table", "checked_rows", "table_fingerprint"]
