"""Differential privacy for whatever is summed: a step that wraps a step and adds noise to its answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Sensitivity, Step, WeightsStep
from fedanomaly.federation.config import RunConfig
from fedanomaly.privacy.accountant import Budget
from fedanomaly.privacy.noise import clip_rows, gaussian, laplace

AVERAGING = ("fedavg", "fedprox")
"""Strategies that average: with equal weights, a clipped update moves the result by a known amount."""

_LARGEST = 1e200


@dataclass(frozen=True)
class Privacy:
    """What a run promises its rows.

    Attributes
    ----------
    budget : Budget
        Epsilon and delta for all answers of a client together.
    row_norm : float
        Rows longer than this (in scaled units) are shortened to it; 0: the square root of the
        number of features.
    """

    budget: Budget
    row_norm: float

    def norm(self, n_features: int) -> float:
        """Return the longest row."""
        return self.row_norm or math.sqrt(n_features)


class PrivateStep(AdditiveStep):
    """An additive step whose clients add keyed noise to their answers before they send them.

    Neighbouring data sets differ in one training row of one client, replaced by any other; numbers of
    rows are public. Every answer is private by itself: neither the server nor anyone who sees all
    answers needs to be trusted (silo-specific sample-level privacy; Liu, Hu, Wu and Smith 2022, *On
    privacy and personalization in cross-silo federated learning*).

    Parameters
    ----------
    step : AdditiveStep
        The step that answers; it must declare its sensitivity.
    privacy : Privacy
        Budget and clipping.
    """

    def __init__(self, step: AdditiveStep, privacy: Privacy) -> None:
        self.step = step
        self.privacy = privacy
        self.name = step.name  # type: ignore[misc]

    def request(self, state: Arrays) -> Arrays:
        """Return what the step itself asks."""
        return self.step.request(state)

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the step's answer plus noise of the declared scale."""
        norm = math.inf
        if not self.step.any_row_length:
            norm = self.privacy.norm(X.shape[1])
            X = clip_rows(X, norm)
        bounds = self.step.sensitivity(request, X.shape[1], norm)
        if bounds is None or not all(math.isfinite(value) for bound in bounds.values() for value in bound):
            raise _refusal(self.name, _UNBOUNDED)
        return self._noised(self.step.answer(request, X, y, turn), bounds, turn)

    def _noised(self, answer: Arrays, bounds: dict[str, Sensitivity], turn: Turn) -> Arrays:
        if set(bounds) != set(answer):
            raise InvalidArrays(f"step {self.name!r} declares {sorted(bounds)}, but sends {sorted(answer)}")
        budget = self.privacy.budget
        mechanism = gaussian if budget.delta else laplace
        parts = sum(bound.l2 > 0 for bound in bounds.values())
        noised = dict(answer)
        for name, bound in bounds.items():
            if bound.l2 > 0:
                generator = turn.generator("dp", self.name, name)
                scale = budget.scale(bound.l1, bound.l2, parts)
                whole = answer[name].dtype.kind in "iu"
                noise = mechanism(generator, scale, answer[name].shape, whole)
                noised[name] = np.asarray(answer[name] + noise)
        return noised

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept finite numbers under the right names: after noise no more can be told."""
        require_only(answer, set(answer) if (names := self._names(state)) is None else names)
        for name, array in answer.items():
            require(answer, name, kind="iuf", shape=(None,) * array.ndim, low=-_LARGEST, high=_LARGEST)

    def _names(self, state: Arrays) -> set[str] | None:
        bounds = self.step.sensitivity(self.step.request(state), int(state.get("features", 1)), 1.0)
        return None if bounds is None else set(bounds)

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Finish the step on the repaired sum."""
        return self.step.finish(state, self.step.repaired(total))


def private_step(step: Step, privacy: Privacy) -> Step:
    """Return the step with noise on its answers; weights get theirs from the strategy."""
    return PrivateStep(step, privacy) if isinstance(step, AdditiveStep) else step


def is_release(step: Step) -> bool:
    """Return whether a step's answers spend privacy and can be made private at all."""
    return isinstance(step, (AdditiveStep, WeightsStep))


def make_privacy(config: RunConfig, scaling: Step | None, steps: Sequence[Step], strategy: str) -> Privacy:
    """Return the budget of a run with these steps after its scaling, in equal parts for each.

    Raises
    ------
    UserError
        If a step cannot be private, or rows would not be what the budget is about.
    """
    for step in filter(None, (scaling, *steps)):
        if not is_release(step):
            raise _refusal(step.name, "its answers are not sums")
        if isinstance(step, AdditiveStep) and type(step).sensitivity is AdditiveStep.sensitivity:
            raise _refusal(step.name, _UNBOUNDED)
        if isinstance(step, AdditiveStep) and not (step.any_row_length or scaling or config.dp_row_norm):
            raise _refusal(step.name, _UNSCALED)
    if strategy not in ("", *AVERAGING):
        raise UserError(
            f"--dp-epsilon cannot protect weights that {strategy!r} combines: nobody has bounded what one "
            f"client changes there; choose one of {', '.join(AVERAGING)}"
        )
    if strategy and not config.dp_delta:
        raise UserError("--dp-delta 0 means Laplace noise, but weights get Gaussian noise; raise --dp-delta")
    if config.balance != "none" and config.balance_where == "train":
        raise UserError(
            "--dp-epsilon protects each training row, but a balanced row is made of several: "
            "use --balance-where calibration"
        )
    releases = len(steps) + (scaling is not None)
    budget = Budget(config.dp_epsilon, config.dp_delta, max(1, releases))
    return Privacy(budget, config.dp_row_norm)


def privacy_facts(privacy: Privacy, releases: int, strategy: str) -> dict[str, object]:
    """Return what ``summary.json`` says of the privacy spent after ``releases`` releases."""
    budget = privacy.budget
    return {
        "epsilon": budget.spent(releases),
        "delta": budget.delta,
        "epsilon_asked": budget.epsilon,
        "releases": releases,
        "releases_planned": budget.releases,
        "mechanism": budget.mechanism,
        "unit": "one training row of one client, replaced by any other",
        "against": "the server and all others until weights are averaged; there whoever sees the model"
        if strategy
        else "the server and all others",
        "not_covered": "numbers of rows and frauds; score histograms of calibration and test rows",
    }


_UNBOUNDED = (
    "nobody has bounded what one row changes in its answers; choose another aggregation, or "
    "--scaling grid or none"
)


_UNSCALED = (
    "it needs rows of bounded length, and rows are not scaled; use --scaling grid, or state the longest "
    "row in the data's own units by --dp-row-norm"
)


def _refusal(name: str, why: str) -> UserError:
    return UserError(f"--dp-epsilon cannot protect the step {name!r}: {why}")
