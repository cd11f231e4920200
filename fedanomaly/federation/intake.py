"""What becomes of answers as they come in; a worker does it for its clients, the server for all others.

An intake takes answers, ascending by client, and refuses those that are not sound. What it holds is
named arrays, which another intake of the same kind adds: workers look at their clients' answers at the
same time, and the server only puts together what they made of them, to the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Arrays, under_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.steps import Step
from fedanomaly.federation.question import Account, Question
from fedanomaly.federation.replies import Replies

WHO = "who"


class Intake(ABC):
    """Takes answers to a question.

    Parameters
    ----------
    question : Question
        What was asked.
    passes_on : bool
        Whether it works for another intake.
    """

    name: ClassVar[str]
    whole_blocks: ClassVar[bool] = False  # it has to see blocks of clients from their first one on

    def __init__(self, question: Question, passes_on: bool = False) -> None:
        self.question = question
        self.passes_on = passes_on
        self.forget()

    @abstractmethod
    def take(self, answers: Answers) -> dict[int, str]:
        """Check answers and take those that are sound; return what is wrong with the others, by client."""

    @abstractmethod
    def held(self) -> Arrays:
        """Return what was taken."""

    @abstractmethod
    def add(self, held: Arrays) -> None:
        """Take what another intake took from clients after these."""

    @abstractmethod
    def forget(self) -> None:
        """Hold nothing."""

    def account(self, clients: list[int], replies: Replies, failures: dict[int, str]) -> Account:
        """Take the answers in ``replies``, which ``clients`` were asked for; say what became of all."""
        wrong = self._unfit(clients, replies)
        answers = Answers(clients, self.question.turn, replies.batch).without(wrong)
        if len(answers):
            wrong |= self.take(answers)
        if wrong:
            kept = [at for at, client in enumerate(clients) if client not in wrong]
            return Account([clients[at] for at in kept], replies.spent[kept], wrong | failures)
        return Account(clients, replies.spent, failures)

    def _unfit(self, clients: list[int], replies: Replies) -> dict[int, str]:
        """Return why replies cannot be an answer of the client they should come from, by that client."""
        declared, rows = self.question.sizes[clients, 0], replies.spent[:, 0]
        if replies.clients == clients and (rows == declared).all():
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


def numbered(held: Arrays) -> Iterator[Arrays]:
    """Return the parts that are prefixed by 0, 1, ..."""
    number = 0
    while part := under_prefix(held, f"{number}"):
        yield part
        number += 1
