"""Named arrays: the wire format, the file format and the model. Whoever receives them checks them here."""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import InvalidArrays

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

_INT64, _UINT64 = np.dtype(np.int64), np.dtype(np.uint64)
_LEAST, _MOST = np.minimum.reduce, np.maximum.reduce  # without the methods' wrapping
_PLAIN_KINDS = "biufU"  # no objects, no void: nothing that needs a pickle


def digest(arrays: Mapping[str, Array]) -> str:
    """Return the SHA-256 of names, dtypes, shapes and bytes, independent of the dict's order."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def require(
    arrays: Mapping[str, Array],
    name: str,
    *,
    kind: str,
    shape: tuple[int | None, ...],
    low: float | None = None,
    high: float | None = None,
) -> Array:
    """Return ``arrays[name]`` after checking it, or raise :class:`InvalidArrays` in one sentence.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What was received.
    name : str
        Which array is wanted.
    kind : str
        Allowed dtype kinds (``"f"``, ``"iu"``, ``"U"``).
    shape : tuple of int or None
        Expected shape; ``None`` leaves an axis free.
    low, high : float, optional
        Inclusive bounds of every value. Floating-point values must be finite in any case.
    """
    array = arrays.get(name)
    if array is None:
        raise InvalidArrays(f"array {name!r} is missing (received: {sorted(arrays) or 'nothing'})")
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kind:
        found = getattr(array, "dtype", type(array).__name__)
        raise InvalidArrays(f"array {name!r} has dtype {found}, expected kind {kind!r}")
    if array.shape != shape and not _fits(array.shape, shape):
        expected = tuple("any" if want is None else want for want in shape)
        raise InvalidArrays(f"array {name!r} has shape {array.shape}, expected {expected}")
    if array.size:
        _require_values(array, name, low, high)
    return array


def _fits(have: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    if len(have) != len(shape):
        return False
    for side, want in zip(have, shape, strict=True):  # noqa: SIM110 - called for every array of every answer
        if want is not None and side != want:
            return False
    return True


def _require_values(array: Array, name: str, low: float | None, high: float | None) -> None:
    """Check finiteness and bounds, in one look at the values where one will do: all answers come by."""
    floating = array.dtype.kind == "f"
    if low is None and high is None:
        # the sum of squares is not finite either, unless it merely overflowed
        if floating and not math.isfinite(np.vdot(array, array)) and not np.isfinite(array).all():
            raise InvalidArrays(f"array {name!r} holds values that are not finite")
        return
    counts = low == 0 and high is not None and high < 2**63 and array.dtype is _INT64
    if counts and _MOST(array.view(_UINT64), None) <= high:  # negative numbers are the largest there
        return
    least, most = _LEAST(array, None), _MOST(array, None)  # a NaN anywhere is both
    if floating and not (math.isfinite(least) and math.isfinite(most)):
        raise InvalidArrays(f"array {name!r} holds values that are not finite")
    if low is not None and least < low:
        raise InvalidArrays(f"array {name!r} holds values below {low}")
    if high is not None and most > high:
        raise InvalidArrays(f"array {name!r} holds values above {high}")


def within(values: Array, low: npt.ArrayLike, high: npt.ArrayLike) -> bool:
    """Return whether all values lie between bounds that broadcast; no NaN does."""
    if isinstance(low, int | float) and isinstance(high, int | float):
        return not values.size or bool(_LEAST(values, None) >= low and _MOST(values, None) <= high)
    return bool(((values >= low) & (values <= high)).all())


def require_only(arrays: Mapping[str, Array], names: set[str]) -> None:
    """Raise :class:`InvalidArrays` if ``arrays`` has a name that is not in ``names``."""
    if unknown := sorted(set(arrays) - names):
        raise InvalidArrays(f"unknown arrays {unknown}; expected only {sorted(names)}")


def nbytes(arrays: Mapping[str, Array]) -> int:
    """Return how many bytes the arrays take."""
    return sum([array.nbytes for array in arrays.values()])


def with_prefix(arrays: Mapping[str, Array], prefix: str) -> Arrays:
    """Return ``arrays`` with ``prefix/`` before every name."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def under_prefix(arrays: Mapping[str, Array], prefix: str) -> Arrays:
    """Return the arrays whose name starts with ``prefix/``, without it."""
    head = f"{prefix}/"
    return {name[len(head) :]: array for name, array in arrays.items() if name.startswith(head)}


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays as a compressed ``.npz`` that loads with ``allow_pickle=False``, atomically."""
    for name, array in arrays.items():
        if array.dtype.kind not in _PLAIN_KINDS:
            raise InvalidArrays(f"array {name!r} has dtype {array.dtype}, which needs a pickle")
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    partial.replace(path)


def load_arrays(path: Path) -> Arrays:
    """Read an ``.npz`` written by :func:`save_arrays`; never unpickles."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidArrays(f"{path} is not a readable model file (.npz): {error}") from error
