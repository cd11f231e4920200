"""``python -m fedanomaly thesis``: its options, and what it prints."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedanomaly.core.errors import UserError


def add_thesis(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``thesis``."""
    parser.add_argument("--data", default="paysim", help="paysim, or another data set (paysim)")
    parser.add_argument("--data-path", default="", metavar="FILE_OR_FOLDER", help="where the data lies")
    parser.add_argument(
        "--rows", type=int, default=20_000, metavar="N", help="rows to draw from it; 0: all (20000)"
    )
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="number of seeds (10)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--out", default="results/thesis", metavar="FOLDER", help="results/thesis")


def thesis_command(options: argparse.Namespace, console: Console) -> int:
    """Run ``thesis``: tables and pictures of the study as published and corrected."""
    from fedanomaly.experiment.thesis.report import findings, write_thesis_report
    from fedanomaly.experiment.thesis.reproduce import reproduce

    if options.seeds < 2 or options.workers < 1 or options.rows < 0:
        raise UserError("--seeds must be at least 2, --workers at least 1, --rows 0 or more")
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("seeds", total=options.seeds)
        frame = reproduce(
            options.data,
            rows=options.rows,
            data_path=options.data_path,
            seeds=range(options.seeds),
            workers=options.workers,
            progress=lambda done, _: bar.update(task, completed=done),
        )
    report = write_thesis_report(frame, Path(options.out))
    for item in findings(frame):
        why = f" ({', '.join(name.replace('_', ' ') for name in item.faults)})" if item.faults else ""
        console.print(f"{item.claim.published}: {item.verdict}{why}", highlight=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    return 0
