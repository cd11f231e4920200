"""Several methods over several tables: mean ranks, Friedman's test, Nemenyi's critical difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RankComparison:
    """How methods rank over tables, and which differences chance explains.

    Attributes
    ----------
    methods : tuple of str
        Best mean rank first.
    mean_ranks : tuple of float
        Theirs: 1 is the best a method can have, ``len(methods)`` the worst; ties share the mean.
    n_tables : int
        Tables with at least one defined value.
    statistic, p_value : float
        Friedman's chi-squared statistic, corrected for ties, and its p-value under "all methods are equal".
    critical_difference : float
        Two methods differ at level ``alpha`` if their mean ranks lie further apart (Nemenyi).
    alpha : float
        Level of the critical difference.
    """

    methods: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    n_tables: int
    statistic: float
    p_value: float
    critical_difference: float
    alpha: float

    @property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Return the largest sets of methods that cannot be told apart: first and last place (from 0)."""
        groups: list[tuple[int, int]] = []
        for first, rank in enumerate(self.mean_ranks):
            reach = sum(other <= rank + self.critical_difference for other in self.mean_ranks) - 1
            if reach > first and (not groups or reach > groups[-1][1]):
                groups.append((first, reach))
        return tuple(groups)


def ranks(values: npt.ArrayLike) -> Floats:
    """Return the rank of each value within its row, 1 for the highest.

    Parameters
    ----------
    values : array-like of shape (n_tables, n_methods)
        Higher is better; ties share the mean of their ranks. An undefined value (NaN) comes last: a
        method that fails on a table has lost it.
    """
    from scipy.stats import rankdata  # type: ignore[import-untyped, unused-ignore]

    known = np.asarray(values, dtype=np.float64)
    comparable = np.where(np.isnan(known), -np.inf, known)
    return np.asarray(rankdata(-comparable, axis=1), dtype=np.float64)


def compare_ranks(values: Mapping[str, Sequence[float] | Floats], alpha: float = 0.05) -> RankComparison:
    """Compare methods over tables.

    Demšar 2006, *Statistical comparisons of classifiers over multiple data sets* (JMLR 7), section 3.2.

    Parameters
    ----------
    values : mapping of str to sequence of float
        By method, one value a table (a mean over seeds, say), all in the same order; higher is
        better. Tables must be independent: seeds or partitions of one table are not.
    alpha : float in (0, 0.5)
        Level of the critical difference.

    Raises
    ------
    UserError
        If there are fewer than two methods, or no table with a defined value, or lengths differ.
    """
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha must be between 0 and 0.5, got {alpha}")
    if len(values) < 2:
        raise UserError(f"ranks compare at least two methods, got {len(values)}")
    if len({len(column) for column in values.values()}) != 1:
        raise UserError("all methods must have a value for each table (NaN where undefined)")
    matrix = np.column_stack([np.asarray(column, dtype=np.float64) for column in values.values()])
    matrix = matrix[~np.isnan(matrix).all(axis=1)]
    n, k = matrix.shape
    if not n:
        raise UserError("no table has a defined value")
    ranked = ranks(matrix)
    mean = ranked.mean(axis=0)
    statistic, p_value = _friedman(ranked)
    order = np.argsort(mean, kind="stable")
    names = list(values)
    return RankComparison(
        tuple(names[place] for place in order),
        tuple(float(mean[place]) for place in order),
        n,
        statistic,
        p_value,
        critical_difference(k, n, alpha),
        alpha,
    )


def critical_difference(n_methods: int, n_tables: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks, ``q sqrt(k (k + 1) / (6 n))`` (Demšar 2006)."""
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - alpha, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_tables)))


def _friedman(ranked: Floats) -> tuple[float, float]:
    """Return the statistic, corrected for ties, and its p-value (chi-squared, k - 1 degrees)."""
    from scipy.special import chdtrc  # type: ignore[import-untyped, unused-ignore]

    n, k = ranked.shape
    between = n * ((ranked.mean(axis=0) - (k + 1) / 2) ** 2).sum()
    within = ((ranked - (k + 1) / 2) ** 2).sum() / (n * (k - 1))
    if within == 0:  # every table is one tie: nothing speaks against equality
        return 0.0, 1.0
    statistic = float(between / within)
    return statistic, float(chdtrc(k - 1, statistic))
