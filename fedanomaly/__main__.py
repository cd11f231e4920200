"""``python -m fedanomaly``: partitions, runs, studies, the benchmark, scores of rows, credentials."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.grid_commands import (
    add_benchmark,
    add_study,
    benchmark_command,
    study_command,
)
from fedanomaly.experiment.options import Parser, add_run_options
from fedanomaly.experiment.program import guarded
from fedanomaly.experiment.study_commands import (
    add_attack_study,
    add_privacy_study,
    attack_study_command,
    privacy_study_command,
)
from fedanomaly.experiment.thesis_command import add_thesis, thesis_command
from fedanomaly.federation.config import RunConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands; return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(arguments)
    return guarded(lambda: options.work(options, Console()), options.debug)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m fedanomaly",
        description="Look at a partition, list and compare runs, run studies and the benchmark, score rows, "
        "make test credentials.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    def add(name: str, help_: str, work: object) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_)
        command.add_argument("--debug", action="store_true", help="show tracebacks")
        command.set_defaults(work=work)
        return command

    split = add("partition", "Show who would hold which rows, before a run.", _partition)
    add_run_options(split)
    split.add_argument("--picture", metavar="FILE.png", help="also draw it")
    runs = add("runs", "List the runs in a folder.", _runs)
    runs.add_argument("folder", nargs="?", default="results", help="folder that holds runs (results)")
    both = add("compare", "Put two runs side by side.", _compare)
    both.add_argument("first", help="a run's folder")
    both.add_argument("second", help="another run's folder")
    score = add("score", "Apply a saved model to new rows.", _score)
    score.add_argument("model", help="a run's model.npz")
    score.add_argument("rows", help="CSV or parquet file with the model's features as columns")
    score.add_argument("--out", metavar="FILE.csv", help="where to write the scores (standard output)")
    why = add("explain", "Say which features made a row anomalous.", _explain)
    why.add_argument("model", help="a run's model.npz")
    why.add_argument("rows", help="CSV or parquet file with the model's features as columns")
    why.add_argument("--row", type=int, required=True, metavar="N", help="which data row, from 0")
    why.add_argument("--shap", action="store_true", help="by SHAP, for comparison (pip install shap)")
    why.add_argument("--picture", metavar="FILE.png", help="also draw it")
    report = add("report", "Write the report of a run once more.", _report)
    report.add_argument("run", help="a run's folder")
    add_study(add("study", "Run a study: a grid of runs from a TOML file.", study_command))
    everything = "Compare all detectors, aggregations and partitions on ADBench tables."
    add_benchmark(add("benchmark", everything, benchmark_command))
    thesis = add("thesis", "The study this toolkit grew from, as published and corrected.", thesis_command)
    add_thesis(thesis)
    attack = add(
        "attack-study", "Detection quality against the share of hostile clients.", attack_study_command
    )
    add_attack_study(attack)
    private = add("privacy-study", "Detection quality against the privacy budget.", privacy_study_command)
    add_privacy_study(private)
    keys = add("credentials", "Make a test CA, a server certificate and client keys.", _credentials)
    keys.add_argument("folder", help="folder to make")
    keys.add_argument("--clients", type=int, default=5, help="number of client keys (5)")
    keys.add_argument("--hosts", nargs="*", default=[], help="the server's names besides localhost")
    return parser


def _partition(options: argparse.Namespace, console: Console) -> int:
    from fedanomaly.experiment.live import DownloadBar
    from fedanomaly.federation.layout import DOWNLOAD_PROGRESS, layout
    from fedanomaly.partition import summarise

    known = set(RunConfig.__dataclass_fields__)
    given = {key: value for key, value in vars(options).items() if key in known and value is not None}
    config = RunConfig.from_mapping(given, "the command line")
    DOWNLOAD_PROGRESS.set(DownloadBar(console))
    held = layout(config)
    summary = summarise(held.table, held.indices)
    for note in held.notes:
        console.print(f"note: {note}", style="yellow", soft_wrap=True)
    _show(console, summary.records(), f"{config.data}, partition {config.partition}, seed {config.seed}")
    for name, value in summary.overall().items():
        console.print(f"{name.replace('_', ' ')}: {value:.4g}", highlight=False)
    if options.picture:
        from fedanomaly.evaluation.plots import fraud_distribution

        names = [str(client) for client in summary.client]
        title = f"{config.data}, partition {config.partition}"
        picture = fraud_distribution(
            names, summary.rows, summary.anomalies, Path(options.picture), title=title
        )
        console.print(f"picture: {picture}", highlight=False, soft_wrap=True)
    return 0


def _runs(options: argparse.Namespace, console: Console) -> int:
    from fedanomaly.experiment.store import list_runs

    listed = list_runs(Path(options.folder))
    if not listed:
        console.print(f"no runs in {options.folder}")
        return 0
    _show(console, listed, f"{len(listed)} runs in {options.folder}")
    return 0


def _compare(options: argparse.Namespace, console: Console) -> int:
    from fedanomaly.experiment.store import compare

    differing, figures = compare(Path(options.first), Path(options.second))
    names = (Path(options.first).name, Path(options.second).name)
    options_table = [{"option": name, names[0]: one, names[1]: other} for name, one, other in differing]
    if options_table:
        _show(console, options_table, "what was asked for differently")
    metrics = [
        {"metric": name, names[0]: one, names[1]: other, "difference": _difference(one, other)}
        for name, one, other in figures
    ]
    _show(console, metrics, "over all clients, after the last round")
    return 0


def _score(options: argparse.Namespace, console: Console) -> int:
    import pandas as pd

    from fedanomaly.experiment.model_file import open_model
    from fedanomaly.experiment.scoring_file import read_rows

    model = open_model(Path(options.model))
    X = read_rows(Path(options.rows), model.feature_names, model.detector.n_features_in_)
    scores = model.score_samples(X)
    frame = pd.DataFrame(
        {
            "row": range(len(X)),
            "anomaly_score": -scores,
            "anomaly": (scores < model.detector.offset_).astype(int),
        }
    )
    if options.out:
        frame.to_csv(options.out, index=False)
        flagged = int(frame["anomaly"].sum())
        text = f"{len(X)} rows scored, {flagged} flagged: {options.out}"
        console.print(text, highlight=False, soft_wrap=True)
    else:
        frame.to_csv(sys.stdout, index=False)
    return 0


def _explain(options: argparse.Namespace, console: Console) -> int:
    from fedanomaly.experiment.explaining import explain_row
    from fedanomaly.experiment.model_file import open_model
    from fedanomaly.experiment.scoring_file import read_rows

    model = open_model(Path(options.model))
    X = read_rows(Path(options.rows), model.feature_names, model.detector.n_features_in_)
    found = explain_row(model, X, options.row, shap=options.shap)
    verdict = "flagged" if found.flagged else "not flagged"
    title = f"row {options.row}: anomaly score {found.anomaly_score:.6g}, {verdict}"
    console.print(title, highlight=False)
    _show(console, found.records(), found.method)
    if options.picture:
        picture = found.draw(Path(options.picture), f"{model.detector.name}, {title}")
        console.print(f"picture: {picture}", highlight=False, soft_wrap=True)
    return 0


def _report(options: argparse.Namespace, console: Console) -> int:
    from fedanomaly.experiment.report import write_run_report
    from fedanomaly.experiment.store import read_summary

    read_summary(Path(options.run))
    console.print(f"report: {write_run_report(Path(options.run))}", highlight=False, soft_wrap=True)
    return 0


def _credentials(options: argparse.Namespace, console: Console) -> int:
    from fedanomaly.federation.deployment.credentials import make_credentials

    if options.clients < 1:
        raise UserError("--clients must be at least 1")
    folder = Path(options.folder)
    written = make_credentials(folder, options.clients, tuple(options.hosts))
    console.print(
        f"{len(written)} files in {folder}, for tests only, valid for 90 days. "
        f"Server: --credentials {folder}; each client needs ca.crt and its own client-N.key, "
        "and --credentials with their folder.",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _show(console: Console, rows: Sequence[Mapping[str, object]], title: str) -> None:
    """Print rows as a table, or as tab-separated lines where the output is no terminal."""
    if not console.is_terminal:
        console.print("\t".join(rows[0]), soft_wrap=True, highlight=False)
        for row in rows:
            line = "\t".join(_text(value) for value in row.values())
            console.print(line, soft_wrap=True, highlight=False)
        return
    table = Table(title=title, title_justify="left")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    console.print(table)


def _text(value: object) -> str:
    if value is None or value != value:
        return "undefined"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.4f}"
    return str(value)


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else other - one


if __name__ == "__main__":
    raise SystemExit(main())
