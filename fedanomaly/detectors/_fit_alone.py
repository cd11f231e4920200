"""A client that fits on its own rows: the step behind ``local``, ``score-mean`` and ``score-min``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import clone

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require, require_only, under_prefix, with_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep
from fedanomaly.detectors._received import most_rows
from fedanomaly.detectors.base import Detector, features_of


def fit_keyed(
    detector: Detector, X: Array, generator: np.random.Generator, y: Array | None = None
) -> tuple[Detector, int]:
    """Return a fitted copy of ``detector`` and the number of rows it saw.

    Above ``detector.exact_rows`` these are a sample without replacement, in their order. Only a
    supervised detector is shown the labels ``y``.
    """
    fitted: Detector = clone(detector)
    if "random_state" in fitted.get_params():
        fitted.set_params(random_state=int(generator.integers(2**31 - 1)))
    if detector.exact_rows is not None and len(X) > detector.exact_rows:
        chosen = np.sort(generator.choice(len(X), detector.exact_rows, replace=False))
        X, y = X[chosen], None if y is None else y[chosen]
    return (fitted.fit(X, y) if detector.supervised else fitted.fit(X)), len(X)


class FitAlone(CollectStep):
    """A client fits on its own rows, once, and sends the model for safe keeping."""

    name = "fit-alone"

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Say which clients have a model already."""
        return {"fitted": fitted_clients(state)}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``fitted_rows`` and the model's arrays; nothing if the client has a model already."""
        if turn.client in require(request, "fitted", kind="i", shape=(None,)):
            return {}
        fitted, rows = fit_keyed(self.detector, X, turn.generator("local"), y)
        return {"fitted_rows": np.array(rows, dtype=np.int64), **with_prefix(fitted.to_arrays(), "model")}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept one model that loads, from a client that has none."""
        if turn.client in fitted_clients(state):
            require_only(answer, set())
            return
        require(answer, "fitted_rows", kind="i", shape=(), low=1, high=most_rows(state, turn))
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
        fitted = np.union1d(fitted_clients(state), [client for client, _ in new]).astype(np.int64)
        return {"local/fitted": fitted, **{name: array for model in models for name, array in model.items()}}


def fitted_clients(state: Arrays) -> Array:
    """Return the clients that have a model, ascending."""
    return state.get("local/fitted", np.empty(0, dtype=np.int64))
