"""The server's half of a step: from the clients' answers to the new state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from fedanomaly.core.answers import Answer, Answers
from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.steps import AdditiveStep, CollectStep, Step
from fedanomaly.privacy.sums import BlockSums, SecureSum, secure_sum

Form = frozenset[tuple[str, tuple[int, ...], np.dtype[Any]]]


def combine(step: Step, state: Arrays, answers: Sequence[Answer]) -> Arrays:
    """Return the state after ``step``.

    Parameters
    ----------
    step : Step
        A collecting or an additive step (weights go through a Flower strategy).
    state : dict of ndarray
        The state before, which knows ``rows`` of every client of the run; not modified.
    answers : sequence of (Turn, dict of ndarray)
        Checked answers, ascending by client: never in order of arrival.
    """
    if isinstance(step, AdditiveStep):
        clients = len(state["rows"])
        return {**state, **step.finish(state, secure_sum(answers, clients))}
    if isinstance(step, CollectStep):
        return {**state, **step.combine(state, answers)}
    raise InvalidArrays(f"step {step.name!r} averages weights: it needs a strategy")


class Tally:
    """Answers to one additive step, summed as they come; only sums and client numbers are kept.

    Answers of other names, shapes or dtypes cannot be added to each other. Each form has a sum of its
    own until all are in, and the most frequent form wins: nobody can spoil the sum by coming first.

    Parameters
    ----------
    clients : int
        Clients of the run.
    apart : bool
        Whether the sums of blocks are for somebody else to add up.
    """

    def __init__(self, clients: int, apart: bool = False) -> None:
        self._new = partial(BlockSums if apart else SecureSum, clients)
        self._sums: dict[Form, tuple[SecureSum, list[int]]] = {}

    def add(self, answers: Answers) -> None:
        """Add answers; clients come in ascending order, so that floats round alike."""
        if (stacks := answers.stacks) is not None:
            added, who = self._of_form({name: stack[0] for name, stack in stacks.items()})
            added.add_all(answers.clients, stacks)
            who.extend(answers.clients)
            return
        for turn, arrays in answers:
            added, who = self._of_form(arrays)
            added.add(turn.client, arrays)
            who.append(turn.client)

    def add_blocks(self, stacks: Arrays, who: list[int]) -> None:
        """Add the sums of answers of one form in the next blocks of clients."""
        added, known = self._of_form({name: stack[0] for name, stack in stacks.items()})
        added.add_blocks(who, stacks)
        known.extend(who)

    def sums(self) -> list[tuple[SecureSum, list[int]]]:
        """Return the sum of each form and whose answers are in it."""
        return list(self._sums.values())

    def _of_form(self, arrays: Arrays) -> tuple[SecureSum, list[int]]:
        form = frozenset((name, array.shape, array.dtype) for name, array in arrays.items())
        return self._sums.setdefault(form, (self._new(), []))

    def result(self) -> tuple[SecureSum, list[int]]:
        """Return the sum of the most frequent form and the clients, ascending, who sent another one."""
        common = max(self._sums, key=lambda form: len(self._sums[form][1]))
        others = [client for form, (_, who) in self._sums.items() if form != common for client in who]
        return self._sums[common][0], sorted(others)
