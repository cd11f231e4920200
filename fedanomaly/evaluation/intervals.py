"""Means over seeds with their uncertainty, and what it takes to call two methods equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.evaluation.ranking import UNDEFINED


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its confidence interval; NaN where it is undefined.

    Attributes
    ----------
    mean, low, high : float
        Mean and ends of the two-sided t interval; the ends are NaN below two values.
    n : int
        How many values it rests on, undefined ones left out.
    confidence : float
        Level of the interval, 0 to 1.
    """

    mean: float
    low: float
    high: float
    n: int
    confidence: float

    def __str__(self) -> str:
        if not self.n:
            return "undefined"
        if self.n < 2:
            return f"{self.mean:.4f} (one value)"
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Equivalence:
    """Result of two one-sided tests (TOST) on paired differences.

    Attributes
    ----------
    difference : Interval
        Mean of ``a - b`` and its interval at level ``1 - 2 alpha``, which lies inside the margin if
        and only if the test rejects.
    margin : float
        Differences smaller than this are held to be of no consequence.
    p_value : float
        The larger of the two one-sided p-values; NaN below two pairs.
    equivalent : bool
        Whether ``p_value < alpha``.
    """

    difference: Interval
    margin: float
    p_value: float
    equivalent: bool


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """Return the mean over seeds and its t interval; undefined (NaN) values are left out.

    Parameters
    ----------
    values : sequence of float
        One value a seed.
    confidence : float in (0, 1)
        Level of the interval.
    """
    if not 0 < confidence < 1:
        raise UserError(f"the confidence must be between 0 and 1, got {confidence}")
    defined = np.asarray(values, dtype=np.float64)
    defined = defined[~np.isnan(defined)]
    n = len(defined)
    if n < 2:
        return Interval(float(defined[0]) if n else UNDEFINED, UNDEFINED, UNDEFINED, n, confidence)
    from scipy.special import stdtrit  # type: ignore[import-untyped, unused-ignore]

    mean, half = defined.mean(), stdtrit(n - 1, (1 + confidence) / 2) * _standard_error(defined)
    return Interval(float(mean), float(mean - half), float(mean + half), n, confidence)


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Callable[[npt.NDArray[np.float64]], float] = np.mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic and its percentile bootstrap interval (Efron 1979); undefined rows are left out.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, m)
        Independent units (tables, say), a row each; rows with NaN are dropped.
    statistic : callable
        Takes resampled rows and returns a number; default the mean.
    confidence : float in (0, 1)
        Level of the interval.
    resamples : int
        How often rows are drawn with replacement.
    seed : int
        Of the draws: equal values have equal intervals.
    """
    if not 0 < confidence < 1:
        raise UserError(f"the confidence must be between 0 and 1, got {confidence}")
    rows = np.asarray(values, dtype=np.float64)
    rows = rows[~np.isnan(rows.reshape(len(rows), -1)).any(axis=1)]
    n = len(rows)
    if n < 2:
        return Interval(float(statistic(rows)) if n else UNDEFINED, UNDEFINED, UNDEFINED, n, confidence)
    drawn = keyed_generator(seed, "bootstrap", n).integers(0, n, size=(resamples, n))
    found = np.array([statistic(rows[draw]) for draw in drawn])
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(rows)), float(low), float(high), n, confidence)


def paired_difference(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, confidence: float = 0.95
) -> Interval:
    """Return the mean of ``a - b`` over the same seeds and its t interval; undefined pairs are left out."""
    return mean_interval(_differences(a, b), confidence)


def equivalence(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    margin: float,
    alpha: float = 0.05,
) -> Equivalence:
    """Test whether two methods, run on the same seeds, differ by less than a margin.

    A difference that is not significant is no evidence of equality; this test is (Schuirmann 1987,
    *A comparison of the two one-sided tests procedure*).

    Parameters
    ----------
    a, b : sequence of float
        One value a seed, paired.
    margin : float
        Largest difference of no consequence, above 0, in the metric's unit.
    alpha : float in (0, 0.5)
        Level of each one-sided test.
    """
    if not margin > 0:
        raise UserError(f"the margin must be positive, got {margin}")
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha must be between 0 and 0.5, got {alpha}")
    differences = _differences(a, b)
    interval = mean_interval(differences, 1 - 2 * alpha)
    if interval.n < 2:
        return Equivalence(interval, margin, UNDEFINED, False)
    from scipy.special import stdtr  # type: ignore[import-untyped, unused-ignore]

    slack = margin - abs(interval.mean)
    error = _standard_error(differences[~np.isnan(differences)])
    # without spread the mean is the truth, and the test has nothing to doubt
    p_value = float(stdtr(interval.n - 1, -slack / error)) if error > 0 else float(slack <= 0)
    return Equivalence(interval, margin, p_value, p_value < alpha)


def _differences(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> np.ndarray:
    if len(a) != len(b):
        raise UserError(f"paired values must come from the same seeds, got {len(a)} and {len(b)} of them")
    return np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))
