"""The server's half of a step: from the clients' answers to the new state."""

from __future__ import annotations

from collections.abc import Sequence

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.steps import AdditiveStep, Answer, CollectStep, Step
from fedanomaly.privacy.sums import secure_sum


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
