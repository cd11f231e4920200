"""The two references: ``local``, each client alone, and ``pooled``, all rows in one place.

Every federated result stands between them; they come with every detector, without a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require, require_only, under_prefix, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep, Step
from fedanomaly.detectors._fit_alone import FitAlone, fit_keyed, fitted_clients
from fedanomaly.detectors._received import most_rows
from fedanomaly.detectors._score_mean import ScoreMean, ScoreMin
from fedanomaly.detectors.base import Aggregation, Detector, features_of


def aggregations_of(detector: type[Detector]) -> dict[str, type[Aggregation]]:
    """Return every way to build a detector, by name: its own, best first, then those of every detector.

    These are ``score-mean`` and ``score-min``, and the references ``local`` and ``pooled``.
    """
    own = detector.aggregations
    return {**own, **{way.name: way for way in (ScoreMean, ScoreMin, Local, Pooled) if way.name not in own}}


class Local(Aggregation):
    """Every client keeps a model of its own: what it could do without the others."""

    name = "local"
    title = "every client fits alone and keeps its own model (the lower reference)"
    leaks = "each client's own model, which the server keeps for it (of lof and one-class-svm: training rows)"
    source = "the lower reference of every study"
    personal = True

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        self.ships_rows = detector.holds_rows

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Let every client fit in its first round; clients that have a model answer with nothing."""
        return (FitAlone(self.detector),)

    def model(self, state: Arrays) -> Arrays:
        """There is no common model; raise :class:`TypeError`."""
        raise TypeError("'local' has one model a client: ask for personal_model(state, client)")

    def personal_model(self, state: Arrays, client: int) -> Arrays:
        """Return one client's model."""
        if client not in fitted_clients(state):
            raise InvalidArrays(f"client {client} has not fitted a model yet")
        return under_prefix(state, f"client-{client}/model")


class ShipRows(CollectStep):
    """Every client's training rows, as they are; for a supervised detector with their labels."""

    name = "ship-rows"

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the rows."""
        rows = {"X": np.ascontiguousarray(X, dtype=np.float64)}
        return rows if y is None or not self.detector.supervised else {**rows, "y": y.astype(np.int8)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept finite rows, no more than the client can have."""
        require_only(answer, {"X", "y"} if self.detector.supervised else {"X"})
        X = require(answer, "X", kind="f", shape=(None, features_of(state)))
        if self.detector.supervised:
            require(answer, "y", kind="i", shape=(len(X),), low=0, high=1)
        if X.dtype != np.float64:
            raise InvalidArrays(f"array 'X' has dtype {X.dtype}, expected float64")
        most = most_rows(state, turn)
        if not 1 <= len(X) <= most:
            raise InvalidArrays(f"expected 1 to {most} rows, got {len(X)}")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Fit on all rows, in the order of the clients."""
        if len(widths := {answer["X"].shape[1] for _, answer in answers}) != 1:
            raise InvalidArrays(f"clients sent rows of different numbers of features: {sorted(widths)}")
        X = np.concatenate([answer["X"] for _, answer in answers])
        y = np.concatenate([answer["y"] for _, answer in answers]) if self.detector.supervised else None
        fitted, rows = self.fit(X, y, answers[0][0])
        used = np.array(rows, dtype=np.int64)
        return {"pooled/rows_used": used, **with_prefix(fitted.to_arrays(), "pooled/model")}

    def fit(self, X: Array, y: Array | None, turn: Turn) -> tuple[Detector, int]:
        """Return the fitted detector and the number of rows it saw."""
        return fit_keyed(self.detector, X, turn.shared_generator("pooled"), y)


class Pooled(Aggregation):
    """All training rows in one place: what the federation gives up by not sharing them."""

    name = "pooled"
    title = "all rows travel to the server, which fits there (the upper reference, not private)"
    leaks = "every training row"
    source = "the upper reference of every study"
    ships_rows = True
    shipping: ClassVar[type[ShipRows]] = ShipRows

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Ship the rows in round 1; later rounds have no steps."""
        return (self.shipping(self.detector),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the model fitted on all rows."""
        if "pooled/rows_used" not in state:
            raise FederationError("no rows have been pooled yet")
        return under_prefix(state, "pooled/model")


__all__ = ["FitAlone", "Local", "Pooled", "ShipRows", "aggregations_of", "fit_keyed"]
