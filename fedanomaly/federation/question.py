"""What is asked, and what becomes of the answers: all that an intake needs to know, and all that it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import Step
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.plan import make_plan
from fedanomaly.federation.protocol import Task
from fedanomaly.federation.scores import Sizes
from fedanomaly.federation.spent import NAMES


@dataclass(frozen=True)
class Question:
    """All that decides what becomes of an answer.

    Attributes
    ----------
    config : RunConfig
        The run.
    task : Task
        Which step of which round.
    sizes : ndarray of shape (clients, 6), int64
        Rows and frauds of each client's training, calibration and test fold, as it declared them.
    state : dict of ndarray
        The server's, as far as checks look at it.
    """

    config: RunConfig
    task: Task
    sizes: Sizes
    state: Arrays

    def turn(self, client: int) -> Turn:
        """Return the key of the client's randomness."""
        return self.task.turn(self.config.seed, self.config.rounds, client)

    @cached_property
    def step(self) -> Step:
        """The step that is asked for."""
        return make_plan(self.config).step(self.task)


@dataclass(frozen=True, eq=False)
class Account:
    """What became of some clients' answers.

    Attributes
    ----------
    clients : list of int
        Whose answers were taken, ascending.
    spent : ndarray of shape (n_clients, 4), float64
        See :class:`~fedanomaly.federation.spent.Spent`.
    wrong : dict of int to str
        Who is left out, and why.
    """

    clients: list[int]
    spent: npt.NDArray[np.float64]
    wrong: dict[int, str]

    def __len__(self) -> int:
        return len(self.clients) + len(self.wrong)

    @property
    def first(self) -> int:
        """The client that was asked before all others."""
        return min((*self.clients[:1], *self.wrong))

    @classmethod
    def joined(cls, parts: Sequence[Account]) -> Account:
        """Return what became of the clients of all parts, part after part."""
        spent = np.concatenate([np.empty((0, len(NAMES))), *(part.spent for part in parts)])
        wrong = {client: reason for part in parts for client, reason in part.wrong.items()}
        return cls([client for part in parts for client in part.clients], spent, wrong)
