"""The two references: ``local``, each client alone, and ``pooled``, all rows in one place.

Every federated result stands between them; they come with every detector, without a line of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import clone

from fedanomaly.core.arrays import Array, Arrays, require, require_only, under_prefix, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import Answer, CollectStep, Step
from fedanomaly.detectors.base import Aggregation, Detector, features_of, rows_of


def aggregations_of(detector: type[Detector]) -> dict[str, type[Aggregation]]:
    """Return every way to build a detector, by name, best first: its own, then `local` and `pooled`."""
    own = detector.aggregations
    return {**own, **{way.name: way for way in (Local, Pooled) if way.name not in own}}


def fit_keyed(detector: Detector, X: Array, generator: np.random.Generator) -> tuple[Detector, int]:
    """Return a fitted copy of ``detector`` and the number of rows it saw.

    Above ``detector.exact_rows`` these are a sample without replacement, in their order.
    """
    fitted: Detector = clone(detector)
    if "random_state" in fitted.get_params():
        fitted.set_params(random_state=int(generator.integers(2**31 - 1)))
    if detector.exact_rows is not None and len(X) > detector.exact_rows:
        X = X[np.sort(generator.choice(len(X), detector.exact_rows, replace=False))]
    return fitted.fit(X), len(X)


class FitAlone(CollectStep):
    """A client fits on its own rows, once, and sends the model for safe keeping."""

    name = "fit-alone"

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Say which clients have a model already."""
        return {"fitted": _fitted(state)}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``fitted_rows`` and the model's arrays; nothing if the client has a model already."""
        if turn.client in require(request, "fitted", kind="i", shape=(None,)):
            return {}
        fitted, rows = fit_keyed(self.detector, X, turn.generator("local"))
        return {"fitted_rows": np.array(rows, dtype=np.int64), **with_prefix(fitted.to_arrays(), "model")}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept one model that loads, from a client that has none."""
        if turn.client in _fitted(state):
            require_only(answer, set())
            return
        declared = int(rows_of(state)[turn.client])
        require(answer, "fitted_rows", kind="i", shape=(), low=1, high=declared)
        model = under_prefix(answer, "model")
        require_only(answer, {"fitted_rows", *with_prefix(model, "model")})
        loaded: Detector = clone(self.detector).load(model)
        known = features_of(state) or loaded.n_features_in_
        if loaded.n_features_in_ != known:
            raise InvalidArrays(f"the model is over {loaded.n_features_in_} features, expected {known}")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Keep the new models under their clients' numbers."""
        new = [(turn.client, answer) for turn, answer in answers if answer]
        models = [with_prefix(answer, f"client-{client}") for client, answer in new]
        fitted = np.union1d(_fitted(state), [client for client, _ in new]).astype(np.int64)
        return {"local/fitted": fitted, **{name: array for model in models for name, array in model.items()}}


class Local(Aggregation):
    """Every client keeps a model of its own: what it could do without the others."""

    name = "local"
    title = "every client fits alone and keeps its own model (the lower reference)"
    leaks = "each client's own model, which the server keeps for it"
    personal = True

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Let every client fit in its first round; clients that have a model answer with nothing."""
        return (FitAlone(self.detector),)

    def model(self, state: Arrays) -> Arrays:
        """There is no common model; raise :class:`TypeError`."""
        raise TypeError("'local' has one model a client: ask for personal_model(state, client)")

    def personal_model(self, state: Arrays, client: int) -> Arrays:
        """Return one client's model."""
        if client not in _fitted(state):
            raise InvalidArrays(f"client {client} has not fitted a model yet")
        return under_prefix(state, f"client-{client}/model")


class ShipRows(CollectStep):
    """Every client's training rows, as they are."""

    name = "ship-rows"

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the rows."""
        return {"X": np.ascontiguousarray(X, dtype=np.float64)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept as many finite rows as were declared."""
        require_only(answer, {"X"})
        shape = (int(rows_of(state)[turn.client]), features_of(state))
        if require(answer, "X", kind="f", shape=shape).dtype != np.float64:
            raise InvalidArrays(f"array 'X' has dtype {answer['X'].dtype}, expected float64")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Fit on all rows, in the order of the clients."""
        if len(widths := {answer["X"].shape[1] for _, answer in answers}) != 1:
            raise InvalidArrays(f"clients sent rows of different numbers of features: {sorted(widths)}")
        X = np.concatenate([answer["X"] for _, answer in answers])
        fitted, rows = fit_keyed(self.detector, X, answers[0][0].shared_generator("pooled"))
        used = np.array(rows, dtype=np.int64)
        return {"pooled/rows_used": used, **with_prefix(fitted.to_arrays(), "pooled/model")}


class Pooled(Aggregation):
    """All training rows in one place: what the federation gives up by not sharing them."""

    name = "pooled"
    title = "all rows travel to the server, which fits there (the upper reference, not private)"
    leaks = "every training row"
    ships_rows = True

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Ship the rows in round 1; later rounds have no steps."""
        return (ShipRows(self.detector),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the model fitted on all rows."""
        if "pooled/rows_used" not in state:
            raise FederationError("no rows have been pooled yet")
        return under_prefix(state, "pooled/model")


def _fitted(state: Arrays) -> Array:
    """Return the clients that have a model, ascending."""
    return state.get("local/fitted", np.empty(0, dtype=np.int64))
