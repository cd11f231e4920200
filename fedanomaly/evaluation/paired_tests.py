"""Many paired comparisons at once: differences over seeds, and tests corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation.intervals import Interval, paired_difference
from fedanomaly.evaluation.ranking import UNDEFINED

Pair = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same seeds, as one of several such comparisons.

    Attributes
    ----------
    difference : Interval
        Mean of ``a - b`` and its t interval, not corrected.
    p_value : float
        Of the two-sided paired t test; NaN below two pairs.
    adjusted : float
        The same after Holm's correction for all comparisons made together.
    """

    difference: Interval
    p_value: float
    adjusted: float


def compare_paired(pairs: Mapping[str, Pair], confidence: float = 0.95) -> dict[str, Comparison]:
    """Compare each pair of methods over the seeds; see :func:`holm`.

    Parameters
    ----------
    pairs : mapping of str to (sequence of float, sequence of float)
        By name: one value a seed of each method, in the same order; undefined pairs are left out.
    confidence : float in (0, 1)
        Level of the intervals.
    """
    differences = {name: paired_difference(a, b, confidence) for name, (a, b) in pairs.items()}
    p_values = [_p_value(difference) for difference in differences.values()]
    return {
        name: Comparison(difference, p_value, adjusted)
        for (name, difference), p_value, adjusted in zip(
            differences.items(), p_values, holm(p_values), strict=True
        )
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979, *A simple sequentially rejective procedure*).

    Rejecting those below a level keeps the chance of even one false rejection below that level.
    Undefined ones (NaN) are no tests: they stay, and are not counted.
    """
    if any(not 0 <= p <= 1 for p in p_values if not math.isnan(p)):
        raise UserError("p-values must lie between 0 and 1")
    order = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [UNDEFINED] * len(p_values)
    largest = 0.0
    for done, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - done)))
        adjusted[place] = largest
    return adjusted


def _p_value(difference: Interval) -> float:
    """Return the p-value of "no difference" from the interval, whose width holds the standard error."""
    if difference.n < 2:
        return UNDEFINED
    from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped, unused-ignore]

    degrees = difference.n - 1
    half = (difference.high - difference.low) / 2
    error = half / stdtrit(degrees, (1 + difference.confidence) / 2)
    if error == 0:  # without spread the mean is the truth, and the test has nothing to doubt
        return float(difference.mean == 0)
    return float(2 * stdtr(degrees, -abs(difference.mean) / error))
