"""What a hostile client may do: replace the rows it trains on, or forge its answers."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.registry import Registry
from fedanomaly.core.steps import Step
from fedanomaly.prepare import Rows


class Attack(ABC):
    """One way to poison a federation; override what it changes, leave the rest honest.

    A hostile client keeps the protocol: names, dtypes and shapes are right, so that nothing but the
    content gives it away. Calibration and test rows stay honest, since they measure the damage.

    Parameters
    ----------
    strength : float
        How hard it hits; what it means is the attack's own.
    """

    title: ClassVar[str]  # one line for the docs' table
    strength_is: ClassVar[str]
    default_strength: ClassVar[float] = 1.0
    lowest_strength: ClassVar[float] = 0.0

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def rows(self, train: Rows, frauds: Array, generator: np.random.Generator) -> Rows:
        """Return the rows the hostile client trains on (default: its own).

        Parameters
        ----------
        train : Rows
            Its training rows, not scaled.
        frauds : ndarray of shape (n_frauds, n_features)
            Labelled training frauds of all hostile clients, who work together.
        generator : numpy.random.Generator
            Keyed by seed, client and attack.
        """
        return train

    def answer(self, step: Step, answer: Arrays, X: Array, frauds: Array, turn: Turn) -> Arrays:
        """Return what the hostile client sends instead of ``answer`` (default: that).

        Parameters
        ----------
        step : Step
            The step it was asked for.
        answer : dict of ndarray
            What an honest client with these rows would send.
        X : ndarray of shape (n_rows, n_features)
            Its training rows as the step sees them.
        frauds : ndarray of shape (n_frauds, n_features)
            Labelled training frauds of all hostile clients, scaled as ``X`` is.
        turn : Turn
            The source of randomness.
        """
        return answer

    def forges(self, steps: list[Step]) -> bool:
        """Return whether the attack changes anything in a run of these steps (default: rows, always)."""
        return True


ATTACKS: Registry[type[Attack]] = Registry("attack", "fedanomaly.attacks")


def with_rows(train: Rows, X: Array, y: Array) -> Rows:
    """Return training rows with other contents; rows that are made up have no number in the table (-1)."""
    index = np.full(len(y), -1, dtype=np.int64)
    return Rows(np.ascontiguousarray(X, dtype=np.float64), np.asarray(y, dtype=np.int8), index)
