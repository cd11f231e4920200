"""A run's folder: written after every round, so that a crash loses nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from fedanomaly.core.arrays import Arrays, digest, load_arrays, save_arrays
from fedanomaly.core.errors import UserError
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.experiment.environment import environment
from fedanomaly.experiment.narrator import without_nan
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.observer import ClientInfo, Event, Metrics, Observer, RoundRecord, Scores

if TYPE_CHECKING:
    import pyarrow

COLUMNS = ("round", "phase", "client", "metric", "value")
_MOST_INDENTED = 500  # clients
RUNNING, COMPLETED, FAILED, INTERRUPTED = "running", "completed", "failed", "interrupted"


def default_folder(config: RunConfig, root: Path = Path("results")) -> Path:
    """Return ``results/<time>-<name>``, a folder that does not exist yet."""
    name = config.name or "-".join(
        filter(None, (config.detector, config.aggregation, config.partition, config.data))
    )
    stem = f"{datetime.now():%Y%m%d-%H%M%S}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)[:80].strip('-')}"
    folder, number = root / stem, 2
    while folder.exists():
        folder, number = root / f"{stem}-{number}", number + 1
    return folder


class ResultsFolder(Observer):
    """Writes a run as it happens.

    Parameters
    ----------
    path : Path
        The run's own folder; made if absent, refused if it holds a run already.
    config : RunConfig
        Written whole as ``config.toml``.
    engine : str
        Which engine carries the messages.
    """

    def __init__(self, path: Path, config: RunConfig, engine: str) -> None:
        if (path / "config.toml").exists():
            raise UserError(f"{path} holds a run already; choose another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"the results folder {path} cannot be made: {error.strerror}; choose another --out"
            ) from None
        self.path = path
        self.config = config
        self.clients: dict[int, ClientInfo] = {}
        self.last: RoundRecord | None = None
        self._rounds: list[pyarrow.Table] = []
        self.events: list[Event] = []
        self.summary: dict[str, Any] = {
            "status": RUNNING,
            "reason": "",
            "engine": engine,
            "rounds": 0,
            "model_sha256": "",
            "metrics": {},
            "per_client": {},
            "references": {},
            "warnings": [],
        }
        values = {key: value for key, value in config.to_run_config().items() if key != "out"}
        (path / "config.toml").write_text(tomli_w.dumps(values), encoding="utf-8")
        (path / "events.jsonl").touch()
        self._write_json("environment.json", {"engine": engine, "seed": config.seed, **environment()})
        self.write_summary()

    # -- what happens -----------------------------------------------------------------------------

    def joined(self, clients: dict[int, ClientInfo]) -> None:
        """Remember what each client holds."""
        self.clients = clients
        self.summary["clients"] = {str(client): asdict(info) for client, info in clients.items()}
        self.write_summary()

    def setup_done(self, spent: Mapping[str, Metrics]) -> None:
        """Remember what scaling and set-up cost each client: no round of its own."""
        self.summary["setup"] = dict(spent)
        self.write_summary()

    def event(self, event: Event) -> None:
        """Append to ``events.jsonl``."""
        self.events.append(event)
        with (self.path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(event)) + "\n")

    def round_done(self, record: RoundRecord) -> None:
        """Write the metrics of a round, the scores and the summary."""
        self.last = record
        self._rounds.append(_tidy(record))
        self._write_rounds()
        self.save_scores("federated", record.scores)
        self.summary.update(
            rounds=record.server_round,
            metrics=record.evaluate["all"],
            per_client={client: values for client, values in record.evaluate.items() if client != "all"},
            threshold=asdict(record.threshold),
        )
        self.write_summary()

    def save_model(self, arrays: Arrays) -> None:
        """Write ``model.npz`` and its digest."""
        save_arrays(self.path / "model.npz", arrays)
        self.summary["model_sha256"] = digest(arrays)
        self.write_summary()

    def save_reference(self, name: str, metrics: Mapping[str, Metrics], scores: Scores) -> None:
        """Add a reference to the summary, its scores beside the run's own."""
        self.summary["references"][name] = dict(metrics["all"])
        self.summary.setdefault("references_per_client", {})[name] = {
            client: values for client, values in metrics.items() if client != "all"
        }
        self.save_scores(name, scores)
        self.write_summary()

    def save_scores(self, name: str, scores: Scores) -> None:
        """Write summed score histograms, from which every curve can be drawn again."""
        arrays = {**scores.legitimate.to_arrays("legitimate"), **scores.fraud.to_arrays("fraud")}
        save_arrays(self.path / f"scores-{name}.npz", arrays)

    def finish(self, status: str, reason: str = "") -> None:
        """Set the final status."""
        self.summary.update(status=status, reason=reason)
        self.write_summary()

    # -- files ------------------------------------------------------------------------------------

    def write_summary(self) -> None:
        """Write ``summary.json``; undefined numbers are null."""
        self._write_json("summary.json", self.summary)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        partial = self.path / f"{name}.partial"
        indent = 2 if len(self.clients) <= _MOST_INDENTED else None  # without, C code writes it, 10x faster
        partial.write_text(json.dumps(without_nan(content), indent=indent) + "\n", encoding="utf-8")
        partial.replace(self.path / name)

    def _write_rounds(self) -> None:
        import pyarrow
        import pyarrow.parquet

        partial = self.path / "rounds.parquet.partial"
        pyarrow.parquet.write_table(pyarrow.concat_tables(self._rounds), partial)
        partial.replace(self.path / "rounds.parquet")


def _tidy(record: RoundRecord) -> pyarrow.Table:
    """Return a round's metrics as one row a value: converted once, however many rounds follow."""
    import pyarrow

    rows = [
        (record.server_round, phase, client, name, value)
        for phase, clients in (("train", record.train), ("evaluate", record.evaluate))
        for client, metrics in clients.items()
        for name, value in metrics.items()
    ]
    kinds = (pyarrow.int64(), pyarrow.string(), pyarrow.string(), pyarrow.string(), pyarrow.float64())
    return pyarrow.table(
        {
            name: pyarrow.array(column, kind)
            for name, column, kind in zip(COLUMNS, zip(*rows, strict=True), kinds, strict=True)
        }
    )


def load_scores(folder: Path, name: str) -> Scores | None:
    """Return score histograms that :meth:`ResultsFolder.save_scores` wrote, or None."""
    path = folder / f"scores-{name}.npz"
    if not path.exists():
        return None
    arrays = load_arrays(path)
    return Scores(Histogram.from_arrays(arrays, "legitimate"), Histogram.from_arrays(arrays, "fraud"))


def mark_interrupted(folder: Path, failed_since: bool = False) -> None:
    """Set the status of a run whose process is gone, unless it had ended.

    With ``failed_since`` a failure counts as the interruption it came of: a run whose connection is cut
    may say that it failed before it is gone.
    """
    path = folder / "summary.json"
    if not path.exists():
        return
    summary = json.loads(path.read_text(encoding="utf-8"))
    if summary["status"] == RUNNING or (failed_since and summary["status"] == FAILED):
        summary.update(status=INTERRUPTED, reason="stopped before the last round")
        path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
