"""One step across the clients: ask, check every answer, combine what is sound."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.steps import Answer, WeightsStep
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.mailbox import ChosenNodes, Mailbox, Reply
from fedanomaly.federation.observer import Event, Metrics, Observer
from fedanomaly.federation.protocol import TRAIN, Declared, Task, bundle_of, content_of
from fedanomaly.federation.roster import Roster
from fedanomaly.federation.strategies import WeightsStrategy
from fedanomaly.federation.wire import pack, unpack

Check = Callable[[Arrays, int], None]


@dataclass(frozen=True)
class Received:
    """Sound answers of one step.

    Attributes
    ----------
    answers : list of (Turn, dict of ndarray)
        Ascending by client.
    messages : list of Message
        The same, as Flower delivered them.
    metrics : dict of str to dict of str to float
        Seconds, rows and bytes a client.
    """

    answers: list[Answer]
    messages: list[Message]
    metrics: dict[str, Metrics]


class Exchange:
    """Asks the clients of a roster; names every one whose answer cannot be used.

    Parameters
    ----------
    config : RunConfig
        Seed, rounds and minimum.
    mailbox : Mailbox
        Sends and waits.
    roster : Roster
        Partition id -> node id.
    observer : Observer
        Hears of failures.
    """

    def __init__(self, config: RunConfig, mailbox: Mailbox, roster: Roster, observer: Observer) -> None:
        self.config = config
        self.mailbox = mailbox
        self.roster = roster
        self.observer = observer

    def ask(
        self,
        kind: str,
        task: Task,
        requests: dict[int, bytes],
        check: Check,
    ) -> Received:
        """Send ``requests`` (by partition id) and return the answers that pass ``check``.

        Raises
        ------
        FederationError
            If fewer clients than the stated minimum answered soundly.
        """
        phase = _phase(kind, task)
        self.observer.asked(task.server_round, phase, task.participants)
        clients = {self.roster.nodes[client]: client for client in requests}
        contents = {node: content_of(task.facts(), requests[client]) for node, client in clients.items()}
        replies = self.mailbox.ask(
            kind,
            contents,
            task.server_round,
            lambda node: self.observer.answered(task.server_round, phase, clients[node]),
        )
        received = Received([], [], {})
        for node, client in sorted(clients.items(), key=lambda pair: pair[1]):
            try:
                self._take(received, replies[node], task, client, len(requests[client]), check)
            except InvalidArrays as error:
                self._left_out(task, phase, client, str(error))
        self._require_enough(received, task, phase, len(requests))
        return received

    def keep_agreeing(self, received: Received, task: Task) -> None:
        """Leave out answers that cannot be summed: other names, shapes or dtypes than most have."""
        forms = [
            tuple((name, array.shape, array.dtype.str) for name, array in sorted(answer.items()))
            for _, answer in received.answers
        ]
        if len(set(forms)) <= 1:
            return
        common = max(forms, key=forms.count)
        phase = _phase(TRAIN, task)
        for (turn, _), form in zip(list(received.answers), forms, strict=True):
            if form != common:
                self._left_out(
                    task, phase, turn.client, "its arrays have other names, shapes or dtypes than most"
                )
                received.metrics.pop(str(turn.client))
        received.answers[:] = [
            answer for answer, form in zip(received.answers, forms, strict=True) if form == common
        ]
        self._require_enough(received, task, phase, len(task.participants))

    def _left_out(self, task: Task, phase: str, client: int, reason: str) -> None:
        event = Event(task.server_round, phase, str(client), reason, "its answer was left out")
        self.observer.event(event)

    def _require_enough(self, received: Received, task: Task, phase: str, asked: int) -> None:
        needed = min(self.config.majority, asked)
        if len(received.answers) < needed:
            raise FederationError(
                f"round {task.server_round} ({phase}): {len(received.answers)} of {asked} clients "
                f"answered and at least {needed} are needed; see events.jsonl for the reasons"
            )

    def _take(
        self, received: Received, reply: Reply, task: Task, client: int, bytes_down: int, check: Check
    ) -> None:
        if reply.message is None:
            raise InvalidArrays(reply.failure)
        facts = Declared.from_content(reply.message.content)
        if facts.client != client:
            raise InvalidArrays(f"it answered as client {facts.client}")
        if facts.rows != int(self.roster.rows[client]):
            raise InvalidArrays(
                f"it now declares {facts.rows} training rows, before {self.roster.rows[client]}"
            )
        bundle = bundle_of(reply.message.content)
        arrays = unpack(bundle)
        check(arrays, client)
        received.answers.append((task.turn(self.config.seed, self.config.rounds, client), arrays))
        received.messages.append(reply.message)
        received.metrics[str(client)] = {
            "rows": float(facts.rows),
            "seconds": facts.seconds,
            "bytes_up": float(len(bundle)),
            "bytes_down": float(bytes_down),
        }


def _phase(kind: str, task: Task) -> str:
    if kind != TRAIN:
        return "evaluate"
    return "train" if task.server_round else task.phase


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the notes Flower's strategies log; the observer is told all that matters."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def average_weights(
    exchange: Exchange,
    strategy: WeightsStrategy,
    step: WeightsStep,
    task: Task,
    weights: Arrays,
    request: Arrays,
    state: Arrays,
) -> tuple[Arrays, dict[str, Metrics]]:
    """Let a Flower strategy plan the round and average the clients' weights.

    Parameters
    ----------
    weights : dict of ndarray
        The current weights, float64.
    request : dict of ndarray
        What the step sends besides.

    Returns
    -------
    dict of ndarray
        The new weights.
    dict
        Metrics a client.
    """
    nodes = {exchange.roster.nodes[client]: client for client in task.participants}
    current = _plain(weights)
    with _quiet():
        planned = list(
            strategy.configure_train(task.server_round, current, ConfigRecord(), ChosenNodes(nodes))
        )
    told = planned[0].content.config_records["config"]  # FedProx tells clients its proximal term here
    extra = {"proximal_mu": np.asarray(told["proximal-mu"])} if "proximal-mu" in told else {}
    packed = pack({**request, **weights, **extra})
    requests = dict.fromkeys(task.participants, packed)

    def check(arrays: Arrays, client: int) -> None:
        step.check(state, arrays, task.turn(exchange.config.seed, exchange.config.rounds, client))

    received = exchange.ask(TRAIN, task, requests, check)
    with _quiet():
        averaged, _ = strategy.aggregate_train(task.server_round, _for_strategy(received))
    if averaged is None:
        raise FederationError(f"round {task.server_round}: the strategy gave no weights for these clients")
    return {name: array.numpy() for name, array in averaged.items()}, received.metrics


def _for_strategy(received: Received) -> list[Message]:
    """Return replies that hold what Flower's strategies expect: one array record, one metric record."""
    for message, (turn, arrays) in zip(received.messages, received.answers, strict=True):
        rows = int(received.metrics[str(turn.client)]["rows"])
        metrics = MetricRecord({"num-examples": rows})
        message.content = RecordDict({"arrays": _plain(arrays), "metrics": metrics})
    return received.messages


def _plain(arrays: Arrays) -> ArrayRecord:
    """Return arrays in Flower's own serialisation, as its strategies average them."""
    return ArrayRecord({name: FlowerArray(np.asarray(array)) for name, array in arrays.items()})
