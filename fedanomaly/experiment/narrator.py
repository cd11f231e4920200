"""The run as a stream of small dictionaries, for a live table in this process or another."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedanomaly.federation.observer import ClientInfo, Event, Observer, RoundRecord

Fact = dict[str, Any]
Sink = Callable[[Fact], None]


class Narrator(Observer):
    """Turns what it observes into dictionaries with a ``kind``.

    Parameters
    ----------
    sink : callable
        Takes each dictionary: a table, or :class:`ProgressLog`.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def waiting(self, up: int, expected: int) -> None:
        """Tell how many clients are in."""
        self.sink({"kind": "waiting", "up": up, "expected": expected})

    def joined(self, clients: dict[int, ClientInfo]) -> None:
        """Tell what each client holds."""
        self.sink(
            {"kind": "joined", "clients": {str(client): asdict(info) for client, info in clients.items()}}
        )

    def asked(self, server_round: int, phase: str, clients: tuple[int, ...]) -> None:
        """Tell that a step began."""
        self.sink({"kind": "asked", "round": server_round, "phase": phase, "clients": list(clients)})

    def answered(self, server_round: int, phase: str, clients: Sequence[int]) -> None:
        """Tell that clients answered."""
        for client in clients:
            self.sink({"kind": "answered", "round": server_round, "phase": phase, "client": client})

    def event(self, event: Event) -> None:
        """Tell of a failure."""
        self.sink({"kind": "event", **asdict(event)})

    def round_done(self, record: RoundRecord) -> None:
        """Tell a round's metrics."""
        self.sink(
            {
                "kind": "round",
                "round": record.server_round,
                "metrics": dict(record.evaluate),
                "train": dict(record.train),
                "degenerate": record.threshold.degenerate,
            }
        )

    def doing(self, text: str) -> None:
        """Tell what happens after the rounds."""
        self.sink({"kind": "doing", "text": text})


class ProgressLog:
    """A file another process can follow: one JSON line a dictionary."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def __call__(self, fact: Fact) -> None:
        """Append ``fact``; NaN becomes null."""
        self._file.write(json.dumps(without_nan(fact)) + "\n")


def follow(path: Path) -> Iterator[Fact | None]:
    """Yield the dictionaries of a growing file, and None whenever there is nothing new."""
    while not path.exists():
        yield None
    with path.open(encoding="utf-8") as file:
        pending = ""
        while True:
            pending += file.read()
            *lines, pending = pending.split("\n")
            for line in lines:
                yield json.loads(line)
            if not lines:
                yield None


def without_nan(value: Any) -> Any:
    """Return ``value`` with every number that is not finite replaced by None, as JSON needs."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
