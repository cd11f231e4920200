"""Defences of the server against hostile clients; one file each. Adding one is a file and an import here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.chains import parse_chain
from fedanomaly.core.errors import UserError
from fedanomaly.core.steps import Step
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.defences.base import DEFENCES, Defence
from fedanomaly.federation.defences.bound import Bound
from fedanomaly.federation.defences.screen import Screen, check_enough


def registered() -> dict[str, type[Defence]]:
    """Return every defence by name."""
    return DEFENCES.registered()


class Defences:
    """What ``--defence`` names, in order; keeps what it has seen of the clients over the rounds.

    Parameters
    ----------
    config : RunConfig
        Names the defences.

    Raises
    ------
    UserError
        If a name is unknown, a strength impossible, or there are too few clients.
    """

    def __init__(self, config: RunConfig) -> None:
        self.seed = config.seed
        self.members: list[Defence] = []
        for name, strength in parse_chain(config.defence, "--defence"):
            cls = DEFENCES.get(name)
            value = cls.default_strength if strength is None else strength
            if value < cls.lowest_strength:
                raise UserError(
                    f"--defence {name}: {cls.strength_is} must be at least {cls.lowest_strength:g}"
                )
            if issubclass(cls, Screen):
                check_enough(config.clients)
            self.members.append(cls(value))

    def __bool__(self) -> bool:
        return bool(self.members)

    @property
    def sees_answers(self) -> bool:
        """Whether the server must see every client's answer by itself."""
        return any(member.sees_answers for member in self.members)

    def shares(self, rows: Array) -> Array:
        """Return the rows by which each client's contribution weighs, by partition id."""
        for member in self.members:
            rows = member.shares(rows)
        return rows

    def suspects(self, step: Step, state: Arrays, answers: Sequence[Answer]) -> dict[int, str]:
        """Return whose answers to leave out, worst first, with the reason."""
        found: dict[int, str] = {}
        for member in self.members:
            found = {**member.suspects(step, state, answers, self.seed), **found}
        return found

    def weighed(self, rows: Array, answers: Sequence[Answer]) -> list[Answer]:
        """Return answers to be summed, scaled down where a client's share is below what it declared."""
        shares = self.shares(rows)
        weighed = []
        for turn, answer in answers:
            share, declared = int(shares[turn.client]), int(rows[turn.client])
            weighed.append((turn, answer if share >= declared else _scaled(answer, share / declared)))
        return weighed


def _scaled(answer: Arrays, factor: float) -> Arrays:
    """Return a sum as if fewer rows had been summed; whole numbers stay whole."""
    scaled = {}
    for name, array in answer.items():
        values = array * factor
        if name == "count":
            values = np.maximum(np.rint(values), 1.0)
        scaled[name] = (np.rint(values) if array.dtype.kind in "iu" else values).astype(array.dtype)
    return scaled


__all__ = ["DEFENCES", "Bound", "Defence", "Defences", "Screen", "registered"]
