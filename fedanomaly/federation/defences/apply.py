"""Where the server's defences act: between the clients' answers and their combination."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.steps import AdditiveStep, Step
from fedanomaly.federation.defences import Defences
from fedanomaly.federation.observer import Event, Observer
from fedanomaly.federation.protocol import ROUND, Task

WEIGHT = "num-examples"


def defended(
    defences: Defences,
    step: Step,
    state: Arrays,
    answers: Sequence[Answer],
    task: Task,
    observer: Observer,
    needed: int,
) -> list[Answer]:
    """Return the answers to combine; whoever is left out is named.

    Parameters
    ----------
    answers : sequence of (Turn, dict of ndarray)
        Checked, ascending by client.
    needed : int
        Least number of answers to keep: where more look hostile, the most suspicious go.
    """
    phase = "train" if task.phase == ROUND else task.phase
    out: set[int] = set()
    for client, reason in defences.suspects(step, state, answers).items():
        keep = len(answers) - len(out) <= needed
        action = "kept: too few answers would remain" if keep else "its answer was left out"
        observer.event(Event(task.server_round, phase, str(client), reason, action))
        if not keep:
            out.add(client)
    kept = [answer for answer in answers if answer[0].client not in out]
    return defences.weighed(state["rows"], kept) if isinstance(step, AdditiveStep) else kept


def note_bounds(defences: Defences, rows: Array, observer: Observer, server_round: int) -> Array:
    """Return the rows by which clients weigh; whoever is cut is named."""
    shares = defences.shares(rows)
    for client in np.flatnonzero(shares < rows):
        what = f"declares {rows[client]} training rows, many times the median client's"
        action = f"weighs as if it had {shares[client]}"
        observer.event(Event(server_round, "join", str(client), what, action))
    return shares


class BoundedStrategy(Strategy):
    """Any Flower strategy, with the clients' weights bounded before it averages.

    Parameters
    ----------
    strategy : Strategy
        Averages.
    defences : Defences
        Bound the weights.
    """

    def __init__(self, strategy: Strategy, defences: Defences) -> None:
        self.strategy = strategy
        self.defences = defences

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average with bounded weights."""
        listed = list(replies)
        metrics = [next(iter(reply.content.metric_records.values())) for reply in listed]
        rows = np.array([metric[WEIGHT] for metric in metrics], dtype=np.int64)
        for metric, share in zip(metrics, self.defences.shares(rows), strict=True):
            metric[WEIGHT] = int(share)
        return self.strategy.aggregate_train(server_round, listed)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Plan the round."""
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Plan the evaluation."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Aggregate the evaluation."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """Log the strategy."""
        self.strategy.summary()
