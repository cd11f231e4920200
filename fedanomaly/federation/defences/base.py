"""What a server may do about hostile clients: weigh contributions, leave out those that stand apart."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import ClassVar

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.registry import Registry
from fedanomaly.core.steps import Step


class Defence(ABC):
    """One defence; override one of its two halves.

    Parameters
    ----------
    strength : float
        What it means is the defence's own.
    """

    title: ClassVar[str]  # one line for the docs' table
    strength_is: ClassVar[str]
    default_strength: ClassVar[float]
    lowest_strength: ClassVar[float] = 0.0
    sees_answers: ClassVar[bool]  # needs every client's answer by itself: contradicts secure sums

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def shares(self, rows: Array) -> Array:
        """Return the rows by which each client's contribution weighs, int64 (default: those declared).

        Parameters
        ----------
        rows : ndarray of shape (n_clients,), int64
            Training rows declared, by partition id; 0 for a client that is not in.
        """
        return rows

    def suspects(self, step: Step, state: Arrays, answers: Sequence[Answer], seed: int) -> dict[int, str]:
        """Return the clients whose answers stand apart, worst first, with the reason (default: nobody)."""
        return {}


DEFENCES: Registry[type[Defence]] = Registry("defence", "fedanomaly.defences")
