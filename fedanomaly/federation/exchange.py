"""One step across the clients: ask, check every answer, hand on what is sound, some clients at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.steps import Answer, Step
from fedanomaly.federation.combine import Tally
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.observer import Event, Metrics, Observer
from fedanomaly.federation.post import Failure, Post, Reply
from fedanomaly.federation.protocol import TRAIN, Task
from fedanomaly.federation.roster import Roster

Take = Callable[[list[Answer]], dict[int, str]]

BATCH_CLIENTS, BATCH_BYTES = 64, 1 << 18
"""Answers wait for each other until they are so many: what many small clients send is checked at once."""


class Exchange:
    """Asks the clients of a roster; names every one whose answer cannot be used.

    Parameters
    ----------
    config : RunConfig
        Seed, rounds and minimum.
    post : Post
        Carries requests and replies.
    roster : Roster
        Partition id -> node id.
    observer : Observer
        Hears of failures.
    """

    def __init__(self, config: RunConfig, post: Post, roster: Roster, observer: Observer) -> None:
        self.config = config
        self.post = post
        self.roster = roster
        self.observer = observer

    def ask(self, kind: str, task: Task, requests: Mapping[int, Arrays], take: Take) -> dict[str, Metrics]:
        """Send ``requests`` (by partition id) and give the answers to ``take``, a batch at a time.

        Nothing is kept here: answers that ``take`` adds to a sum are forgotten at once.

        Parameters
        ----------
        take : callable
            Gets turns and arrays in ascending order of client, whatever the order of arrival. Returns
            what is wrong with those that are not sound, by client: they are left out, by name.

        Returns
        -------
        dict of str to dict of str to float
            Rows, seconds and bytes of every client whose answer was sound.

        Raises
        ------
        FederationError
            If fewer clients than the stated minimum answered soundly.
        """
        phase = _phase(kind, task)
        self.observer.asked(task.server_round, phase, task.participants)
        nodes = {self.roster.nodes[client]: client for client in requests}
        by_node = {node: requests[client] for node, client in nodes.items()}
        metrics: dict[str, Metrics] = {}
        arriving = self._arriving(self.post.ask(kind, task, by_node), nodes, task.server_round, phase)
        for batch in _batches(self._fit(_ascending(arriving, requests), task, phase)):
            answers: list[Answer] = []
            for client, reply in batch:
                answers.append((task.turn(self.config.seed, self.config.rounds, client), reply.arrays))
                metrics[str(client)] = _spent(reply)
            for client, reason in take(answers).items():
                del metrics[str(client)]
                self._left_out(task, phase, client, reason)
            del batch, answers, reply  # before the next ones come: never two batches in memory
        self._require_enough(len(metrics), task, phase, len(requests))
        return metrics

    def agreed(self, tally: Tally, metrics: dict[str, Metrics], task: Task) -> Arrays:
        """Return the sum that most answers agree to; leave out those with other names, shapes or dtypes."""
        total, outvoted = tally.result()
        phase = _phase(TRAIN, task)
        for client in outvoted:
            self._left_out(task, phase, client, "its arrays have other names, shapes or dtypes than most")
            del metrics[str(client)]
        self._require_enough(len(metrics), task, phase, len(task.participants))
        return total

    def _arriving(
        self,
        replies: Iterable[tuple[int, Reply | Failure]],
        nodes: Mapping[int, int],
        number: int,
        phase: str,
    ) -> Iterator[tuple[int, Reply | Failure]]:
        for node, reply in replies:
            if isinstance(reply, Reply):
                self.observer.answered(number, phase, nodes[node])
            yield nodes[node], reply

    def _left_out(self, task: Task, phase: str, client: int, reason: str) -> None:
        event = Event(task.server_round, phase, str(client), reason, "its answer was left out")
        self.observer.event(event)

    def _require_enough(self, sound: int, task: Task, phase: str, asked: int) -> None:
        needed = min(self.config.majority, asked)
        if sound < needed:
            raise FederationError(
                f"round {task.server_round} ({phase}): {sound} of {asked} clients "
                f"answered and at least {needed} are needed; see events.jsonl for the reasons"
            )

    def _fit(
        self, replies: Iterable[tuple[int, Reply | Failure]], task: Task, phase: str
    ) -> Iterator[tuple[int, Reply]]:
        """Leave out, at once, replies that cannot be an answer of the client they should come from."""
        for client, reply in replies:
            if isinstance(reply, Failure):
                self._left_out(task, phase, client, reply.reason)
            elif reply.facts.client != client:
                self._left_out(task, phase, client, f"it answered as client {reply.facts.client}")
            elif reply.facts.rows != (before := self.roster.infos[client].train):
                reason = f"it now declares {reply.facts.rows} training rows, before {before}"
                self._left_out(task, phase, client, reason)
            else:
                yield client, reply


def checked(step: Step, state: Arrays, answers: list[Answer]) -> tuple[list[Answer], dict[int, str]]:
    """Return the answers to a step that are sound, and what is wrong with the others, by client."""
    if step.all_sound(state, answers):
        return answers, {}
    wrong: dict[int, str] = {}
    for turn, arrays in answers:
        try:
            step.check(state, arrays, turn)
        except InvalidArrays as error:
            wrong[turn.client] = str(error)
    return [answer for answer in answers if answer[0].client not in wrong], wrong


def _spent(reply: Reply) -> Metrics:
    return {
        "rows": float(reply.facts.rows),
        "seconds": reply.facts.seconds,
        "bytes_up": reply.bytes_up,
        "bytes_down": reply.bytes_down,
    }


def _batches(replies: Iterable[tuple[int, Reply]]) -> Iterator[list[tuple[int, Reply]]]:
    """Put replies together until they are many or large."""
    batch: list[tuple[int, Reply]] = []
    waiting = 0
    for client, reply in replies:
        batch.append((client, reply))
        waiting += sum([array.nbytes for array in reply.arrays.values()])
        if len(batch) == BATCH_CLIENTS or waiting > BATCH_BYTES:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


def _ascending(
    arriving: Iterable[tuple[int, Reply | Failure]], clients: Iterable[int]
) -> Iterator[tuple[int, Reply | Failure]]:
    """Put replies in ascending order of client, holding back only those that came too early."""
    expected = iter(sorted(clients))
    client = next(expected, None)
    early: dict[int, Reply | Failure] = {}
    for arrived, reply in arriving:
        early[arrived] = reply
        while client is not None and client in early:
            yield client, early.pop(client)
            client = next(expected, None)


def _phase(kind: str, task: Task) -> str:
    if kind != TRAIN:
        return "evaluate"
    return "train" if task.server_round else task.phase
