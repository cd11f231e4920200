"""Scaled weights, sign flip included."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import Step, WeightsStep
from fedanomaly.federation.attacks.base import ATTACKS, Attack


@ATTACKS.register("scale")
class ScaleAttack(Attack):
    """Multiply the client's weights: -1 flips their sign, 10 drowns the others.

    Where a step bounds its weights (those of the one-class SVM lie in a ball of radius 1), weights
    that leave the bounds are refused by name; a sign flip does not leave them.
    """

    title = "weights multiplied by a factor; -1 flips the sign (detectors whose rounds are weights)"
    strength_is = "the factor"
    default_strength = -1.0
    lowest_strength = -1e6

    def answer(self, step: Step, answer: Arrays, X: Array, frauds: Array, turn: Turn) -> Arrays:
        """Return the weights times ``strength``."""
        if not isinstance(step, WeightsStep):
            return answer
        return {
            name: np.asarray(array * self.strength, dtype=array.dtype) if array.dtype.kind == "f" else array
            for name, array in answer.items()
        }

    def forges(self, steps: list[Step]) -> bool:
        """Return whether clients send weights."""
        return any(isinstance(step, WeightsStep) for step in steps)
