"""Standard scaling from federated moments: zero mean, unit variance over all clients' training rows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Array, Arrays, require, require_only, within
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.prepare.scaling import (
    SCALINGS,
    all_declared_rows,
    declared_rows,
    require_float64,
    scaling_state,
)

_LARGEST = 1e300  # sums of many clients stay finite
_CONSTANT = 1e-13  # variance in units of the squared mean that is no more than rounding


@SCALINGS.register("standard")
class MomentsScaling(AdditiveStep):
    """Mean and standard deviation (population, as scikit-learn's ``StandardScaler``) from additive moments.

    Answer: ``count`` (1,) int64, ``sum`` and ``squares`` (n_features,) float64.

    Notes
    -----
    The variance's relative error is about 1e-15 times mean**2 / variance: 1e-13 for mean 1e5 and
    deviation 1e4. A feature whose variance is below 1e-13 of its squared mean counts as constant.
    """

    name = "standard-scaling"
    leaks: ClassVar[str] = "the sum and the sum of squares of each feature"

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return count, sum and sum of squares of the client's rows."""
        with np.errstate(over="ignore"):
            squares = np.einsum("ij,ij->j", X, X)
        if not (np.isfinite(squares).all() and (squares < _LARGEST).all()):
            feature = int(np.argmax(~(squares < _LARGEST)))
            raise UserError(
                f"feature number {feature} holds values too large to standardise: "
                "rescale it, or use scaling 'robust', 'minmax' or 'none'"
            )
        return {
            "count": np.array([len(X)], dtype=np.int64),
            "sum": X.sum(axis=0, dtype=np.float64),
            "squares": squares,
        }

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Refuse moments that no rows can have."""
        require_only(answer, {"count", "sum", "squares"})
        count = require(answer, "count", kind="i", shape=(1,), low=1, high=declared_rows(state, turn))
        total = require_float64(answer, "sum", (None,), -_LARGEST, _LARGEST)
        squares = require_float64(answer, "squares", total.shape, 0.0, _LARGEST)
        if count.dtype != np.int64:
            raise InvalidArrays(f"array 'count' is {count.dtype}, expected int64")
        if _impossible(count, total, squares):
            raise InvalidArrays("a sum is larger than its count and sum of squares allow")

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Look at all moments at once."""
        batch = answers.stacked({"count": np.int64, "sum": np.float64, "squares": np.float64})
        if batch is None:
            return False
        count, total, squares = batch["count"], batch["sum"], batch["squares"]
        return (
            count.shape[1:] == (1,)
            and total.ndim == 2
            and squares.shape == total.shape
            and within(count[:, 0], 1, all_declared_rows(state, answers.clients))
            and within(total, -_LARGEST, _LARGEST)
            and within(squares, 0.0, _LARGEST)
            and not _impossible(count, total, squares)
        )

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Return the state with mean and standard deviation of all rows."""
        n = float(total["count"][0])
        mean = total["sum"] / n
        variance = total["squares"] / n - mean**2
        constant = variance <= _CONSTANT * mean**2
        return scaling_state(state, mean, np.sqrt(np.where(constant, 0.0, variance)))


def _impossible(count: Array, total: Array, squares: Array) -> bool:
    """Return whether no rows have these moments: count (..., 1), sums (..., n_features).

    The mean of squares is never below the square of the mean (Cauchy-Schwarz), up to rounding; squares
    of values below 1e-154 vanish.
    """
    return bool((np.abs(total) / count > np.sqrt(squares / count) * (1 + 1e-9) + 1e-150).any())
