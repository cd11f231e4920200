"""Named arrays between processes of one run: plain bytes behind a header that is parsed once a form.

Not for strangers: a frame is believed. What comes from other machines is a bundle, see ``wire``.
Everything starts at a multiple of eight bytes, so that arrays are read where they lie.
"""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from typing import Any

import numpy as np

from fedanomaly.core.arrays import Arrays

ALIGNMENT = 8
Form = tuple[tuple[str, np.dtype[Any], int], ...]
_LENGTH = struct.Struct("<Q")


def frame(arrays: Arrays) -> bytes:
    """Return names, dtypes and dimensions, then all shapes, then all bytes."""
    head = _head(tuple([(name, array.dtype, array.ndim) for name, array in arrays.items()]))
    sides = [side for array in arrays.values() for side in array.shape]
    parts = [head, struct.pack(f"<{len(sides)}q", *sides)]
    for array in arrays.values():
        parts.append(array.tobytes())
        if beyond := array.nbytes % ALIGNMENT:
            parts.append(bytes(ALIGNMENT - beyond))
    return b"".join(parts)


def unframe(data: bytearray, start: int = 0) -> Arrays:
    """Return the arrays that :func:`frame` was given, writable views of ``data`` from ``start`` on."""
    begin = start + _LENGTH.size
    end = begin + _LENGTH.unpack_from(data, start)[0]
    form, dimensions = _form(bytes(data[begin:end]))
    sides = struct.unpack_from(f"<{dimensions}q", data, end)
    at, first = end + 8 * dimensions, 0
    arrays: Arrays = {}
    for name, dtype, ndim in form:
        shape = sides[first : first + ndim]
        arrays[name] = array = np.ndarray(shape, dtype, data, at)
        at += array.nbytes + -array.nbytes % ALIGNMENT
        first += ndim
    return arrays


@lru_cache(maxsize=256)
def _head(form: Form) -> bytes:
    head = json.dumps([[name, dtype.str, ndim] for name, dtype, ndim in form]).encode()
    head += b" " * (-len(head) % ALIGNMENT)
    return _LENGTH.pack(len(head)) + head


@lru_cache(maxsize=256)
def _form(head: bytes) -> tuple[Form, int]:
    form = tuple((name, np.dtype(dtype), ndim) for name, dtype, ndim in json.loads(head))
    return form, sum(ndim for _, _, ndim in form)
