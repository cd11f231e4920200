"""How a cost grows with a size: the exponent of a power law, with what is not known about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation.ranking import UNDEFINED

LEAST_SIZES = 3


@dataclass(frozen=True)
class Growth:
    """The law ``cost = factor * size ** exponent``, fitted over a range of sizes.

    Attributes
    ----------
    exponent, low, high : float
        Estimate and ends of its interval; NaN below three sizes or without a positive cost.
    factor : float
        Cost at size 1, were the law true down to there.
    smallest, largest : float
        Ends of the range of sizes.
    sizes : int
        How many different sizes there are.
    misfit : float
        Largest factor between a cost (the median of its size) and the law; 1 is perfect. Far above 1
        there is no one exponent, and the interval is wide.
    confidence : float
        Level of the interval, 0 to 1.
    """

    exponent: float
    low: float
    high: float
    factor: float
    smallest: float
    largest: float
    sizes: int
    misfit: float
    confidence: float

    def __str__(self) -> str:
        if np.isnan(self.exponent):
            return "undefined"
        exponent, low, high = (
            round(end, 2) + 0.0 for end in (self.exponent, self.low, self.high)
        )  # no -0.00
        return f"{exponent:.2f} [{low:.2f}, {high:.2f}]"

    def at(self, size: float) -> float:
        """Return what the law says of a size."""
        return float(self.factor * size**self.exponent)


def growth(
    sizes: Sequence[float] | npt.NDArray[np.float64],
    costs: Sequence[float] | npt.NDArray[np.float64],
    *,
    least: float = 0.0,
    confidence: float = 0.95,
) -> Growth:
    """Fit a power law to runs by least squares on logarithms.

    Each size stands for the median of its runs, so that one that started cold does not bend the law. The
    line is fitted through the sizes, and its interval is the t interval with ``sizes - 2`` degrees of
    freedom. So repeating runs narrows the interval only as far as chance is what bends the curve: where
    costs do not follow a power law, it stays wide, however many seeds there are.

    Parameters
    ----------
    sizes, costs : sequence of float
        One pair a run; sizes are positive. Runs whose cost is undefined (NaN) or not positive are left out.
    least : float, default=0
        Runs of smaller sizes are left out: there, what a run costs whatever its size hides the growth.
    confidence : float in (0, 1)
        Level of the interval.

    Examples
    --------
    >>> str(growth([10, 100, 1000], [3.0, 30.0, 300.0]))
    '1.00 [1.00, 1.00]'
    """
    if not 0 < confidence < 1:
        raise UserError(f"the confidence must be between 0 and 1, got {confidence}")
    at, cost = np.asarray(sizes, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if at.shape != cost.shape or at.ndim != 1:
        raise UserError(f"a growth needs one size a cost, got shapes {at.shape} and {cost.shape}")
    if len(at) and not at.min() > 0:
        raise UserError("the sizes of a growth must be positive")
    used = (at >= least) & (cost > 0)
    different = np.unique(at[used])
    if len(different) < LEAST_SIZES:
        nothing = (UNDEFINED,) * 4
        ends = (float(different.min()), float(different.max())) if len(different) else (UNDEFINED,) * 2
        return Growth(*nothing, *ends, len(different), UNDEFINED, confidence)
    from scipy.special import stdtrit  # type: ignore[import-untyped, unused-ignore]

    x = np.log(different)
    y = np.log([np.median(cost[used & (at == size)]) for size in different])
    deviation = x - x.mean()
    spread = float(deviation @ deviation)
    exponent = float(deviation @ y) / spread
    residual = y - y.mean() - exponent * deviation
    freedom = len(x) - 2
    half = float(stdtrit(freedom, (1 + confidence) / 2) * np.sqrt(residual @ residual / freedom / spread))
    return Growth(
        exponent=exponent,
        low=exponent - half,
        high=exponent + half,
        factor=float(np.exp(y.mean() - exponent * x.mean())),
        smallest=float(different[0]),
        largest=float(different[-1]),
        sizes=len(different),
        misfit=float(np.exp(np.abs(residual).max())),
        confidence=confidence,
    )
