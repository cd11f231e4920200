"""Named columns of a CSV or Parquet file, plain, zipped or gzipped (never a pickle)."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError

Floats = npt.NDArray[np.float64]

_Read = Callable[[dict[str, str], set[str]], Any]  # from the columns to read, and those that are text

_PARQUET, _ZIP, _GZIP, _NPY = b"PAR1", b"PK", b"\x1f\x8b", b"\x93NUMPY"
_PICKLE = b"\x80"
_BROKEN = (  # what Arrow, zipfile and zlib raise on damaged files
    ArithmeticError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class Columns:
    """Columns of one file, by name.

    Parameters
    ----------
    path : Path
        The file, for messages.
    table : pyarrow.Table
        Its columns, already under their canonical names.
    """

    def __init__(self, path: Path, table: Any) -> None:
        self.path = path
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, name: object) -> bool:
        return name in self._table.column_names

    def raw(self, name: str) -> Any:
        """Return the column as a pyarrow chunked array, without missing values."""
        import pyarrow.compute as pc

        column = self._table.column(name)
        if column.null_count:
            row = int(np.flatnonzero(pc.is_null(column).to_numpy(zero_copy_only=False))[0])
            raise UserError(f"{self.path.name}: column {name!r} has no value in row {row + 1}")
        return column

    def numbers(self, name: str) -> Floats:
        """Return the column as finite float64, shape (n_rows,); text that spells numbers counts."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.raw(name)
        try:
            if pa.types.is_dictionary(column.type):
                column = pc.cast(column, column.type.value_type)
            if not pa.types.is_float64(column.type):
                column = pc.cast(column, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UserError(f"{self.path.name}: column {name!r} must hold numbers: {error}") from error
        values = np.asarray(column.to_numpy(), dtype=np.float64)
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise UserError(f"{self.path.name}: column {name!r} holds {values[row]} in row {row + 1}")
        return values

    def labels(self, name: str) -> npt.NDArray[np.int8]:
        """Return a column of 0 and 1 (numbers, booleans or text) as int8, shape (n_rows,)."""
        values = self.numbers(name)
        wrong = (values != 0) & (values != 1)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise UserError(
                f"{self.path.name}: column {name!r} holds {values[row]:g} in row {row + 1}, expected 0 or 1"
            )
        return values.astype(np.int8)

    def codes(self, name: str) -> tuple[npt.NDArray[np.int64], list[str]]:
        """Return the column of text as codes from 0, and what each code stands for."""
        import pyarrow as pa
        import pyarrow.compute as pc

        encoded = pc.dictionary_encode(pc.cast(self.raw(name), pa.string())).combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # no chunk or more than one
            encoded = pa.concat_arrays(encoded.chunks)
        codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
        return codes, [str(value) for value in encoded.dictionary.to_pylist()]


def read_columns(
    path: Path,
    required: Sequence[str],
    *,
    optional: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
    header: Sequence[str] | None = None,
    text: Sequence[str] = (),
) -> Columns:
    """Read the named columns of a file, whatever it is packed in.

    Parameters
    ----------
    path : Path
        CSV or Parquet, plain, ``.gz`` or ``.zip``; told apart by content, not by name.
    required, optional : sequence of str
        Columns to read. A missing required one is an error.
    aliases : mapping of str to str, optional
        Other spellings in circulation and the name they stand for.
    header : sequence of str, optional
        Column names of a CSV file that has no header line.
    text : sequence of str
        Columns that stay text in a CSV file.

    Raises
    ------
    UserError
        If the file cannot be read or lacks a column.
    """
    wanted = {*required, *optional}
    try:
        with _unpacked(path) as (kind, stream):
            own_names, read = _parquet(stream) if kind == _PARQUET else _csv(stream, header)
            found = _canonical(own_names, wanted, aliases or {})
            if missing := [name for name in required if name not in found.values()]:
                raise UserError(
                    f"{path.name} has no column {', '.join(map(repr, missing))} "
                    "(columns are told by their exact names, separated by commas)"
                )
            table = read(found, set(text))
    except UserError:
        raise
    except _BROKEN as error:
        raise UserError(f"{path.name} cannot be read: {_first_line(error)}") from error
    if table.num_rows == 0:
        raise UserError(f"{path.name} has a header but no rows")
    return Columns(path, table)


def _canonical(names: Sequence[str], wanted: set[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Return which of a file's own column names to read, and the name each stands for."""
    found: dict[str, str] = {}
    for own in names:
        name = own.strip().strip('"')
        name = aliases.get(name, name)
        if name in wanted and name not in found.values():
            found[own] = name
    return found


def _parquet(stream: IO[bytes]) -> tuple[list[str], _Read]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(stream)

    def read(found: dict[str, str], text: set[str]) -> Any:
        return file.read(columns=list(found)).rename_columns(found)

    return list(file.schema_arrow.names), read


def _csv(stream: IO[bytes], header: Sequence[str] | None) -> tuple[list[str], _Read]:
    import pyarrow as pa
    import pyarrow.csv as csv

    if header is None:
        first = stream.readline(1 << 16).decode("utf-8", errors="replace").lstrip("\ufeff")
        names = [name.strip().strip('"') for name in first.rstrip("\r\n").split(",")]
        if stream.read(1) == b"":
            raise ValueError("it has a header but no rows" if first.strip() else "it is empty")
        stream.seek(-1, io.SEEK_CUR)
    else:
        names = list(header)

    def read(found: dict[str, str], text: set[str]) -> Any:
        table = csv.read_csv(
            stream,
            read_options=csv.ReadOptions(column_names=names, block_size=1 << 24),
            convert_options=csv.ConvertOptions(
                include_columns=list(found),
                column_types={own: pa.string() for own, name in found.items() if name in text},
            ),
        )
        return table.rename_columns([found[own] for own in table.column_names])

    return names, read


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[bytes, IO[bytes]]]:
    """Open what is inside a file; yield what it is (by its first bytes) and a stream of it."""
    with path.open("rb") as outer:
        magic = _peek(outer)
        if magic.startswith(_ZIP):
            with zipfile.ZipFile(outer) as archive, archive.open(_only_member(archive)) as member:
                yield _seekable(member)
        elif magic.startswith(_GZIP):
            with gzip.open(outer) as inner:
                yield _seekable(inner)  # type: ignore[arg-type]
        else:
            yield _kind(magic), outer


def _seekable(stream: IO[bytes]) -> tuple[bytes, IO[bytes]]:
    """Unpack into memory what is packed: Parquet must seek, and CSV is parsed by several threads."""
    content = io.BytesIO(stream.read())
    return _kind(_peek(content)), content


def _kind(magic: bytes) -> bytes:
    if magic.startswith(_PARQUET):
        return _PARQUET
    if magic.startswith((_PICKLE, _NPY, _ZIP, _GZIP)):
        raise ValueError("it is neither CSV nor Parquet (pickles are never loaded; convert the file first)")
    return b""


def _peek(stream: IO[bytes]) -> bytes:
    magic = stream.read(8)
    stream.seek(0)
    return magic


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [
        info
        for info in archive.infolist()
        if not info.is_dir() and not Path(info.filename).name.startswith((".", "_"))
    ]
    if len(members) != 1:
        raise ValueError(f"the zip archive holds {len(members)} files, expected one")
    return members[0]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


__all__ = ["Columns", "read_columns"]
