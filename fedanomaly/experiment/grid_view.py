"""What a person sees while a grid runs: a bar with the time left, or a line now and then."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fedanomaly.federation.config import RunConfig

SECONDS_BETWEEN_LINES = 15.0


class GridView:
    """Shows how far a grid has come.

    Parameters
    ----------
    console : rich.console.Console
        Where to; its ``is_terminal`` decides between bar and lines.
    title : str
        What is run.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title
        self.failures: Counter[str] = Counter()
        self._cells = self._before = self._finished = 0
        self._started = self._told = time.monotonic()
        self._task: TaskID | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=600,
            auto_refresh=False,  # no thread: the process is forked
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()
        if self._finished < self._cells:
            kept = (
                f"{self._finished:,} of {self._cells:,} cells are kept: the same command goes on from there"
            )
            self._line(kept)
        for error, times in self.failures.most_common(10):
            self._line(f"failed {times:,} times: {error}", style="red")

    def started(self, cells: int, finished: int, outdated: int) -> None:
        """Show what there is to do."""
        self._cells, self._before, self._finished = cells, finished, finished
        there = f", {finished:,} of them finished before" if finished else ""
        again = f"; {outdated:,} finished by other code or packages are run again" if outdated else ""
        self._line(f"{self.title}: {cells:,} cells{there}{again}")
        self._started = self._told = time.monotonic()
        self._task = self._bar.add_task(self.title, total=cells, completed=finished)

    def done(self, config: RunConfig, error: str) -> None:
        """Show that one more cell is finished."""
        self._finished += 1
        if error:
            self.failures[f"{config.data}, {config.detector} by {config.aggregation}: {error}"] += 1
        now = time.monotonic()
        if self._task is not None:
            self._bar.update(self._task, completed=self._finished)
        if now - self._told < (0.2 if self.console.is_terminal else SECONDS_BETWEEN_LINES):
            return
        self._told = now
        if self.console.is_terminal:
            self._bar.refresh()
            return
        left = (now - self._started) / (self._finished - self._before) * (self._cells - self._finished)
        failed = f", {self.failures.total():,} failed" if self.failures else ""
        self._line(f"{self._finished:,} of {self._cells:,} cells{failed}, about {left:,.0f} s left")

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
