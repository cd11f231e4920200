"""The one idea: federated training is a short list of steps, and a step has two halves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from fedanomaly.core.answers import Answer, Answers
from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import Turn


class Step(ABC):
    """One exchange between the server and its clients.

    ``answer`` runs on a client, ``check`` and ``combine`` run on the server. Both halves see
    nothing but named arrays, so a step runs unchanged in one process, over Flower's network
    and inside an encrypted channel.
    """

    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        if "check" in vars(cls) and "all_sound" not in vars(cls):  # a parent's vouches for another check
            cls.all_sound = Step.all_sound  # type: ignore[method-assign]

    def request(self, state: Arrays) -> Arrays:
        """Return the part of the server's state that clients need for this step (default: none)."""
        return {}

    @abstractmethod
    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return a client's contribution.

        Parameters
        ----------
        request : dict of ndarray
            What :meth:`request` returned on the server. A client validates it before use.
        X : ndarray of shape (n_rows, n_features), float64
            The client's training rows, scaled. May have few rows, never none.
        y : ndarray of shape (n_rows,), int8, or None
            Labels (1 = anomaly); unsupervised steps ignore them.
        turn : Turn
            The only source of randomness.
        """

    @abstractmethod
    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Raise :class:`~fedanomaly.core.errors.InvalidArrays` unless ``answer`` is well formed.

        Must neither crash otherwise nor take unbounded time or memory, whatever a hostile client sent.
        """

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Return True only if :meth:`check` would accept every one of ``answers``; there is at least one.

        One look at the answers of many small clients; False (the default) says nothing, and each is
        checked by itself. As safe as :meth:`check`.
        """
        return False


class CollectStep(Step):
    """A step whose answers the server must see one by one (a union of trees, prototypes)."""

    @abstractmethod
    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Return the new state from checked answers, which come in ascending order of client."""


class Sensitivity(NamedTuple):
    """Most that one training row, replaced by any other, moves an array of an answer.

    ``l1`` is the sum of absolute changes, ``l2`` the Euclidean norm of the change; 0 where the array
    depends on the number of rows alone, which is public.
    """

    l1: float
    l2: float


class AdditiveStep(Step):
    """A step whose answers are only ever summed: fit for secure sums, encryption and noise.

    Every answer has the same names, shapes and dtypes; integers stay integers.
    """

    any_row_length: ClassVar[bool] = False  # the sensitivity does not depend on how long rows are

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity] | None:
        """Return the sensitivity of every array of an answer, or None: then it gets no private noise.

        Parameters
        ----------
        request : dict of ndarray
            What :meth:`request` returned.
        n_features : int
            Of the rows.
        row_norm : float
            Longest row (Euclidean, in scaled units): rows are shortened to it, unless
            ``any_row_length``, where it is infinite.
        """
        return None

    def repaired(self, total: Arrays) -> Arrays:
        """Return the nearest sum that :meth:`finish` can take, after noise (default: the sum as it is)."""
        return total

    @abstractmethod
    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Return the new state from the sum of all answers."""


class WeightsStep(Step):
    """A step whose answers are model weights that any Flower strategy can average."""

    @abstractmethod
    def initial(self, state: Arrays) -> Arrays:
        """Return the weights before the first round."""

    @abstractmethod
    def finish(self, state: Arrays, weights: Arrays) -> Arrays:
        """Return the new state from the aggregated weights."""
