"""Answers that are kept until all are in: as they are, or the histograms of scores in them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedanomaly.core.answers import Answers, Batch, columns_from_arrays, columns_to_arrays
from fedanomaly.core.arrays import Arrays, with_prefix
from fedanomaly.federation.intake import WHO, Intake, checked, numbered
from fedanomaly.federation.replies import Replies
from fedanomaly.federation.scores import ScoreBatch, read_scores


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
            held |= with_prefix({**columns, WHO: np.array(part.clients, dtype=np.int64)}, f"{number}")
        return held

    def add(self, held: Arrays) -> None:
        """Keep them too."""
        for part in numbered(held):
            clients, columns = part[WHO].tolist(), columns_from_arrays(part)
            batch = Batch(columns=columns) if columns else Batch([{} for _ in clients])
            self._parts.append(Answers(clients, self.question.turn, batch))

    def _alike(self) -> Iterator[Answers]:
        for part in self._parts:
            if part.columns is not None:
                yield part
            else:
                yield from (part[at : at + 1] for at in range(len(part)))


def take_over(intake: Intake, name: str, held: Arrays) -> None:
    """Let ``intake`` take what another one, called ``name``, took from clients after these.

    One of the same kind has done the same work already; any other has kept sound answers as they came.
    """
    if name == intake.name:
        intake.add(held)
    else:
        kept = Kept(intake.question)
        kept.add(held)
        intake.take(kept.answers)


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
