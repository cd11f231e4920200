"""Many runs as one table: over processes, resumable, with the same figures to the bit whenever repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.experiment.cell import KEEP, Outcome, outcome_of
from fedanomaly.experiment.journal import Finished, Journal, configuration_of
from fedanomaly.experiment.provenance import provenance
from fedanomaly.experiment.workers import Died, Executor, Processes, available_processors
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.layout import layout_key
from fedanomaly.federation.plan import make_plan, resolved

if TYPE_CHECKING:
    import pandas as pd

WORKER_DIED = "the process that ran it is gone (killed, or out of memory)"


class View(Protocol):
    """Who watches a grid; see :class:`~fedanomaly.experiment.grid_view.GridView`."""

    def started(self, cells: int, finished: int, outdated: int) -> None:
        """``finished`` of ``cells`` were there; ``outdated`` ones, of other code, are run again."""

    def done(self, config: RunConfig, error: str) -> None:
        """One more cell is finished; ``error`` is empty unless it failed."""


def run_grid(
    configs: Iterable[RunConfig],
    out: Path,
    *,
    keep: str = "final",
    workers: int | None = None,
    executor: Executor | None = None,
    view: View | None = None,
) -> pd.DataFrame:
    """Run every configuration on the local engine and return all figures as one tidy frame.

    Parameters
    ----------
    configs : iterable of RunConfig
        The cells; equal ones are run once. Each is a run without references, folder or report.
    out : Path
        Where the frame is stored, ``.parquet``; while the grid runs, finished cells are lines of
        ``NAME.journal.jsonl`` beside it.
    keep : {"final", "rounds", "clients"}
        Rows a cell leaves, see :data:`fedanomaly.experiment.cell.KEEP`.
    workers : int, optional
        Processes; default: as many as this process may use processors.
    executor : Executor, optional
        Who does the work, instead of processes on this machine.
    view : View, optional
        Told of every finished cell.

    Returns
    -------
    pandas.DataFrame
        One row a cell (and round, and client, as ``keep`` says), in the order of ``configs``:
        ``cell`` (digest of what was asked for), ``status`` (``completed`` or ``failed``), ``error``,
        every option of the run, ``configuration`` (the same as JSON), ``version``, ``git_revision``,
        ``environment`` and ``code`` (digests), then the figures of
        :func:`~fedanomaly.experiment.cell.run_cell`. Undefined figures are null.

    Raises
    ------
    UserError
        If a configuration is impossible, or ``out`` cannot be used; before anything runs.

    Notes
    -----
    Repeated on the same code and environment, all columns but
    :data:`~fedanomaly.experiment.cell.MEASURED` are equal to the bit, whoever does the work.
    Cells that the file holds already, run by the same code on the same packages, are taken over;
    those of other code are run again, and so are failed ones.
    """
    if out.suffix != ".parquet":
        raise UserError(f"results of a grid are a .parquet file, got --out {out}")
    if keep not in KEEP:
        raise UserError(f"keep must be one of {', '.join(KEEP)}, got {keep!r}")
    workers = workers if workers is not None else available_processors()
    if workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}")
    cells = {key_of(config, keep): config for config in map(_as_cell, configs)}
    if not cells:
        raise UserError("there is nothing to run: the grid has no cells")
    here = provenance()
    with Journal(out) as journal:
        current = {
            key: done
            for key, done in journal.finished.items()
            if (done.provenance.code, done.provenance.environment) == (here.code, here.environment)
            and not done.outcome.error
        }
        if lost := len(current.keys() - cells.keys()):
            raise UserError(
                f"{out} holds {lost} finished cells that are not asked for now and would be lost; "
                "choose another --out, or delete it"
            )
        left = {key: config for key, config in cells.items() if key not in current}
        outdated = sum(not done.outcome.error for done in journal.finished.values()) - len(current)
        if view:
            view.started(len(cells), len(current), outdated)
        executor = executor or Processes(min(workers, max(1, len(left))))
        if executor.forks:
            _warm_up(left.values())
        for task, result in executor.each(_groups(left), partial(_work, keep)):
            outcome = Outcome(error=WORKER_DIED) if isinstance(result, Died) else Outcome(**result)
            journal.append(task["cell"], Finished(outcome, here))
            if view:
                view.done(cells[task["cell"]], outcome.error)
        if not journal.complete:
            journal.write(cells, here.details)
    return load_grid(out)


def load_grid(path: Path) -> pd.DataFrame:
    """Return the stored frame of a grid."""
    import pandas as pd

    if not path.exists():
        raise UserError(f"there is no file {path}")
    return pd.read_parquet(path)


def key_of(config: RunConfig, keep: str) -> str:
    """Return the digest of all that decides what a cell leaves."""
    text = json.dumps([keep, configuration_of(config)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_cell(config: RunConfig) -> RunConfig:
    """Return the cell with all defaults spelled out; raise :class:`UserError` if it is impossible."""
    return replace(resolved(config), references=False, out="", name="")


def _warm_up(configs: Iterable[RunConfig]) -> None:
    """Load the compiled kernels that the cells need: forked workers find them, and no cell is charged."""
    for detector, aggregation in dict.fromkeys(
        (config.detector, config.aggregation) for config in configs if make_plan(config).detector.compiled
    ):
        tiny = RunConfig(data="wdbc", partition="iid", clients=3, rounds=1)
        outcome_of(replace(tiny, detector=detector, aggregation=aggregation))


Task = dict[str, Any]  # a cell on its way to a worker, as JSON can say it


def _work(keep: str, task: Task) -> dict[str, Any]:
    return asdict(outcome_of(RunConfig.from_mapping({**task["options"], "references": False}), keep))


def _groups(cells: Mapping[str, RunConfig]) -> list[list[Task]]:
    """Return the cells that share a table, a partition and folds together, the groups in keyed order.

    Large tables then lie anywhere, not at the end: the time left is told rightly from the first minute on.
    """
    groups: dict[object, list[Task]] = {}
    for key, config in cells.items():
        task = {"cell": key, "options": configuration_of(config)}
        groups.setdefault(layout_key(config), []).append(task)
    order = keyed_generator(0, "grid").permutation(len(groups))
    ordered = list(groups.values())
    return [ordered[place] for place in order]
