"""Finished cells on disk: a line a cell while a grid runs, one tidy parquet when it is complete."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.cell import Outcome
from fedanomaly.experiment.provenance import Provenance
from fedanomaly.federation.config import RunConfig

COMPLETED, FAILED = "completed", "failed"


@dataclass(frozen=True)
class Finished:
    """A cell that has been run.

    Attributes
    ----------
    outcome : Outcome
        Its figures, or why there are none.
    provenance : Provenance
        What ran it.
    """

    outcome: Outcome
    provenance: Provenance


class Journal:
    """The store of one grid: ``NAME.parquet``, and beside it ``NAME.journal.jsonl`` until it is complete.

    A line is written whole when a cell is done, so that whatever kills the program costs only the
    cells in work; a line cut short by that is dropped.

    Parameters
    ----------
    out : Path
        The parquet file.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.path = out.with_suffix(".journal.jsonl")
        self.finished: dict[str, Finished] = {}

    def __enter__(self) -> Self:
        try:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
        except OSError as error:
            raise UserError(f"results cannot be written to {self.out}: {error.strerror}") from None
        self._claim()
        self.finished = {**dict(self._from_parquet()), **dict(self._from_lines())}
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()
        if self.path.exists() and not self.path.stat().st_size:
            self.path.unlink()

    @property
    def complete(self) -> bool:
        """Whether the parquet holds all that is known."""
        return self.out.exists() and not self.path.stat().st_size

    def append(self, key: str, finished: Finished) -> None:
        """Write down a finished cell."""
        self.finished[key] = finished
        entry = {
            "cell": key,
            "error": finished.outcome.error,
            "rows": finished.outcome.rows,
            "provenance": finished.provenance.columns(),
        }
        self._file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def write(self, cells: Mapping[str, RunConfig], details: str) -> None:
        """Write the finished ``cells`` as parquet, in their order, and remove the lines."""
        import pyarrow
        import pyarrow.parquet

        records = [
            record for key, config in cells.items() for record in _records(key, config, self.finished[key])
        ]
        # a figure that the first rows lack is a column all the same
        names = dict.fromkeys(name for record in records for name in record)
        table = pyarrow.table({name: [record.get(name) for record in records] for name in names})
        table = table.replace_schema_metadata({"fedanomaly.environment": details})
        partial = self.out.with_suffix(".parquet.partial")
        pyarrow.parquet.write_table(table, partial)
        partial.replace(self.out)
        self._file.truncate(0)

    def _claim(self) -> None:
        """Make sure that no other process writes the same file; the system forgets it if this one dies."""
        try:
            import fcntl
        except ImportError:  # no such locks on this platform
            return
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock not handed on to forks
        except BlockingIOError:
            raise UserError(
                f"another process is filling {self.out}; wait for it or choose another --out"
            ) from None
        except OSError:  # no locks on this file system
            return

    def _from_lines(self) -> Iterator[tuple[str, Finished]]:
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            entry = json.loads(line)
            yield (
                entry["cell"],
                Finished(Outcome(entry["rows"], entry["error"]), Provenance(**entry["provenance"])),
            )
            whole += len(line)
        self._file.truncate(whole)

    def _from_parquet(self) -> Iterator[tuple[str, Finished]]:
        if not self.out.exists():
            return
        import pyarrow
        import pyarrow.parquet

        try:
            records = pyarrow.parquet.read_table(self.out).to_pylist()
            origins = {record["cell"]: Provenance(**{n: record[n] for n in _ORIGIN}) for record in records}
        except (OSError, pyarrow.ArrowInvalid, KeyError) as error:
            raise UserError(
                f"{self.out} holds no results of a grid ({error}); choose another --out"
            ) from None
        rows: dict[str, list[dict[str, Any]]] = {}
        errors: dict[str, str] = {}
        for record in records:
            figures = {name: value for name, value in record.items() if name not in _DESCRIBING}
            errors[record["cell"]] = record["error"]
            rows.setdefault(record["cell"], [])
            if record["status"] == COMPLETED:
                rows[record["cell"]].append(figures)
        for key, origin in origins.items():
            yield key, Finished(Outcome(rows[key], errors[key]), origin)


_ORIGIN = tuple(Provenance("", "", "", "").columns())
_LEFT_OUT = ("out", "name", "references")  # of the configuration: they decide no figure
_DESCRIBING = {
    *("cell", "status", "error", "configuration", *_ORIGIN),
    *(name for name in RunConfig.__dataclass_fields__ if name not in _LEFT_OUT),
}


def configuration_of(config: RunConfig) -> dict[str, Any]:
    """Return the options that decide a cell's figures, by name."""
    return {name: getattr(config, name) for name in RunConfig.__dataclass_fields__ if name not in _LEFT_OUT}


def _records(key: str, config: RunConfig, finished: Finished) -> Sequence[dict[str, Any]]:
    options = configuration_of(config)
    error = finished.outcome.error
    describing = {
        "cell": key,
        "status": FAILED if error else COMPLETED,
        "error": error,
        **options,
        "configuration": json.dumps(options, sort_keys=True),
        **finished.provenance.columns(),
    }
    rows = finished.outcome.rows or [{"round": None, "client": "all"}]
    return [{**describing, **row} for row in rows]
