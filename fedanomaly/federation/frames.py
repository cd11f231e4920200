"""Named arrays between processes of one run: plain bytes behind a header that is parsed once a form.

Not for strangers: a frame is believed. What comes from other machines is a bundle, see ``wire``.
"""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fedanomaly.core.arrays import Arrays

Form = tuple[tuple[str, np.dtype[Any], int], ...]
_LENGTH = struct.Struct("<I")


def frame(arrays: Arrays) -> bytes:
    """Return names, dtypes and dimensions, then all shapes, then all bytes."""
    head = _head(tuple([(name, array.dtype, array.ndim) for name, array in arrays.items()]))
    sides = [side for array in arrays.values() for side in array.shape]
    parts = [array.tobytes() for array in arrays.values()]
    return b"".join([head, struct.pack(f"<{len(sides)}q", *sides), *parts])


def unframe(data: bytes, start: int = 0) -> Arrays:
    """Return the arrays that :func:`frame` was given, writable; the frame begins at byte ``start``."""
    begin = start + _LENGTH.size
    end = begin + _LENGTH.unpack_from(data, start)[0]
    form, dimensions = _form(data[begin:end])
    sides = struct.unpack_from(f"<{dimensions}q", data, end)
    at, first = end + 8 * dimensions, 0
    arrays: Arrays = {}
    for name, dtype, ndim in form:
        shape = sides[first : first + ndim]
        arrays[name] = np.ndarray(shape, dtype, data, at).copy()
        at += prod(shape) * dtype.itemsize
        first += ndim
    return arrays


@lru_cache(maxsize=256)
def _head(form: Form) -> bytes:
    head = json.dumps([[name, dtype.str, ndim] for name, dtype, ndim in form]).encode()
    return _LENGTH.pack(len(head)) + head


@lru_cache(maxsize=256)
def _form(head: bytes) -> tuple[Form, int]:
    form = tuple((name, np.dtype(dtype), ndim) for name, dtype, ndim in json.loads(head))
    return form, sum(ndim for _, _, ndim in form)
