"""What becomes of answers as they come in; a worker does it for its clients, the server for all others.

An intake takes answers, ascending by client, and refuses those that are not sound. What it holds is
named arrays, which another intake of the same kind adds: workers look at their clients' answers at the
same time, and the server only puts together what they made of them, to the same bits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from fedanomaly.core.answers import Answers, Batch, columns_from_arrays, columns_to_arrays
from fedanomaly.core.arrays import Arrays, under_prefix, with_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.steps import Step
from fedanomaly.federation.combine import Tally
from fedanomaly.federation.question import Account, Question
from fedanomaly.federation.replies import Replies
from fedanomaly.federation.scores import ScoreBatch, read_scores
from fedanomaly.privacy.sums import BlockSums

_WHO = "who"


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
    whole_blocks: ClassVar[bool] = False  # what it holds can be passed on only when it is of whole blocks

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


class Sums(Intake):
    """Adds answers up: only sums are kept, where they are passed on those of whole blocks of clients."""

    name = "sums"
    whole_blocks = True
    tally: Tally

    def take(self, answers: Answers) -> dict[int, str]:
        """Add."""
        sound, wrong = checked(self.question.step, self.question.state, answers)
        self.tally.add(sound)
        return wrong

    def held(self) -> Arrays:
        """Return the sums of each form of answers, and whose answers are in them."""
        held: Arrays = {}
        for number, (added, who) in enumerate(self.tally.sums()):
            assert isinstance(added, BlockSums)
            part = {**with_prefix(added.stacks, "sums"), _WHO: np.array(who, dtype=np.int64)}
            held |= with_prefix(part, f"{number}")
        return held

    def add(self, held: Arrays) -> None:
        """Add these sums."""
        for part in _numbered(held):
            self.tally.add_blocks(under_prefix(part, "sums"), part[_WHO].tolist())

    def forget(self) -> None:
        """Begin anew."""
        self.tally = Tally(self.question.config.clients, apart=self.passes_on)


class Kept(Intake):
    """Keeps answers one by one."""

    name = "kept"
    _parts: list[Answers]

    def forget(self) -> None:
        """Keep none."""
        self._parts = []

    @property
    def answers(self) -> Answers:
        """All that were taken."""
        return Answers.joined(self._parts, self.question.turn)

    def take(self, answers: Answers) -> dict[int, str]:
        """Keep."""
        sound, wrong = checked(self.question.step, self.question.state, answers)
        self._parts.append(sound)
        return wrong

    def held(self) -> Arrays:
        """Return the answers side by side, those that are not alike by themselves."""
        held: Arrays = {}
        for number, part in enumerate(self._alike()):
            columns = columns_to_arrays(part.columns or {})
            held |= with_prefix({**columns, _WHO: np.array(part.clients, dtype=np.int64)}, f"{number}")
        return held

    def add(self, held: Arrays) -> None:
        """Keep them too."""
        for part in _numbered(held):
            clients, columns = part[_WHO].tolist(), columns_from_arrays(part)
            batch = Batch(columns=columns) if columns else Batch([{} for _ in clients])
            self._parts.append(Answers(clients, self.question.turn, batch))

    def _alike(self) -> Iterator[Answers]:
        for part in self._parts:
            if part.columns is not None:
                yield part
            else:
                yield from (part[at : at + 1] for at in range(len(part)))


class Unchecked(Kept):
    """Keeps whatever comes: introductions, which the roster looks at."""

    name = "unchecked"

    def take(self, answers: Answers) -> dict[int, str]:
        """Keep."""
        self._parts.append(answers)
        return {}

    def _unfit(self, clients: list[int], replies: Replies) -> dict[int, str]:
        return {}


class Scored(Intake):
    """Keeps histograms of scores: no metric can be told before the threshold is known, from all of them."""

    name = "scores"
    _batches: list[ScoreBatch]

    def forget(self) -> None:
        """Keep none."""
        self._batches = []

    @property
    def scores(self) -> ScoreBatch:
        """All that were taken."""
        return ScoreBatch.joined(self._batches)

    def take(self, answers: Answers) -> dict[int, str]:
        """Read."""
        batch, wrong = read_scores(answers, self.question.sizes)
        self._batches.append(batch)
        return wrong

    def held(self) -> Arrays:
        """Return the histograms side by side."""
        return self.scores.to_arrays()

    def add(self, held: Arrays) -> None:
        """Keep them too."""
        self._batches.append(ScoreBatch.from_arrays(held))


INTAKES = {intake.name: intake for intake in (Sums, Kept, Unchecked, Scored)}


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


def _numbered(held: Arrays) -> Iterator[Arrays]:
    number = 0
    while part := under_prefix(held, f"{number}"):
        yield part
        number += 1
