"""Mean, variances and covariance as sums, taken in two passes so that large means cost no digits.

Sums of squares of raw values lose all digits where the mean is large against the deviation. The
first step finds the mean of all rows; in the second every client sums deviations from it. What is
left of the mean in those sums (``delta``, rounding) is taken out once more (Chan, Golub and LeVeque
1983, "corrected two-pass").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Sensitivity
from fedanomaly.detectors._additive import chunks
from fedanomaly.detectors._received import require_count, require_float64
from fedanomaly.detectors.base import features_of
from fedanomaly.privacy.repair import possible_covariance

Floats = npt.NDArray[np.float64]

MOST_FEATURES = 4096
"""Most features of a covariance matrix that a server takes from a client."""

_LARGEST = 1e75  # squares, and sums of them over any number of rows, stay finite
_CONSTANT = 1e-26  # a variance, in units of the squared mean, that is no more than rounding
_TINY = 1e-190  # below, a quotient by the deviation leaves the range of float64


class MeanStep(AdditiveStep):
    """The mean of all rows."""

    name = "mean"

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return count and sum of the rows."""
        return {"count": _count(X), "sum": _small(X).sum(axis=0)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept a sum of rows in range."""
        require_only(answer, {"count", "sum"})
        bound = require_count(state, answer, turn) * _LARGEST
        if not len(require_float64(answer, "sum", (features_of(state),), low=-bound, high=bound)):
            raise InvalidArrays("the sum has no features")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the mean."""
        return {"moments/center": total["sum"] / int(total["count"][0])}

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """Return twice the longest row."""
        return {"count": Sensitivity(0.0, 0.0), "sum": sum_sensitivity(n_features, row_norm)}


class DeviationsStep(AdditiveStep):
    """Sums of deviations from the mean, of their squares and, if wanted, of all their products."""

    name = "deviations"

    def __init__(self, *, products: bool) -> None:
        self.products = products

    def request(self, state: Arrays) -> Arrays:
        """Return the mean of the first pass."""
        return {"center": state["moments/center"]}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return count, sum of deviations (F,) and second moments about the center, (F, F) or (F,)."""
        center = require_float64(request, "center", (X.shape[1],), low=-_LARGEST, high=_LARGEST)
        total = np.zeros(X.shape[1])
        second = np.zeros((X.shape[1], X.shape[1]) if self.products else X.shape[1])
        for part in chunks(X):
            deviations = np.ascontiguousarray(_small(X[part]) - center)
            total += deviations.sum(axis=0)
            second += second_moments(deviations, deviations, products=self.products)
        return {"count": _count(X), "sum": total, "second": second}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept moments that some table with the declared number of rows could have."""
        require_only(answer, {"count", "sum", "second"})
        count = require_count(state, answer, turn)
        n_features = len(state["moments/center"])
        if self.products and n_features > MOST_FEATURES:
            raise InvalidArrays(f"a covariance is over at most {MOST_FEATURES} features, not {n_features}")
        bound = 2 * count * _LARGEST
        total = require_float64(answer, "sum", (n_features,), low=-bound, high=bound)
        shape = (n_features, n_features) if self.products else (n_features,)
        second = require_float64(
            answer, "second", shape, low=-bound * _LARGEST * 2, high=bound * _LARGEST * 2
        )
        squares = np.diag(second) if self.products else second
        if (np.abs(total) > np.sqrt(count * np.maximum(squares, 0)) * (1 + 1e-9) + 1e-150).any():
            raise InvalidArrays("a sum is larger than its count and second moment allow (Cauchy-Schwarz)")
        if self.products:
            root = np.sqrt(np.maximum(squares, 0))
            if not np.array_equal(second, second.T) or bool(
                (np.abs(second) > np.multiply.outer(root, root) * (1 + 1e-9) + 1e-300).any()
            ):
                raise InvalidArrays("array 'second' is no sum of outer products")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep mean and second central moments of all rows (of the population, divided by n)."""
        n = int(total["count"][0])
        delta = total["sum"] / n
        square = np.multiply.outer(delta, delta) if self.products else delta**2
        return {
            "moments/count": total["count"],
            "moments/mean": state["moments/center"] + delta,
            "moments/second": total["second"] / n - square,
        }

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """Return how far two rows differ, and the squares of their deviations from the mean."""
        longest = row_norm + float(np.sqrt((request["center"] ** 2).sum()))
        return {
            "count": Sensitivity(0.0, 0.0),
            "sum": sum_sensitivity(n_features, row_norm),
            "second": square_sensitivity(n_features if self.products else 1, longest),
        }

    def repaired(self, total: Arrays) -> Arrays:
        """Return second moments that rows can have."""
        n = int(total["count"][0])
        delta = total["sum"] / n
        if self.products:
            square = np.multiply.outer(delta, delta)
            return {**total, "second": n * (possible_covariance(total["second"] / n - square) + square)}
        variance = total["second"] / n - delta**2
        least = 1e-3 * float(np.maximum(variance, 0.0).mean())
        return {**total, "second": n * (np.maximum(variance, least) + delta**2)}


def sum_sensitivity(n_features: int, row_norm: float) -> Sensitivity:
    """Return what one row changes in a sum of rows no longer than ``row_norm``."""
    return Sensitivity(2.0 * n_features**0.5 * row_norm, 2.0 * row_norm)


def square_sensitivity(n_features: int, row_norm: float) -> Sensitivity:
    """Return what one row changes in a sum of outer products; ``n_features`` 1: of squares alone.

    ``||xx' - yy'||^2 = |x|^4 + |y|^4 - 2 (x'y)^2`` in the Frobenius norm.
    """
    return Sensitivity(2.0 * n_features * row_norm**2, 2.0**0.5 * row_norm**2)


@dataclass(frozen=True)
class Correlations:
    """What mean and covariance amount to, apart from units.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_features,)
        Mean and standard deviation; the scale of a constant feature is 1.
    matrix : ndarray of shape (n_features, n_features)
        Correlations. A constant feature correlates with nothing.
    """

    mean: Floats
    scale: Floats
    matrix: Floats

    @classmethod
    def of(cls, state: Arrays, *, constant_variance: float = 1.0) -> Correlations:
        """Read what :class:`DeviationsStep` left in the state, with products.

        ``constant_variance`` goes on the diagonal for constant features, 1 for the others.
        """
        second = state["moments/second"]
        mean, scale, constant = mean_and_scale(state)
        matrix = second / np.multiply.outer(scale, scale)
        matrix[constant, :] = matrix[:, constant] = 0.0
        np.fill_diagonal(matrix, np.where(constant, constant_variance, 1.0))
        return cls(mean, scale, np.clip((matrix + matrix.T) / 2, -1.0, 1.0))


def mean_and_scale(state: Arrays) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return mean, standard deviation (1 for constant features) and which features are constant."""
    mean, second = state["moments/mean"], state["moments/second"]
    variance = np.diag(second) if second.ndim == 2 else second
    constant = variance <= np.maximum(_CONSTANT * mean**2, _TINY)
    return mean, np.sqrt(np.where(constant, 1.0, variance)), constant


def second_moments(left: Floats, right: Floats, *, products: bool) -> Floats:
    """Return the sum over rows of products of two tables' values: of all pairs, or of each feature.

    NumPy's own loops: a linear algebra library may add in another order with other numbers of threads.
    """
    return np.asarray(np.einsum("nf,ng->fg" if products else "nf,nf->f", left, right, optimize=False))


def _count(X: Array) -> Array:
    return np.array([len(X)], dtype=np.int64)


def _small(X: Array) -> Floats:
    """Return the rows; refuse values whose squares would not add up."""
    rows = np.asarray(X, dtype=np.float64)
    if rows.size and not (rows.min() > -_LARGEST and rows.max() < _LARGEST):
        raise UserError(f"the rows hold values beyond {_LARGEST:g}: rescale them, or use scaling 'robust'")
    return rows
