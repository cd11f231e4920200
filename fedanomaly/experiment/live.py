"""What a person sees while a run goes on: a live table in a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from fedanomaly.experiment.narrator import Fact

SHOWN = ("precision", "recall", "accuracy", "f1", "auroc", "average_precision")
HEADS = ("precision", "recall", "accuracy", "F1", "AUROC", "AP")
MOST_CLIENTS = 20
REFRESH_SECONDS = 0.1


class LiveView:
    """Shows the facts a :class:`~fedanomaly.experiment.narrator.Narrator` tells.

    Parameters
    ----------
    console : rich.console.Console
        Where to; its ``is_terminal`` decides between table and lines.
    rounds : int
        Rounds of the run.
    title : str
        What is being built, from what.
    """

    def __init__(self, console: Console, rounds: int, title: str) -> None:
        self.console = console
        self.rounds = rounds
        self.title = title
        self._clients: dict[str, dict[str, Any]] = {}
        self._states: dict[str, str] = {}
        self._metrics: dict[str, dict[str, float | None]] = {}
        self._round = 0
        self._shown = 0.0
        self._started = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} rounds"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
        )
        self._task = self._progress.add_task("waiting for clients", total=rounds)
        self._live = (
            Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live:
            self._live.update(self._render(), refresh=True)
            self._live.__exit__(*error)

    def __call__(self, fact: Fact) -> None:
        """Show one fact."""
        getattr(self, f"_on_{fact['kind']}", lambda _: None)(fact)
        now = time.monotonic()
        if self._live and (fact["kind"] != "answered" or now - self._shown >= REFRESH_SECONDS):
            self._shown = now  # a thousand clients may answer in a second
            self._live.update(self._render(), refresh=True)

    def tick(self) -> None:
        """Let the clock run while nothing happens."""
        if self._live:
            self._live.update(self._render(), refresh=True)

    # -- facts ------------------------------------------------------------------------------------

    def _on_waiting(self, fact: Fact) -> None:
        self._describe(f"{fact['up']} of {fact['expected']} clients are up")
        self._line(f"{fact['up']} of {fact['expected']} clients are up")

    def _on_joined(self, fact: Fact) -> None:
        self._clients = fact["clients"]

    def _on_asked(self, fact: Fact) -> None:
        self._describe(fact["phase"] if not fact["round"] else f"round {fact['round']} {fact['phase']}")
        for client in fact["clients"]:
            self._states[str(client)] = "working"

    def _on_answered(self, fact: Fact) -> None:
        self._states[str(fact["client"])] = "answered"

    def _on_event(self, fact: Fact) -> None:
        client = fact["client"]
        name = f"client {client}" if client.isdigit() else client
        self._states[client] = "[red]failed[/red]" if "late" not in fact["what"] else "joined late"
        text = f"round {fact['server_round']} {fact['phase']}: {name}: {fact['what']} ({fact['action']})"
        self.console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)

    def _on_round(self, fact: Fact) -> None:
        self._metrics = fact["metrics"]
        self._round = fact["round"]
        self._progress.update(self._task, completed=fact["round"])
        if self._live:
            return
        self._line(f"round {fact['round']}/{self.rounds}  {self._figures('all')}")
        clients = [client for client in self._metrics if client != "all"]
        for client in clients if len(clients) <= MOST_CLIENTS else ():
            self._line(f"  client {client:>3}  {self._figures(client)}")
        if fact["round"] < self.rounds:
            left = (time.monotonic() - self._started) / fact["round"] * (self.rounds - fact["round"])
            self._line(f"  about {left:.0f} s left")
        if fact.get("degenerate"):
            self._line(f"  the threshold is degenerate: {fact['degenerate']}")

    def _on_doing(self, fact: Fact) -> None:
        self._describe(fact["text"])
        self._line(fact["text"])

    # -- rendering --------------------------------------------------------------------------------

    def _describe(self, text: str) -> None:
        self._progress.update(self._task, description=text)

    def _line(self, text: str) -> None:
        if not self._live:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _figures(self, client: str) -> str:
        metrics = self._metrics[client]
        text = "  ".join(
            f"{head} {_number(metrics.get(name))}" for name, head in zip(SHOWN, HEADS, strict=True)
        )
        if client == "all":
            text += f"  (flag nothing: accuracy {_number(metrics.get('accuracy_flag_nothing'))})"
        return text

    def _render(self) -> Group:
        table = Table(title=self.title, title_justify="left", expand=False)
        table.add_column("client")
        for head in ("rows", "test frauds"):
            table.add_column(head, justify="right")
        for head in HEADS:
            table.add_column(head, justify="right")
        table.add_column("state")
        shown = list(self._clients)[:MOST_CLIENTS]
        for client in shown:
            self._add(table, client, self._clients[client]["train"], self._clients[client]["test_frauds"])
        if len(self._clients) > len(shown):
            table.add_row(f"... {len(self._clients) - len(shown)} more")
        table.add_section()
        rows = sum(info["train"] for info in self._clients.values())
        frauds = sum(info["test_frauds"] for info in self._clients.values())
        self._add(table, "all", rows, frauds)
        return Group(table, self._progress)

    def _add(self, table: Table, client: str, rows: int, frauds: int) -> None:
        metrics = self._metrics.get(client, {})
        figures = [_number(metrics.get(name)) if metrics else "" for name in SHOWN]
        state = f"round {self._round}" if client == "all" else self._states.get(client, "")
        table.add_row(
            client, f"{rows:,}", f"{frauds:,}", *figures, state, style="bold" if client == "all" else ""
        )


class DownloadBar:
    """Shows how far an official download has come: a bar in a terminal, one line anywhere else."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None

    def __call__(self, file: str, done: int, total: int | None) -> None:
        """Show that ``done`` of ``total`` bytes of ``file`` are here."""
        if self._bar is None:
            self.console.print(f"downloading {file} ...", highlight=False)
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                TimeRemainingColumn(),
                console=self.console,
                disable=not self.console.is_terminal,
            )
            self._bar.start()
            self._task = self._bar.add_task(file, total=total)
        self._bar.update(self._task, completed=done, total=total)
        if total is not None and done >= total:
            self._bar.stop()
            self._bar = None


def _number(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.4f}"
