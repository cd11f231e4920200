"""An aggregation inside another one: its steps, with names, state and rows of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, under_prefix, with_prefix
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, CollectStep, Sensitivity, Step, WeightsStep
from fedanomaly.detectors.base import Aggregation

Select = Callable[[Array], Array]
"""Returns which of a client's rows, shape (n_rows,), bool, an inner step may see; at least one."""


@dataclass(frozen=True)
class Part:
    """One aggregation that runs inside another.

    Its arrays stand under ``prefix/`` in the state, so that two parts never meet.

    Attributes
    ----------
    prefix : str
        Of names in the state.
    way : Aggregation
        What runs.
    select : callable, optional
        Which of a client's rows it may see; None: all.
    rows : str, default='rows'
        Array of the outer state that says how many rows each client has for it.
    """

    prefix: str
    way: Aggregation
    select: Select | None = None
    rows: str = "rows"

    def setup(self) -> list[Step]:
        """Return the steps before the first round."""
        return [self._wrapped(step, None) for step in self.way.setup()]

    def round(self, server_round: int, rounds: int, *, at_once: bool = False) -> list[Step]:
        """Return the steps of a round; ``at_once`` where they do not run in that round of the run.

        They then see ``server_round`` and ``rounds`` in their turn instead of the run's own.
        """
        when = (server_round, rounds) if at_once else None
        return [self._wrapped(step, when) for step in self.way.round(server_round, rounds)]

    def model(self, state: Arrays) -> Arrays:
        """Return the arrays of the detector built so far."""
        return self.way.model(self.state(state))

    def state(self, state: Arrays) -> Arrays:
        """Return the state as the inner steps see it."""
        common: Arrays = {name: state[name] for name in ("features", "shares") if name in state}
        return {**common, **under_prefix(state, self.prefix), "rows": state[self.rows]}

    def _wrapped(self, step: Step, when: tuple[int, int] | None) -> Step:
        if isinstance(step, AdditiveStep):
            return PrefixedAdditive(step, self, when)
        if isinstance(step, CollectStep):
            return PrefixedCollect(step, self, when)
        kind = "averages weights" if isinstance(step, WeightsStep) else "is of no known kind"
        raise TypeError(f"step {step.name!r} {kind}: it cannot run inside another aggregation")


class _Prefixed(Step):
    """What both kinds share; a step stays of its kind, so whatever is summed can still be encrypted."""

    def __init__(self, step: Step, part: Part, when: tuple[int, int] | None) -> None:
        self.step = step
        self.part = part
        self.when = when
        self.name = f"{part.prefix}/{step.name}"  # type: ignore[misc]

    def request(self, state: Arrays) -> Arrays:
        """Return what the inner step asks."""
        return self.step.request(self.part.state(state))

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the inner step's answer on the rows it may see."""
        if self.part.select is not None:
            seen = self.part.select(X)
            X, y = X[seen], None if y is None else y[seen]
        return self.step.answer(request, X, y, self._turn(turn))

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept what the inner step accepts."""
        self.step.check(self.part.state(state), answer, self._turn(turn))

    def _turn(self, turn: Turn) -> Turn:
        if self.when is None:
            return turn
        return turn._replace(server_round=self.when[0], rounds=self.when[1])

    def _kept(self, new: Arrays) -> Arrays:
        return with_prefix(new, self.part.prefix)


class PrefixedCollect(_Prefixed, CollectStep):
    """A collecting step of a part."""

    step: CollectStep

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Return the part's new state."""
        inner = [(self._turn(turn), answer) for turn, answer in answers]
        return self._kept(self.step.combine(self.part.state(state), inner))


class PrefixedAdditive(_Prefixed, AdditiveStep):
    """An additive step of a part."""

    step: AdditiveStep

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Return the part's new state."""
        return self._kept(self.step.finish(self.part.state(state), total))

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity] | None:
        """Return the inner step's, where it sees all rows; among selected ones a row can also come or go."""
        if self.part.select is not None:
            return None
        return self.step.sensitivity(request, n_features, row_norm)

    def repaired(self, total: Arrays) -> Arrays:
        """Return what the inner step makes of a noisy sum."""
        return self.step.repaired(total)
