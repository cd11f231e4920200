"""Answers that are added up as they come: sums, and means of weights; nothing else is kept of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Arrays, under_prefix, with_prefix
from fedanomaly.federation.combine import Tally
from fedanomaly.federation.intake import WHO, Intake, checked, numbered
from fedanomaly.privacy.sums import BlockSums, block_size


class Sums(Intake):
    """Adds answers up: only sums are kept, where they are passed on those of whole blocks of clients."""

    name = "sums"
    whole_blocks = True
    tally: Tally

    def take(self, answers: Answers) -> dict[int, str]:
        """Add."""
        sound, wrong = checked(self.question.step, self.question.state, answers)
        if len(sound):
            self.tally.add(self._terms(sound))
        return wrong

    def held(self) -> Arrays:
        """Return the sums of each form of answers, and whose answers are in them."""
        held: Arrays = {}
        for number, (added, who) in enumerate(self.tally.sums()):
            assert isinstance(added, BlockSums)
            part = {**with_prefix(added.stacks, "sums"), WHO: np.array(who, dtype=np.int64)}
            held |= with_prefix(part, f"{number}")
        return held

    def add(self, held: Arrays) -> None:
        """Add these sums."""
        for part in numbered(held):
            self.tally.add_blocks(under_prefix(part, "sums"), part[WHO].tolist())

    def forget(self) -> None:
        """Begin anew."""
        self.tally = Tally(self.question.config.clients, apart=self.passes_on)

    def _terms(self, answers: Answers) -> Answers:
        return answers


class Means(Sums):
    """Averages weights over blocks of neighbours, every client by its training rows.

    In runs of up to 32 clients a block is one client, and its mean that client's weights to the bit.
    """

    name = "means"

    def forget(self) -> None:
        """Begin anew."""
        self.tally = Tally(self.question.config.clients, apart=True)

    def means(self, sums: Arrays, clients: list[int]) -> list[tuple[int, Arrays, int]]:
        """Return the first client, the mean weights and the rows of each block that has rows.

        Parameters
        ----------
        sums : dict of ndarray
            One sum a block, side by side.
        clients : list of int
            Whose weights are in them, ascending.
        """
        firsts, block_of = np.unique(self._firsts(clients), return_inverse=True)
        rows = np.bincount(block_of, self.question.sizes[clients, 0]).tolist()
        shares = np.bincount(block_of, self._shares(clients)).tolist()
        return [
            (first, {name: stack[at] / shares[at] for name, stack in sums.items()}, int(rows[at]))
            for at, first in enumerate(firsts.tolist())
            if rows[at]
        ]

    def _terms(self, answers: Answers) -> Answers:
        return answers.scaled(self._shares(answers.clients))

    def _shares(self, clients: list[int]) -> npt.NDArray[np.float64]:
        """Return rows as shares of those of the block's first client: exactly 1 where there is no other."""
        rows = self.question.sizes[:, 0]
        return rows[clients] / np.maximum(rows[self._firsts(clients)], 1)

    def _firsts(self, clients: list[int]) -> npt.NDArray[np.int64]:
        size = block_size(self.question.config.clients)
        return np.array(clients) // size * size
