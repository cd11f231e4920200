"""Clients and a server in one process: an aggregation's steps, weights by plain averaging."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, CollectStep, Step, WeightsStep
from fedanomaly.detectors.base import Aggregation, Detector
from fedanomaly.privacy.sums import secure_sum


def turn_of(
    client: int, parts: Sequence[Array], server_round: int = 1, rounds: int = 1, seed: int = 7
) -> Turn:
    return Turn(seed, server_round, rounds, client, tuple(range(len(parts))))


def start(parts: Sequence[Array]) -> Arrays:
    return {
        "rows": np.array([len(part) for part in parts], dtype=np.int64),
        "features": np.array([parts[0].shape[1]], dtype=np.int64),
    }


def take(step: Step, state: Arrays, parts: Sequence[Array], server_round: int, rounds: int) -> Arrays:
    """Return the state after one step; every answer passes the server's check."""
    request = step.request(state)
    answers = []
    for client, part in enumerate(parts):
        turn = turn_of(client, parts, server_round, rounds)
        answers.append((turn, step.answer(request, part, None, turn)))
        step.check(state, answers[-1][1], turn)
    if isinstance(step, AdditiveStep):
        return state | step.finish(state, secure_sum(answer for _, answer in answers))
    if isinstance(step, CollectStep):
        return state | step.combine(state, answers)
    assert isinstance(step, WeightsStep)
    share = state["rows"] / state["rows"].sum()
    mean = {
        name: np.asarray(sum(s * answer[name] for s, (_, answer) in zip(share, answers, strict=True)))
        for name in step.initial(state)
    }
    return state | step.finish(state, mean)


def run(aggregation: Aggregation, parts: Sequence[Array], rounds: int = 1) -> Arrays:
    """Return the state after all rounds."""
    state = start(parts)
    for step in aggregation.setup():
        state = take(step, state, parts, 0, rounds)
    for server_round in range(1, rounds + 1):
        for step in aggregation.round(server_round, rounds):
            state = take(step, state, parts, server_round, rounds)
    return state


def federate(detector: Detector, way: str, parts: Sequence[Array], rounds: int = 1) -> Detector:
    """Return the fitted detector."""
    aggregation = detector.aggregations[way](detector)
    return type(detector)(**detector.get_params()).load(aggregation.model(run(aggregation, parts, rounds)))
