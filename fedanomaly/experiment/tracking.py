"""A grid's store copied to MLflow: a run a cell. Off unless asked for; needs no server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.journal import COMPLETED
from fedanomaly.experiment.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd

_IDENTITY = ("cell", "code", "environment")  # a cell run again by other code is another run
_PLACE = ("cell", "status", "error", "configuration", "round", "client")
_MOST_PARAMS, _MOST_METRICS = 100, 1000  # that MLflow takes at once


class Tracker:
    """A place where MLflow keeps runs.

    Parameters
    ----------
    where : str
        A folder, in which ``mlflow.db`` (SQLite) is made; or a tracking URI, ``sqlite:///FILE`` or
        ``http://HOST:PORT``.

    Raises
    ------
    UserError
        If MLflow is not installed, or the place cannot be used.
    """

    def __init__(self, where: str) -> None:
        # nothing is sent that nobody asked for, and nothing said about making tables
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError:
            raise UserError(
                "--mlflow needs MLflow, which is not installed: pip install 'fedanomaly[track]'"
            ) from None
        self._folder = None if "://" in where else Path(where).resolve()
        try:
            if self._folder:
                self._folder.mkdir(parents=True, exist_ok=True)
            self.uri = f"sqlite:///{self._folder / 'mlflow.db'}" if self._folder else where
            self.client = MlflowClient(self.uri)
        except (MlflowException, OSError) as error:
            raise UserError(f"MLflow cannot use {where}: {' '.join(str(error).split())}") from None

    def log(self, frame: pd.DataFrame, experiment: str) -> str:
        """Log every cell of a grid that is not there yet; return a sentence about it.

        Parameters
        ----------
        frame : DataFrame
            As :func:`~fedanomaly.experiment.grid.run_grid` returns it.
        experiment : str
            MLflow's name for the grid.

        Notes
        -----
        Options become parameters, figures over all clients become metrics with the round as their step,
        and provenance, fingerprints and the cell's digest become tags. The clients' own figures stay in
        the parquet.
        """
        number = self._experiment(experiment)
        there = set()
        for run in list(self._runs(number)):
            if run.info.status == "RUNNING":  # cut short by whatever ended the program
                self.client.delete_run(run.info.run_id)
            else:
                there.add(tuple(run.data.tags.get(name) for name in _IDENTITY))
        new = 0
        for _, rows in frame[frame["client"] == "all"].groupby("cell", sort=False):
            if tuple(rows.iloc[0][name] for name in _IDENTITY) not in there:
                self._log_cell(number, rows.to_dict("records"))
                new += 1
        return f"MLflow: {new:,} new runs in the experiment {experiment!r} of {self.uri}"

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        files = (self._folder / "artifacts").as_uri() if self._folder else None  # or it would be ./mlruns
        return str(self.client.create_experiment(name, artifact_location=files))

    def _runs(self, experiment: str) -> Iterator[Any]:
        token: str | None = ""
        while token is not None:
            page = self.client.search_runs([experiment], max_results=1000, page_token=token or None)
            yield from page
            token = page.token or None

    def _log_cell(self, experiment: str, rows: Sequence[Mapping[Any, Any]]) -> None:
        from mlflow.entities import Metric, Param

        last = rows[-1]
        options = json.loads(last["configuration"])
        described = {*options, *_PLACE, *Provenance("", "", "", "").columns()}
        figures = [name for name in last if name not in described]
        texts = [name for name in figures if isinstance(last[name], str)]
        tags = {name: str(last[name]) for name in (*_IDENTITY, "version", "git_revision", *texts)}
        if last["error"]:
            tags["error"] = str(last["error"])
        name = "{detector} by {aggregation}, {partition}, seed {seed}".format(**options)
        run = self.client.create_run(experiment, tags=tags, run_name=name).info
        params = [Param(option, str(value)) for option, value in options.items()]
        metrics = [
            Metric(figure, float(row[figure]), run.start_time, int(row["round"]))
            for row in rows
            for figure in figures
            if isinstance(row[figure], Real) and row[figure] == row[figure]  # undefined is no metric
        ]
        for start in range(0, len(params), _MOST_PARAMS):
            self.client.log_batch(run.run_id, params=params[start : start + _MOST_PARAMS])
        for start in range(0, len(metrics), _MOST_METRICS):
            self.client.log_batch(run.run_id, metrics=metrics[start : start + _MOST_METRICS])
        self.client.set_terminated(run.run_id, "FINISHED" if last["status"] == COMPLETED else "FAILED")
