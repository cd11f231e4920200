"""Min-max scaling to [0, 1], which reveals every client's extreme values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep
from fedanomaly.prepare.scaling import SCALINGS, require_float64, scaling_state

_LARGEST = 8e307  # a difference of two stays finite


@SCALINGS.register("minmax")
class MinMaxScaling(CollectStep):
    """Minimum and range over all clients' training rows, as scikit-learn's ``MinMaxScaler``.

    Answer: ``min`` and ``max`` (n_features,) float64. Minima are not sums, so they cannot go through
    a secure sum: the server sees each client's. (The thesis scaled so, but each client by its own.)
    """

    name = "minmax-scaling"
    leaks: ClassVar[str] = "each client's smallest and largest value of each feature"

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the client's minima and maxima."""
        return {
            "min": X.min(axis=0).astype(np.float64).clip(-_LARGEST, _LARGEST),
            "max": X.max(axis=0).astype(np.float64).clip(-_LARGEST, _LARGEST),
        }

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Refuse minima above maxima."""
        require_only(answer, {"min", "max"})
        low = require_float64(answer, "min", (None,), -_LARGEST, _LARGEST)
        high = require_float64(answer, "max", low.shape, -_LARGEST, _LARGEST)
        if (low > high).any():
            raise InvalidArrays("a minimum is above its maximum")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Return the state with the overall minimum and range."""
        if len({answer["min"].shape for _, answer in answers}) != 1:
            raise InvalidArrays("clients sent minima of different numbers of features")
        low = np.min([answer["min"] for _, answer in answers], axis=0)
        high = np.max([answer["max"] for _, answer in answers], axis=0)
        return scaling_state(state, low, high - low)
