"""The server's half of a step: from the clients' answers to the new state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Answer, CollectStep, Step
from fedanomaly.privacy.sums import SecureSum, secure_sum

Form = frozenset[tuple[str, tuple[int, ...], np.dtype[Any]]]


def combine(step: Step, state: Arrays, answers: Sequence[Answer]) -> Arrays:
    """Return the state after ``step``.

    Parameters
    ----------
    step : Step
        A collecting or an additive step (weights go through a Flower strategy).
    state : dict of ndarray
        The state before; not modified.
    answers : sequence of (Turn, dict of ndarray)
        Checked answers, ascending by client: never in order of arrival.
    """
    if isinstance(step, AdditiveStep):
        return {**state, **step.finish(state, secure_sum(answer for _, answer in answers))}
    if isinstance(step, CollectStep):
        return {**state, **step.combine(state, answers)}
    raise InvalidArrays(f"step {step.name!r} averages weights: it needs a strategy")


class Tally:
    """Answers to one additive step, summed as they come; only sums and client numbers are kept.

    Answers of other names, shapes or dtypes cannot be added to each other. Each form has a sum of its
    own until all are in, and the most frequent form wins: nobody can spoil the sum by coming first.
    """

    def __init__(self) -> None:
        self._sums: dict[Form, SecureSum] = {}
        self._clients: dict[Form, list[int]] = {}

    def add(self, turn: Turn, arrays: Arrays) -> None:
        """Add the answer of ``turn.client``; clients come in ascending order, so that floats round alike."""
        form = frozenset([(name, array.shape, array.dtype) for name, array in arrays.items()])
        if form not in self._sums:
            self._sums[form], self._clients[form] = SecureSum(), []
        self._sums[form].add(arrays)
        self._clients[form].append(turn.client)

    def result(self) -> tuple[Arrays, list[int]]:
        """Return the sum of the most frequent form and the clients, ascending, who sent another one."""
        common = max(self._clients, key=lambda form: len(self._clients[form]))
        others = [client for form, clients in self._clients.items() if form != common for client in clients]
        return self._sums[common].total, sorted(others)
