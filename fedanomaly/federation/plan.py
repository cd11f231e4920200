"""From a configuration to the detector and the steps that build it; server and clients agree on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.core.steps import Step
from fedanomaly.detectors import DETECTORS, Aggregation, Detector, aggregations_of
from fedanomaly.detectors.contract import run_steps
from fedanomaly.federation import strategies
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.private import Privacy, is_release, make_privacy, private_step
from fedanomaly.federation.protocol import ROUND, SCALING, SETUP, Task
from fedanomaly.prepare import apply_scaling, scaling_step


@dataclass(frozen=True, eq=False)
class Plan:
    """The steps of a run.

    Attributes
    ----------
    detector : Detector
        Unfitted, with its hyper-parameters.
    aggregation : Aggregation
        How clients build it.
    strategy : str
        Name of the Flower strategy that averages weights; empty where the aggregation is native.
    scaling : Step or None
        The first step: federated scaling.
    rounds : int
        Number of rounds.
    privacy : Privacy or None
        Budget for differential privacy: additive steps then answer with noise.
    """

    detector: Detector
    aggregation: Aggregation
    strategy: str
    scaling: Step | None
    rounds: int
    privacy: Privacy | None = None

    def steps(self, phase: str, server_round: int = 0) -> Sequence[Step]:
        """Return the steps of a phase, the same ones every time: they are looked up for every answer."""
        return _steps_of(self, phase, server_round)

    def releases(self, rounds: int) -> int:
        """Return how many answers about its rows a client has given after ``rounds`` rounds."""
        phases = [(SCALING, 0), (SETUP, 0), *((ROUND, number) for number in range(1, rounds + 1))]
        steps = (step for phase, number in phases for step in _without_noise(self, phase, number))
        return sum(map(is_release, steps))

    def step(self, task: Task) -> Step:
        """Return the step a client was asked for."""
        if task.phase == ROUND and not 1 <= task.server_round <= self.rounds:
            raise InvalidArrays(f"there is no round {task.server_round} in a run of {self.rounds} rounds")
        steps = self.steps(task.phase, task.server_round)
        if not 0 <= task.index < len(steps):
            raise InvalidArrays(f"phase {task.phase!r} of round {task.server_round} has no step {task.index}")
        return steps[task.index]

    def request(self, step: Step, state: Arrays) -> Arrays:
        """Return what a client is sent for ``step``: the step's own request and the scaling."""
        return {**step.request(state), **scaling_of(state)}

    def load(self, arrays: Arrays) -> Detector:
        """Return a fitted detector; raise :class:`InvalidArrays` unless the arrays are a model."""
        return self.aggregation.blank().load(arrays)


@lru_cache(maxsize=256)
def _steps_of(plan: Plan, phase: str, server_round: int) -> Sequence[Step]:
    steps = _without_noise(plan, phase, server_round)
    return steps if plan.privacy is None else tuple(private_step(step, plan.privacy) for step in steps)


def _without_noise(plan: Plan, phase: str, server_round: int) -> Sequence[Step]:
    if phase == SCALING:
        return () if plan.scaling is None else (plan.scaling,)
    if phase == SETUP:
        return plan.aggregation.setup()
    return plan.aggregation.round(server_round, plan.rounds)


def make_plan(config: RunConfig) -> Plan:
    """Return the plan of a run.

    Raises
    ------
    UserError
        If a name is unknown, a parameter is not the detector's, or the aggregation cannot build it.
    """
    plan = _make_plan(
        config.detector,
        config.params,
        config.contamination,
        config.aggregation,
        config.scaling,
        config.rounds,
        config.seed,
    )
    return _private_plan(plan, config) if config.dp_epsilon else plan


@lru_cache(maxsize=32)
def _private_plan(plan: Plan, config: RunConfig) -> Plan:
    phases = [(SETUP, 0), *((ROUND, number) for number in range(1, plan.rounds + 1))]
    steps = [step for phase, number in phases for step in plan.steps(phase, number)]
    return replace(plan, privacy=make_privacy(config, plan.scaling, steps, plan.strategy))


@lru_cache(maxsize=32)
def _make_plan(
    name: str, params: str, contamination: str, aggregation: str, scaling: str, rounds: int, seed: int
) -> Plan:
    config = RunConfig(params=params, contamination=contamination)
    detector = build_detector(name, config, seed)
    way, strategy = choose_aggregation(detector, aggregation)
    return Plan(detector, way, strategy, scaling_step(scaling or detector.default_scaling), rounds)


def resolved(config: RunConfig) -> RunConfig:
    """Return the configuration with every default that depends on the detector spelled out."""
    plan = make_plan(config)
    return replace(
        config,
        aggregation=config.aggregation or plan.aggregation.name,
        scaling=config.scaling or plan.detector.default_scaling,
    )


def build_detector(name: str, config: RunConfig, seed: int) -> Detector:
    """Return the unfitted detector with the parameters the user gave."""
    cls = DETECTORS.get(name)
    known = cls().get_params()
    given = config.detector_params
    if unknown := sorted(set(given) - set(known)):
        takes = ", ".join(sorted(set(known) - {"random_state"}))
        raise UserError(f"{name} has no parameter {unknown[0]!r}; --params takes {takes}")
    automatic = {"random_state": int(keyed_generator(seed, "random_state").integers(2**31 - 1))}
    if config.contamination_share is not None:
        automatic["contamination"] = config.contamination_share  # type: ignore[assignment]
    defaults = {key: value for key, value in automatic.items() if key in known}
    return cls(**{**defaults, **given})


def try_detector(detector: Detector) -> None:
    """Fit a few made-up rows, so that an impossible parameter is refused before any client works."""
    rows = keyed_generator(0, "probe").normal(size=(32, 3))
    labels = (rows[:, 0] > 1).astype(np.int8) if detector.supervised else None
    try:
        fresh(detector).fit(rows, labels).score_samples(rows)  # compiled kernels are cached from here on
    except ValueError as error:
        raise UserError(f"--params does not suit {detector.name}: {' '.join(str(error).split())}") from None


@cache
def warm_up() -> None:
    """Load the compiled kernels of every way to build a detector: forked tasks find them in memory."""
    rows = keyed_generator(0, "warm up").normal(size=(2, 32, 3))
    for cls in DETECTORS.registered().values():
        if cls.compiled:
            try_detector(cls())
            for way in () if cls.supervised else cls.aggregations.values():
                run_steps(way(cls()), list(rows), rounds=1)


def choose_aggregation(detector: Detector, name: str) -> tuple[Aggregation, str]:
    """Return the aggregation called ``name`` and the Flower strategy it averages weights with.

    A strategy's name alone means the detector's first aggregation whose rounds are weights; any other
    of them is named before it, as in ``sgd+fedadam``.
    """
    ways = aggregations_of(type(detector))
    averaging = next((way for way in ways.values() if way.weights), None)
    if not name:
        name = next(iter(ways))
    if name in ways:
        return ways[name](detector), "fedavg" if ways[name].weights else ""
    offered = [*ways, *(strategies.registered() if averaging else ())]
    if averaging is not None and name in strategies.registered():
        return averaging(detector), name
    way, _, strategy = name.partition("+")
    if way in ways and ways[way].weights and strategy in strategies.registered():
        return ways[way](detector), strategy
    known = name in strategies.registered()
    problem = "averages weights, which this detector has none of" if known else "is not known for it"
    raise UserError(
        f"{detector.name} cannot be built by {name!r} (it {problem}); choose one of {', '.join(offered)}"
    )


def fresh(detector: Detector) -> Detector:
    """Return an unfitted copy."""
    return type(detector)(**detector.get_params())


def scaling_of(state: Arrays) -> Arrays:
    """Return the scaling's part of a state or request."""
    return {name: array for name, array in state.items() if name.startswith("scaling/")}


def scaled(X: Array, arrays: Arrays) -> Array:
    """Return rows scaled as ``arrays`` say, float64 and C-contiguous."""
    return np.ascontiguousarray(apply_scaling(X, arrays), dtype=np.float64)
