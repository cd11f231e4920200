"""One step across the clients: ask, check every answer, hand on what is sound, some clients at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import Step
from fedanomaly.federation.combine import Tally
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.observer import Event, Observer
from fedanomaly.federation.post import Post
from fedanomaly.federation.protocol import TRAIN, Task
from fedanomaly.federation.replies import Replies
from fedanomaly.federation.roster import Roster
from fedanomaly.federation.spent import Spent

Take = Callable[[Answers], dict[int, str]]


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

    def ask(self, kind: str, task: Task, requests: Mapping[int, Arrays], take: Take) -> Spent:
        """Send ``requests`` (by partition id) and give the answers to ``take``, a batch at a time.

        Nothing is kept here: answers that ``take`` adds to a sum are forgotten at once.

        Parameters
        ----------
        take : callable
            Gets answers in ascending order of client, whatever the order of arrival. Returns what is
            wrong with those that are not sound, by client: they are left out, by name.

        Returns
        -------
        Spent
            By all clients whose answers were sound.

        Raises
        ------
        FederationError
            If fewer clients than the stated minimum answered soundly.
        """
        number, phase = task.server_round, _phase(kind, task)
        self.observer.asked(number, phase, task.participants)
        nodes = {self.roster.nodes[client]: client for client in sorted(requests)}
        by_node = {node: requests[client] for node, client in nodes.items()}
        spent: list[Spent] = []

        def arrived(node: int) -> None:
            self.observer.answered(number, phase, nodes[node])

        def turn(client: int) -> Turn:
            return task.turn(self.config.seed, self.config.rounds, client)

        for replies in self.post.ask(kind, task, by_node, arrived):
            clients = [nodes[node] for node in replies.nodes]
            wrong = self._unfit(clients, replies)
            answers = Answers(clients, turn, replies.batch).without(wrong)
            if len(answers):
                wrong |= take(answers)
            spent.append(Spent(clients, replies.spent).without(wrong))
            wrong |= {nodes[node]: reason for node, reason in replies.failures.items()}
            for client, reason in sorted(wrong.items()):
                self._left_out(task, phase, client, reason)
            del replies, answers  # before the next ones come: never two batches in memory
        total = Spent.joined(spent)
        self._require_enough(len(total), task, phase, len(requests))
        return total

    def agreed(self, tally: Tally, spent: Spent, task: Task) -> tuple[Arrays, Spent]:
        """Return the sum that most answers agree to, and what these clients spent; others are left out."""
        total, outvoted = tally.result()
        phase = _phase(TRAIN, task)
        for client in outvoted:
            self._left_out(task, phase, client, "its arrays have other names, shapes or dtypes than most")
        spent = spent.without(outvoted)
        self._require_enough(len(spent), task, phase, len(task.participants))
        return total, spent

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

    def _unfit(self, clients: list[int], replies: Replies) -> dict[int, str]:
        """Return why replies cannot be an answer of the client they should come from, by that client."""
        declared = [float(self.roster.infos[client].train) for client in clients]
        rows = replies.spent[:, 0].tolist()
        if replies.clients == clients and rows == declared:
            return {}
        wrong: dict[int, str] = {}
        for client, said, now, before in zip(clients, replies.clients, rows, declared, strict=True):
            if said != client:
                wrong[client] = f"it answered as client {said}"
            elif now != before:
                wrong[client] = f"it now declares {now:.0f} training rows, before {before:.0f}"
        return wrong


def checked(step: Step, state: Arrays, answers: Answers) -> tuple[Answers, dict[int, str]]:
    """Return the answers to a step that are sound, and what is wrong with the others, by client."""
    if step.all_sound(state, answers):
        return answers, {}
    wrong: dict[int, str] = {}
    for turn, arrays in answers:
        try:
            step.check(state, arrays, turn)
        except InvalidArrays as error:
            wrong[turn.client] = str(error)
    return answers.without(wrong), wrong


def _phase(kind: str, task: Task) -> str:
    if kind != TRAIN:
        return "evaluate"
    return "train" if task.server_round else task.phase
