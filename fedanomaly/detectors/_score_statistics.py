"""What an ensemble knows of its members' scores: moments, ranks and correlations, all from sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.detectors._members import (
    CLIP,
    Fitted,
    abnormality,
    load_members,
    models_of,
    standard,
)
from fedanomaly.detectors._prefixed import Part, Select
from fedanomaly.detectors._received import LARGE, most_rows, require_float64

Floats = npt.NDArray[np.float64]

BINS = 2400
_STRETCH = 1000.0  # heavy tails widen the standard deviation: most rows may lie within 0.01 of it
_SPAN = 20.0  # a standard score of 2.4e5, beyond what one row among 10**10 can have
_WIDTH = 2.0 * _SPAN / BINS


# -- moments ---------------------------------------------------------------------------------------


def moments(raw: Floats) -> Arrays:
    """Return ``count`` (1,), ``sum`` and ``squares`` (n_members,) of members' scores."""
    return {
        "count": np.array([len(raw)], dtype=np.int64),
        "sum": raw.sum(axis=0),
        "squares": (raw**2).sum(axis=0),
    }


def location_and_spread(total: Arrays) -> tuple[Floats, Floats]:
    """Return mean and standard deviation a member; 0 and 1 without rows, 1 where all rows score alike."""
    count = max(1, int(total["count"][0]))
    mean = total["sum"] / count
    variance = np.maximum(total["squares"] / count - mean**2, 0.0)
    noise = 1e-24 + 1e-12 * mean**2  # what rounding leaves of equal scores
    return mean, np.where(variance > noise, np.sqrt(variance), 1.0)


class ScoreMoments(AdditiveStep):
    """Sums of the members' scores and of their squares, over the rows that ``select`` leaves."""

    name = "score-moments"

    def __init__(self, unfitted: Fitted, parts: Sequence[Part], select: Select | None = None) -> None:
        self.unfitted = unfitted
        self.parts = parts
        self.select = select

    def request(self, state: Arrays) -> Arrays:
        """Return the members built so far."""
        return models_of(self.parts, state)

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return count, sums and sums of squares."""
        fitted = load_members(self.unfitted, request, set(request) - _models(request))
        rows = X if self.select is None else X[self.select(X)]
        return moments(scores_of(fitted, rows))

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept moments that scores of the client's rows can have."""
        require_only(answer, {"count", "sum", "squares"})
        count = require(answer, "count", kind="i", shape=(1,), low=0, high=most_rows(state, turn))
        if count.dtype != np.int64:
            raise InvalidArrays(f"array 'count' is {count.dtype}, expected int64")
        shape, n = (len(self.unfitted),), float(count[0])
        total = require_float64(answer, "sum", shape, low=-n * LARGE, high=n * LARGE)
        squares = require_float64(answer, "squares", shape, low=0, high=n * LARGE**2)
        if bool((total**2 > n * squares * (1 + 1e-9) + 1e-200).any()):
            raise InvalidArrays("the sums of squares are too small for the sums")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep mean and standard deviation."""
        location, spread = location_and_spread(total)
        return {"scores/location": location, "scores/spread": spread}


def scores_of(fitted: Fitted, rows: Array) -> Floats:
    """Return the members' abnormality of some rows, maybe of none."""
    return abnormality(fitted, rows) if len(rows) else np.empty((0, len(fitted)))


def _models(arrays: Arrays) -> set[str]:
    return {name for name in arrays if name.startswith("member/")}


# -- ranks and correlations ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Where members' scores of the training rows lie.

    Attributes
    ----------
    location, spread : ndarray of shape (n_members,), float64
        Mean and standard deviation of minus the scores.
    counts : ndarray of shape (n_members, BINS), int64
        Histogram of the standard scores ``z`` on an even grid of ``asinh(1000 z)`` from -20 to 20: a bin
        is 1.7 % wide, or 2e-5 in the middle, and no tail ends in one bin.
    products : ndarray of shape (n_members + 1, n_members + 1), float64
        Sum of outer products of (clipped z of all members, 1).
    """

    location: Floats
    spread: Floats
    counts: npt.NDArray[np.int64]
    products: Floats

    @classmethod
    def of(cls, raw: Floats) -> ScoreTable:
        """Return the table of members' raw scores, shape (n_rows, n_members)."""
        location, spread = location_and_spread(moments(raw))
        return cls(location, spread, *tabulate(raw, location, spread))

    def standard(self, raw: Floats) -> Floats:
        """Return clipped standard scores of rows, shape (n_rows, n_members)."""
        return standard(raw, self.location, self.spread)

    def ranks(self, raw: Floats) -> Floats:
        """Return the share of training rows each member finds less abnormal, shape (n_rows, n_members)."""
        place, bins = _place(raw, self.location, self.spread)
        inside = np.clip(place - bins, 0.0, 1.0)
        before = np.cumsum(self.counts, axis=1) - self.counts
        member = np.arange(len(self.location))
        below = before[member, bins] + inside * self.counts[member, bins]
        return np.asarray(below / np.maximum(1, self.counts.sum(axis=1)))

    def correlation(self) -> Floats:
        """Return Pearson's correlation of the members' clipped standard scores; 0 where one is constant."""
        count = max(1.0, float(self.products[-1, -1]))
        mean = self.products[:-1, -1] / count
        covariance = self.products[:-1, :-1] / count - np.multiply.outer(mean, mean)
        spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        both = np.multiply.outer(spread, spread)
        known = both > 1e-12
        correlation = np.where(known, covariance / np.where(known, both, 1.0), 0.0)
        np.fill_diagonal(correlation, 1.0)
        return np.clip(correlation, -1.0, 1.0)

    def to_arrays(self) -> Arrays:
        """Return the attributes as named arrays."""
        return {f"scores/{name}": getattr(self, name) for name in _NAMES}

    @classmethod
    def from_arrays(cls, arrays: Arrays, n_members: int) -> ScoreTable:
        """Read the arrays back, or raise :class:`InvalidArrays`."""
        shape = (n_members,)
        counts = require(arrays, "scores/counts", kind="i", shape=(n_members, BINS), low=0, high=2**52)
        if counts.dtype != np.int64:
            raise InvalidArrays(f"counts of scores are {counts.dtype}, expected int64")
        square = (n_members + 1, n_members + 1)
        return cls(
            require_float64(arrays, "scores/location", shape),
            require_float64(arrays, "scores/spread", shape, low=1e-30),
            counts,
            require_float64(arrays, "scores/products", square),
        )


_NAMES = ("location", "spread", "counts", "products")
TABLE_ARRAYS = {f"scores/{name}" for name in _NAMES}


def _place(raw: Floats, location: Floats, spread: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return where scores lie on the grid, in bins, and in which bin."""
    place = (np.arcsinh(_STRETCH * (raw - location) / spread) + _SPAN) / _WIDTH
    return place, np.clip(np.floor(place), 0, BINS - 1).astype(np.int64)


def tabulate(raw: Floats, location: Floats, spread: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return ``counts`` and ``products`` of a :class:`ScoreTable`."""
    bins = _place(raw, location, spread)[1]
    counts = np.stack([np.bincount(column, minlength=BINS) for column in bins.T]).astype(np.int64)
    z = np.column_stack([standard(raw, location, spread), np.ones(len(raw))])
    return counts, np.einsum("ni,nj->ij", z, z, optimize=False)


class ScoreTables(AdditiveStep):
    """Histograms and products of the members' standard scores."""

    name = "score-table"

    def __init__(self, unfitted: Fitted, parts: Sequence[Part]) -> None:
        self.unfitted = unfitted
        self.parts = parts

    def request(self, state: Arrays) -> Arrays:
        """Return the members, and the moments of their scores."""
        scale = {name: state[name] for name in ("scores/location", "scores/spread")}
        return {**models_of(self.parts, state), **scale}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return counts and products."""
        fitted = load_members(self.unfitted, request, set(request) - _models(request))
        shape = (len(fitted),)
        location = require_float64(request, "scores/location", shape)
        spread = require_float64(request, "scores/spread", shape, low=1e-30)
        counts, products = tabulate(abnormality(fitted, X), location, spread)
        return {"counts": counts, "products": products}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept histograms of the client's rows: one number of rows for all members."""
        require_only(answer, {"counts", "products"})
        n, most = len(self.unfitted), most_rows(state, turn)
        counts = require(answer, "counts", kind="i", shape=(n, BINS), low=0, high=most)
        rows = counts.sum(axis=1)
        if counts.dtype != np.int64 or not 1 <= int(rows[0]) <= most or bool((rows != rows[0]).any()):
            raise InvalidArrays("counts must be int64 and count the client's rows once a member")
        largest = float(rows[0]) * max(abs(bound) for bound in CLIP) ** 2 * (1 + 1e-9)
        products = require_float64(answer, "products", (n + 1, n + 1), low=-largest, high=largest)
        if not np.array_equal(products, products.T) or products[-1, -1] != rows[0]:
            raise InvalidArrays("products is not a sum of outer products over the rows counted")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the sums."""
        return {"scores/counts": total["counts"], "scores/products": total["products"]}
