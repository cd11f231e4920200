"""One cell of a grid: a run on the local engine that leaves figures, and no folder, references or report."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fedanomaly.core.arrays import digest
from fedanomaly.core.errors import FedAnomalyError, UserError
from fedanomaly.experiment.model_file import Model
from fedanomaly.experiment.references import run_local
from fedanomaly.experiment.resources import Clock, memory_before, peak_memory, restart_peak
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.coordinator import Coordinator
from fedanomaly.federation.layout import layout, layout_key
from fedanomaly.federation.observer import Event, Metrics, Observer, RoundRecord
from fedanomaly.federation.plan import scaling_of

Figure = float | int | str | None
Row = dict[str, Figure]

KEEP = ("final", "rounds", "clients")
"""What a cell leaves: its last round over all clients, every round over all, or every round and client."""

MEASURED = ("cell_seconds", "run_seconds", "wall_seconds", "memory_mb", "train_seconds", "evaluate_seconds")
"""The columns that depend on the machine; all others are equal whenever a cell is run again."""

# an option of the run has the same name, or the name says too little beside the figures of training
_RENAMED = {
    "rows": "test_rows",
    "frauds": "test_frauds",
    "clients": "clients_evaluated",
    "seconds": "evaluate_seconds",
    "bytes_up": "evaluate_bytes_up",
    "bytes_down": "evaluate_bytes_down",
}
_SPENT = ("seconds", "bytes_up", "bytes_down")


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes
    ----------
    rows : list of dict
        Figures by name, one row a round and client kept; None where a figure is undefined.
    error : str
        Why there are none; empty if all went well.
    """

    rows: list[Row] = field(default_factory=list)
    error: str = ""


def outcome_of(config: RunConfig, keep: str = "final") -> Outcome:
    """Run a cell; whatever goes wrong in it is its outcome, so that other cells go on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of thousands of cells: what matters is in the figures
        try:
            return Outcome(run_cell(config, keep))
        except FedAnomalyError as error:
            return Outcome(error=" ".join(str(error).split()))
        except Exception as error:
            return Outcome(error=" ".join(f"{type(error).__name__}: {error}".split()))


def run_cell(config: RunConfig, keep: str = "final") -> list[Row]:
    """Run one configuration in this process and return its figures.

    Parameters
    ----------
    config : RunConfig
        The run; references are never computed (``local`` and ``pooled`` are cells of their own).
    keep : {"final", "rounds", "clients"}
        See :data:`KEEP`.

    Returns
    -------
    list of dict
        Each with ``round`` and ``client`` (a number, or ``all``); the metrics of
        :func:`fedanomaly.evaluation.evaluate`, with ``test_rows`` and ``test_frauds``; seconds and
        bytes of training so far (scaling and set-up included) and of this round's evaluation, over
        the clients; the facts of the data; ``events`` (clients that failed); ``model_sha256`` (as in a
        run's ``summary.json``; empty for personal models); ``cell_seconds`` (CPU time of everything),
        ``run_seconds`` and ``wall_seconds`` (CPU time and time on the wall of the federation, once the
        table is read and dealt out) and ``memory_mb`` (largest resident memory meanwhile, beyond what
        the process held before it read the table; None where the system does not tell).

    Raises
    ------
    UserError
        If what was asked for cannot be done.
    FederationError
        If too few clients answered.
    """
    if keep not in KEEP:
        raise UserError(f"what is kept of a cell must be one of {', '.join(KEEP)}, got {keep!r}")
    before = memory_before(layout_key(config))
    everything = Clock()
    table = layout(config).table
    restart_peak()
    federation = Clock()
    watch = _Watch(keep)
    # all clients are here: nobody is worth waiting for who cannot take part (without a training row)
    coordinator, last = run_local(replace(config, join_timeout=0.1), watch, exact_bytes=True)
    spent = {"run_seconds": federation.processor(), "wall_seconds": federation.wall()}
    peak = peak_memory()
    rows = watch.rows or watch.of(last)
    facts: Row = {
        "data_rows": len(table),
        "data_features": len(table.feature_names),
        "data_frauds": table.n_anomalies,
        "data_fingerprint": table.fingerprint,
        "events": watch.events,
        "model_sha256": _model_hash(coordinator),
        "cell_seconds": everything.processor(),
        **spent,
        "memory_mb": None if before is None or peak is None else peak - before,
    }
    return [{**facts, **row} for row in rows]


class _Watch(Observer):
    """Keeps the figures of the rounds, not their records: those hold models."""

    def __init__(self, keep: str) -> None:
        self.keep = keep
        self.rows: list[Row] = []
        self.events = 0
        self._spent: dict[str, Metrics] = {}

    def event(self, event: Event) -> None:
        self.events += 1

    def setup_done(self, spent: Mapping[str, Metrics]) -> None:
        self._add(spent)

    def round_done(self, record: RoundRecord) -> None:
        self._add({client: values for client, values in record.train.items() if client != "all"})
        if self.keep != "final":
            self.rows += self.of(record)

    def of(self, record: RoundRecord) -> list[Row]:
        """Return a round's rows."""
        clients = sorted(record.evaluate, key=lambda name: (name != "all", len(name), name))
        return [
            {
                "round": record.server_round,
                "client": client,
                **{
                    _RENAMED.get(name, name): _figure(value)
                    for name, value in record.evaluate[client].items()
                },
                **self._trained(client),
            }
            for client in (clients if self.keep == "clients" else ["all"])
        ]

    def _add(self, spent: Mapping[str, Metrics]) -> None:
        for client, values in spent.items():
            mine = self._spent.setdefault(client, dict.fromkeys(_SPENT, 0.0))
            for name in _SPENT:
                mine[name] += values[name]

    def _trained(self, client: str) -> Row:
        parts = list(self._spent.values()) if client == "all" else [self._spent.get(client, {})]
        return {f"train_{name}": float(sum(part.get(name, 0.0) for part in parts)) for name in _SPENT}


def _figure(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _model_hash(coordinator: Coordinator) -> str:
    if coordinator.plan.aggregation.personal:
        return ""
    scaling = scaling_of(coordinator.state)
    model = Model(coordinator.model(), scaling, coordinator.roster.feature_names)
    return digest(model.to_arrays())
