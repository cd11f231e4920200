"""Named arrays on the wire: one compressed bundle a message, checked before a byte of it is believed.

A bundle is a JSON header with names, dtypes and shapes, then the bytes of all arrays as one stream:
xz for small bundles (trees, histograms), where every byte counts and none costs time, else deflate.
"""

from __future__ import annotations

import json
import lzma
import math
import zlib
from typing import Any

import numpy as np

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import InvalidArrays

MAX_BYTES = 2**31 - 1  # Flower's own limit of a message
MAX_HEADER = 1 << 20
SAMPLE = 1 << 18
_KINDS = "biufU"
_XZ = b"\xfd7zXZ\0"
_XZ_MEMORY = 16 << 20  # a stream that wants more to be unpacked is not ours
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}]


def pack(arrays: Arrays) -> bytes:
    """Return arrays of plain dtypes as one bundle."""
    require_plain(arrays)
    header = json.dumps([[name, array.dtype.str, array.shape] for name, array in arrays.items()]).encode()
    raw = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())
    return len(header).to_bytes(4, "little") + header + _compressed(raw)


def require_plain(arrays: Arrays) -> None:
    """Raise :class:`InvalidArrays` if an array has a dtype that does not travel."""
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise InvalidArrays(
                f"array {name!r} has dtype {array.dtype}, which cannot travel as a plain array"
            )


def plain_copies(arrays: Arrays) -> tuple[Arrays, int]:
    """Return copies, C-contiguous as from a bundle, and their bytes; raise as :func:`require_plain`."""
    copies, size = {}, 0
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            require_plain({name: array})
        copies[name] = copy = array.copy() if type(array) is np.ndarray else np.array(array, order="C")
        size += copy.nbytes
    return copies, size


def unpack(data: bytes, limit: int = MAX_BYTES) -> Arrays:
    """Return the arrays of a bundle from another process, or raise :class:`InvalidArrays`.

    The declared sizes are added up before anything is inflated, and no more than that is inflated:
    neither a false header nor a deflate bomb costs more memory than ``limit`` bytes.
    """
    length = int.from_bytes(data[:4], "little")
    if len(data) < 4 or length > min(MAX_HEADER, len(data) - 4):
        raise InvalidArrays("the bundle is cut short")
    forms = _forms(data[4 : 4 + length])
    sizes = [math.prod(shape) * dtype.itemsize for _, dtype, shape in forms]
    if sum(sizes) > limit:
        raise InvalidArrays(f"the bundle would take {sum(sizes)} bytes; at most {limit} are accepted")
    body = data[4 + length :]
    inflater = (
        lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        if body.startswith(_XZ)
        else zlib.decompressobj()
    )
    try:
        raw = inflater.decompress(body, sum(sizes) + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise InvalidArrays(f"the bundle's arrays cannot be unpacked: {error}") from None
    if len(raw) != sum(sizes) or not inflater.eof:
        raise InvalidArrays(f"the bundle does not hold the {sum(sizes)} bytes its header declares")
    arrays: Arrays = {}
    start = 0
    for (name, dtype, shape), size in zip(forms, sizes, strict=True):
        arrays[name] = np.frombuffer(raw[start : start + size], dtype=dtype).reshape(shape).copy()
        start += size
    return arrays


def _compressed(raw: bytes) -> bytes:
    """Compress hard what is small; large bodies that hardly shrink (rows, weights) are only framed."""
    if len(raw) <= SAMPLE:
        return lzma.compress(raw, lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, filters=_FILTERS)
    shrinks = len(zlib.compress(raw[:SAMPLE], 1)) < SAMPLE / 2
    return zlib.compress(raw, zlib.Z_BEST_SPEED if shrinks else zlib.Z_NO_COMPRESSION)


def _forms(header: bytes) -> list[tuple[str, np.dtype[Any], tuple[int, ...]]]:
    try:
        entries = json.loads(header)
        forms = [(name, np.dtype(dtype), tuple(shape)) for name, dtype, shape in entries]
    except (ValueError, TypeError, RecursionError, SyntaxError) as error:
        raise InvalidArrays(f"the bundle's header cannot be read: {error}") from None
    for name, dtype, shape in forms:
        _check_form(name, dtype, shape)
    if len({name for name, _, _ in forms}) != len(forms):
        raise InvalidArrays("the bundle names an array twice")
    return forms


def _check_form(name: Any, dtype: np.dtype[Any], shape: tuple[Any, ...]) -> None:
    if not isinstance(name, str):
        raise InvalidArrays("the bundle holds an array without a name")
    if dtype.kind not in _KINDS or dtype.itemsize > 4096 or dtype.names or dtype.subdtype:
        raise InvalidArrays(f"array {name!r} has dtype {dtype}, which is not a plain array")
    if len(shape) > 8 or not all(isinstance(side, int) and 0 <= side < 2**40 for side in shape):
        raise InvalidArrays(f"array {name!r} has an impossible shape")
