"""The commands ``study`` and ``benchmark``: their options, and what they print."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fedanomaly.core.errors import UserError

if TYPE_CHECKING:
    from fedanomaly.experiment.tracking import Tracker

MOST_SHOWN = 60  # lines of a table of means


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``study``."""
    parser.add_argument("file", metavar="studies/NAME.toml", help="what to run")
    parser.add_argument("--out", metavar="FOLDER", help="results/studies/NAME")
    _add_running(parser)


def study_command(options: argparse.Namespace, console: Console) -> int:
    """Run ``study``, or what is left of it, and write its page.

    Prints each combination's means, unless there are too many to read.
    """
    from fedanomaly.evaluation.markdown import table
    from fedanomaly.experiment.grid_view import GridView
    from fedanomaly.experiment.studies import read_study, run_study, summary
    from fedanomaly.experiment.study_report import write_study_report

    study = read_study(Path(options.file))
    folder = Path(options.out or Path("results") / "studies" / study.name)
    if folder.suffix == ".parquet":
        raise UserError(f"--out of a study is a folder, got {folder}")
    out = folder / f"{study.name}.parquet"
    running, tracker = _running(options), _tracker(options)
    with GridView(console, study.title) as view:
        frame = run_study(study, out, **running, view=view)
    means = summary(study, frame, ("average_precision", "auroc", "f1"))
    if 0 < len(means) <= MOST_SHOWN:
        _say(console, "after the last round, over all clients: mean over the seeds [95 % interval]")
        _say(console, table(list(means[0]), [list(row.values()) for row in means]))
    _say(console, f"{len(frame):,} rows: {out}")
    for path in write_study_report(study, frame, folder):
        _say(console, f"written: {path}")
    if tracker:
        _say(console, tracker.log(frame, study.name))
    return 0


def add_benchmark(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``benchmark``."""
    for name, what in (
        ("tables", "6_cardio cardio ...; default all in $FEDANOMALY_DATA/adbench"),
        ("detectors", "default all that need no labels"),
        ("aggregations", "default all; local and pooled are always beside them"),
        ("partitions", "default iid dirichlet label feature quantity"),
    ):
        parser.add_argument(f"--{name}", nargs="+", default=[], metavar="NAME", help=what)
    for name, number, what in (
        ("seeds", 5, "number of seeds"),
        ("clients", 10, "number of clients"),
        ("rounds", 5, "rounds of aggregations that improve with them"),
        ("rows", 10_000, "larger tables are cut to a keyed sample"),
    ):
        parser.add_argument(f"--{name}", type=int, default=number, metavar="N", help=f"{what} ({number})")
    parser.add_argument("--alpha", type=float, default=0.5, metavar="X", help="Dirichlet concentration (0.5)")
    parser.add_argument("--out", default="results/benchmark", metavar="FOLDER", help="results/benchmark")
    _add_running(parser)


def benchmark_command(options: argparse.Namespace, console: Console) -> int:
    """Run ``benchmark`` and write its tables and pictures."""
    from fedanomaly.experiment.benchmark import BenchmarkOptions, run_benchmark
    from fedanomaly.experiment.benchmark_report import write_benchmark_report
    from fedanomaly.experiment.grid_view import GridView

    asked = BenchmarkOptions(
        tables=tuple(options.tables),
        detectors=tuple(options.detectors),
        aggregations=tuple(options.aggregations),
        partitions=tuple(options.partitions),
        seeds=options.seeds,
        clients=options.clients,
        rounds=options.rounds,
        rows=options.rows,
        alpha=options.alpha,
    )
    folder = Path(options.out)
    running, tracker = _running(options), _tracker(options)
    with GridView(console, "benchmark") as view:
        frame = run_benchmark(asked, folder / "benchmark.parquet", **running, view=view)
    for path in write_benchmark_report(frame, folder):
        _say(console, f"written: {path}")
    if tracker:
        _say(console, tracker.log(frame, "benchmark"))
    return 0


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, metavar="N", help="processes (as many as processors)")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on Ray: a cluster's address (auto, HOST:PORT); without one, on this machine",
    )
    parser.add_argument(
        "--mlflow",
        nargs="?",
        const="results/mlflow",
        metavar="WHERE",
        help="also log to MLflow: a folder (results/mlflow) or a tracking URI",
    )


def _running(options: argparse.Namespace) -> dict[str, Any]:
    """Return who runs the cells, as ``run_grid`` takes it."""
    if options.ray is None:
        return {"workers": options.workers}
    from fedanomaly.experiment.ray_tasks import RayTasks

    if options.workers is not None:
        raise UserError("--workers is about processes on this machine; Ray has workers of its own")
    return {"executor": RayTasks(options.ray)}


def _tracker(options: argparse.Namespace) -> Tracker | None:
    """Return what logs to MLflow, if asked for; it is found out before anything runs that it cannot."""
    if options.mlflow is None:
        return None
    from fedanomaly.experiment.tracking import Tracker

    return Tracker(options.mlflow)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
