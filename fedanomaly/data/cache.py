"""Prepared tables as memory-mapped files: read and checked once, then mapped in milliseconds."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import UserError
from fedanomaly.data.base import DATASETS, DataRequest, Dataset, Table
from fedanomaly.data.memory import PREFIX, memory_table
from fedanomaly.data.places import cache_folder, one_process_at_a_time

CACHE_LIMIT_BYTES = 8 << 30  # of all prepared tables; those unused for longest go first
_FACTS = "table.json"
_SAMPLED_ROWS = 64
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError)


def load_table(name: str, request: DataRequest | None = None, cache_dir: Path | None = None) -> Table:
    """Return the rows of a data set, from the cache if they are there.

    A cache entry is keyed by what the rows depend on (the file's place, size and time of change,
    or a generator's seed; the options) and by the code that reads them. It is written to a
    temporary folder and renamed, so that readers never see half of it; with many processes at
    once, one prepares it and the others wait. An entry that cannot be read is prepared anew, and
    where the cache cannot be written the table is simply returned.

    Parameters
    ----------
    name : str
        Registered name, with a variant after a colon if the data set has any
        (``adbench:2_annthyroid``), or a name that
        :func:`~fedanomaly.data.memory.register_memory_table` returned.
    request : DataRequest, optional
        Path, number of rows, seed and so on.
    cache_dir : Path, optional
        Folder of downloads and prepared tables; see :func:`~fedanomaly.data.places.cache_folder`.

    Returns
    -------
    Table
        Its arrays are read-only; mapped from disk unless the data set cannot be cached.

    Raises
    ------
    UserError
        If there is no such data set, or its file is missing or wrong.
    """
    base, _, variant = name.partition(":")
    if base == PREFIX:
        return memory_table(name)
    request = request or DataRequest()
    folder = cache_folder(cache_dir if cache_dir is not None else request.cache_dir)
    request = replace(request, variant=variant or request.variant, cache_dir=folder)
    cls = DATASETS.get(base)
    if request.variant and not cls.takes_variant:
        raise UserError(f"the data set {base!r} has no variants, so {name!r} means nothing; say {base!r}")
    dataset = cls()
    key = dataset.cache_key(request)
    if key is None:
        return dataset.load(request)
    return cached_table(base, f"{key}|{_code(cls)}", lambda: dataset.load(request), folder)


def cached_table(name: str, key: str, build: Callable[[], Table], cache_dir: Path | None = None) -> Table:
    """Return the table that ``build`` gives, from the cache if it was built before.

    Parameters
    ----------
    name : str
        What it is; part of the entry's name.
    key : str
        All that the table depends on: equal keys mean equal tables.
    build : callable
        Prepares the table.
    cache_dir : Path, optional
        As for :func:`load_table`.
    """
    folder = cache_folder(cache_dir)
    entry = folder / "tables" / f"{name}-{_digest(name, key)}"
    if (table := _read(entry)) is not None:
        return table
    with one_process_at_a_time(folder / "locks" / f"{entry.name}.lock"):
        if (table := _read(entry)) is not None:  # another process prepared it meanwhile
            return table
        table = build()
        try:
            _write(entry, table)
            _prune(entry.parent, keep=entry)
        except OSError:  # read-only or full disk
            return table
    return _read(entry) or table


def _digest(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


@cache
def _code(cls: type[Dataset]) -> str:
    """Return a digest of the code that prepares a table, so that a changed loader is not outlived."""
    files = {path for path in Path(__file__).parent.rglob("*") if path.suffix in (".py", ".json")}
    try:
        files.add(Path(inspect.getfile(cls)))
    except (TypeError, OSError):  # defined in a notebook or at a prompt
        return _digest(cls.__qualname__, str(id(cls)), str(os.getpid()))
    sha = hashlib.sha256()
    for path in sorted(files):
        sha.update(path.read_bytes() if path.is_file() else b"")
    return sha.hexdigest()


def _columns(table: Table) -> dict[str, Array]:
    """Return a table's arrays by file name (groups by number: their names may be anything)."""
    arrays: dict[str, Array | None] = {"X": table.X, "y": table.y, "time": table.time, "amount": table.amount}
    arrays |= {f"group-{place}": codes for place, codes in enumerate(table.groups.values())}
    return {name: array for name, array in arrays.items() if array is not None}


def _write(entry: Path, table: Table) -> None:
    """Store a table as ``.npy`` files and a JSON, all at once or not at all."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=entry.parent))
    try:
        for name, array in _columns(table).items():
            with (partial / f"{name}.npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())  # else a crash may leave a renamed folder of empty pages
        facts = {
            "name": table.name,
            "feature_names": table.feature_names,
            "groups": list(table.groups),
            "columns": list(_columns(table)),
            "source": table.source,
            "fingerprint": table.fingerprint,
            "synthetic": table.synthetic,
            "warnings": table.warnings,
            "sample": _sample(table),
        }
        with (partial / _FACTS).open("w", encoding="utf-8") as file:
            json.dump(facts, file)
            file.flush()
            os.fsync(file.fileno())
        _remove(entry)  # unreadable, or it would have been used
        partial.replace(entry)
    finally:
        _remove(partial)


def _read(entry: Path) -> Table | None:
    """Map a stored table, or return None if there is none that can be read."""
    try:
        facts: dict[str, Any] = json.loads((entry / _FACTS).read_text("utf-8"))
        arrays = {name: _map(entry / f"{name}.npy") for name in facts["columns"]}
        groups = {group: arrays[f"group-{place}"] for place, group in enumerate(facts["groups"])}
        table = Table(
            name=str(facts["name"]),
            X=arrays["X"],
            y=arrays["y"],
            feature_names=tuple(facts["feature_names"]),
            source=str(facts["source"]),
            fingerprint=str(facts["fingerprint"]),
            time=arrays.get("time"),
            groups=groups,
            amount=arrays.get("amount"),
            synthetic=bool(facts["synthetic"]),
            warnings=tuple(facts["warnings"]),
        )
        if facts["sample"] != _sample(table):
            return None
    except _UNREADABLE:
        return None
    with suppress(OSError):  # a cache that others filled may be read-only
        os.utime(entry / _FACTS)  # when it was last used
    return table


def _map(path: Path) -> Array:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(mapped)  # a plain array over the map: kernels compile once for both


def _sample(table: Table) -> str:
    """Return a digest of all labels and of some rows: finds cut, mixed and blank files in a millisecond."""
    sha = hashlib.sha256()
    if table.X.shape != (len(table.y), len(table.feature_names)):
        raise ValueError("X has the wrong shape")
    step = max(1, len(table.y) // _SAMPLED_ROWS)
    for name, array in sorted(_columns(table).items()):
        part = array if name == "y" else array[::step]
        sha.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        sha.update(np.ascontiguousarray(part).tobytes())
    return sha.hexdigest()


def _prune(folder: Path, keep: Path) -> None:
    """Remove the tables unused for longest until all fit the limit (maps in use stay valid)."""
    entries = []
    for entry in folder.iterdir():
        try:
            size = sum(file.stat().st_size for file in entry.iterdir())
            entries.append(((entry / _FACTS).stat().st_mtime, size, entry))
        except OSError:  # being written, or removed by another process
            continue
    total = sum(size for _, size, _ in entries)
    for _, size, entry in sorted(entries):
        if total <= CACHE_LIMIT_BYTES:
            return
        if entry != keep:
            _remove(entry)
            total -= size


def _remove(entry: Path) -> None:
    shutil.rmtree(entry, ignore_errors=True)


__all__ = ["CACHE_LIMIT_BYTES", "cached_table", "load_table"]
