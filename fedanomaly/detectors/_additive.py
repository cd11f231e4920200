"""Detectors made of sums alone: ``fit`` runs the federation's own steps with one client."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Step
from fedanomaly.detectors.base import Aggregation, Detector, Scores

_CHUNK_VALUES = 1 << 20  # of the terms that are in memory at once

Terms = npt.NDArray[np.float64]


class Sum(Aggregation):
    """Additive steps that end in the model that pooling all rows would give.

    All but the last step are set-up, which every client takes part in; the last is round 1. Later
    rounds have no steps: the model is complete.
    """

    name = "sum"

    @abstractmethod
    def steps(self) -> Sequence[AdditiveStep]:
        """Return all steps, in order."""

    def setup(self) -> Sequence[Step]:
        """Return all steps but the last."""
        return self.steps()[:-1]

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Return the last step in round 1."""
        return self.steps()[-1:] if server_round == 1 else ()


class AdditiveDetector(Detector):
    """A detector whose model is a function of sums over rows.

    ``fit`` takes the steps of the aggregation ``sum`` with all rows at a single client, so that a
    federation gives the same model by construction: integer sums to the bit, real ones up to the
    rounding of a sum in another order.

    A row's score is minus the sum of its terms, one a feature, which :meth:`contributions` returns.
    """

    contamination: str | float

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on rows of shape (n_samples, n_features) in one place; ``y`` is ignored.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        self._check_params()
        rows: Array = validate_data(self, X, dtype=np.float64, order="C")
        way = self.aggregations[Sum.name](self)
        self._take_over(way.model(_alone(way, rows, self._rounds())))
        if self.contamination != "auto":
            share = 100.0 * float(self.contamination)
            self.offset_ = float(np.percentile(self._scores(rows), share))
        return self

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return the scores of shape (n_samples,): the lower, the more abnormal."""
        return self._scores(self._validated(X))

    def contributions(self, X: npt.ArrayLike) -> Terms:
        """Return what each feature adds to a row's abnormality, shape (n_samples, n_features).

        A row's terms add up to ``-score_samples``.
        """
        return self._terms(self._validated(X))

    def load(self, arrays: Arrays) -> Self:
        """Take over a fitted model, in place; ``offset_`` becomes that of ``contamination='auto'``."""
        self._take_over(arrays)
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    @abstractmethod
    def _take_over(self, arrays: Arrays) -> None:
        """Check arrays in full, then set every fitted attribute."""

    @abstractmethod
    def _terms(self, X: Array) -> Terms:
        """Return the terms of checked rows, C-contiguous."""

    @abstractmethod
    def _check_params(self) -> None:
        """Raise ``ValueError`` if a parameter is out of its range."""

    def _rounds(self) -> int:
        """Return how many rounds ``fit`` takes."""
        return 1

    def _scores(self, X: Array) -> Scores:
        scores = np.empty(len(X))
        for part in chunks(X):
            scores[part] = 0.0 - self._terms(X[part]).sum(axis=1)  # and not -0.0
        return scores

    def _validated(self, X: npt.ArrayLike) -> Array:
        check_is_fitted(self, "n_features_in_")
        rows: Array = validate_data(self, X, reset=False, dtype=np.float64, order="C")
        return rows


def chunks(X: Array) -> Iterator[slice]:
    """Yield slices of rows that keep about a million values each."""
    size = max(1, _CHUNK_VALUES // max(1, X.shape[1]))
    for start in range(0, len(X), size):
        yield slice(start, start + size)


def _alone(way: Aggregation, X: Array, rounds: int) -> Arrays:
    """Return the state after all rounds with one client that holds all rows."""
    state: Arrays = {
        "rows": np.array([len(X)], dtype=np.int64),
        "features": np.array(X.shape[1], dtype=np.int64),
    }
    for server_round in range(rounds + 1):
        turn = Turn(0, server_round, rounds, 0, (0,))
        for step in way.setup() if server_round == 0 else way.round(server_round, rounds):
            assert isinstance(step, AdditiveStep)
            state |= step.finish(state, step.answer(step.request(state), X, None, turn))
    return state
