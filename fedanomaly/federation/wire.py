"""Named arrays in Flower's records: compressed on the way out, checked on the way in."""

from __future__ import annotations

import io
import math
import zlib

import numpy as np
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.errors import InvalidArrays

ZLIB = "fedanomaly.zlib"
NUMPY = "numpy.ndarray"
MAX_BYTES = 2**31 - 1  # Flower's own limit of a message
MAX_ARRAYS = 100_000
_KINDS = "biufU"


def pack(arrays: Arrays, *, compress: bool = True) -> ArrayRecord:
    """Return arrays as a Flower record.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Plain dtypes only.
    compress : bool
        Deflate each array where that makes it smaller. Weights that a Flower strategy will
        average must stay in Flower's own serialisation (``compress=False``).
    """
    return ArrayRecord({name: _pack_one(array, compress) for name, array in arrays.items()})


def unpack(record: ArrayRecord, limit: int = MAX_BYTES) -> Arrays:
    """Return the arrays of a record from another process, or raise :class:`InvalidArrays`.

    Sizes are checked against the declared dtype and shape before anything is allocated, so that
    neither a false header nor a deflate bomb costs more memory than ``limit`` bytes.
    """
    if len(record) > MAX_ARRAYS:
        raise InvalidArrays(f"{len(record)} arrays in one message; at most {MAX_ARRAYS} are accepted")
    arrays: Arrays = {}
    for name, entry in record.items():
        array = _unpack_one(name, entry, limit)
        limit -= array.nbytes
        arrays[name] = array
    return arrays


def payload_bytes(record: ArrayRecord) -> int:
    """Return how many bytes of array data a record carries."""
    return sum(len(entry.data) for entry in record.values())


def _pack_one(array: Array, compress: bool) -> FlowerArray:
    if array.dtype.kind not in _KINDS:
        raise InvalidArrays(f"dtype {array.dtype} cannot travel as a plain array")
    if compress:
        raw = np.ascontiguousarray(array).tobytes()
        deflated = zlib.compress(raw, 6)
        if len(deflated) < len(raw):
            return FlowerArray(dtype=array.dtype.str, shape=array.shape, stype=ZLIB, data=deflated)
    return FlowerArray(array)


def _unpack_one(name: str, entry: FlowerArray, limit: int) -> Array:
    if entry.stype == ZLIB:
        dtype, shape = _plain_dtype(name, entry.dtype), tuple(int(side) for side in entry.shape)
        size = _checked_size(name, dtype, shape, limit)
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(entry.data, size + 1)
        except zlib.error as error:
            raise InvalidArrays(f"array {name!r} is not deflated data: {error}") from None
        if len(raw) != size or not inflater.eof:
            raise InvalidArrays(f"array {name!r} does not hold the {size} bytes its shape {shape} declares")
        return np.frombuffer(raw, dtype=dtype).reshape(shape).copy()
    if entry.stype != NUMPY:
        raise InvalidArrays(f"array {name!r} has the unknown serialisation {entry.stype!r}")
    return _read_npy(name, entry.data, limit)


def _read_npy(name: str, data: bytes, limit: int) -> Array:
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
    except Exception as error:  # NumPy parses the header as Python text; nonsense fails in many ways
        raise InvalidArrays(f"array {name!r} has no readable header: {error}") from None
    dtype = _plain_dtype(name, dtype.str if dtype.names is None and not dtype.hasobject else "O")
    size = _checked_size(name, dtype, shape, limit)
    body = data[file.tell() :]
    if len(body) != size:
        raise InvalidArrays(f"array {name!r} does not hold the {size} bytes its shape {shape} declares")
    return np.frombuffer(body, dtype=dtype).reshape(shape, order="F" if fortran else "C").copy()


def _plain_dtype(name: str, text: str) -> np.dtype[np.generic]:
    try:
        dtype = np.dtype(text)
    except TypeError:
        raise InvalidArrays(f"array {name!r} has the unknown dtype {text!r}") from None
    if dtype.kind not in _KINDS or dtype.itemsize == 0 or dtype.itemsize > 4096:
        raise InvalidArrays(f"array {name!r} has dtype {text!r}, which is not a plain array")
    return dtype


def _checked_size(name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...], limit: int) -> int:
    if len(shape) > 8 or any(side < 0 for side in shape):
        raise InvalidArrays(f"array {name!r} has the impossible shape {shape}")
    size = math.prod(shape) * dtype.itemsize
    if size > limit:
        raise InvalidArrays(f"array {name!r} would take {size} bytes; at most {limit} are accepted")
    return size
