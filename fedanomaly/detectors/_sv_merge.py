"""The union of support vectors: a cascade SVM in one exchange, which ships training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require_only, under_prefix, with_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep, Step
from fedanomaly.detectors._fourier_steps import SpreadStep, gamma_of
from fedanomaly.detectors._received import LARGE, most_rows, require_float64
from fedanomaly.detectors.base import Aggregation, features_of

if TYPE_CHECKING:
    from fedanomaly.detectors.one_class_svm import OneClassSVM


class SupportVectorsStep(CollectStep):
    """Every client's support vectors with their dual coefficients; the server fits once more, on them."""

    name = "sv-merge"

    def __init__(self, detector: OneClassSVM) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Return the kernel width, the same for all."""
        return {"gamma": gamma_of(state, self.detector)}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``vectors`` (n, n_features), training rows as they are, and ``duals`` (n,) in (0, 1]."""
        gamma = float(require_float64(request, "gamma", (1,), low=1 / LARGE)[0])
        most = self.detector.exact_rows
        if len(X) > most:
            X = X[np.sort(turn.generator(self.name).choice(len(X), most, replace=False))]
        machine = self.detector.exact_expansion(X, gamma=gamma)
        return {"vectors": machine.centers, "duals": machine.coefficients}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept what a one-class SVM on the client's rows can be."""
        require_only(answer, {"vectors", "duals"})
        vectors = require_float64(answer, "vectors", (None, features_of(state)))
        rows = min(most_rows(state, turn), self.detector.exact_rows)
        if not 1 <= len(vectors) <= rows or not vectors.shape[1]:
            raise InvalidArrays(f"expected 1 to {rows} support vectors (the client's rows)")
        duals = require_float64(answer, "duals", (len(vectors),), low=0, high=1 + 1e-9)
        if not 0 < float(duals.sum()) <= self.detector.nu * rows * (1 + 1e-6):
            raise InvalidArrays(f"dual coefficients add up to nu times the rows, at most {rows}")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Fit on the union; the share ``nu`` of all rows is a larger share of the support vectors."""
        if len(widths := {answer["vectors"].shape[1] for _, answer in answers}) != 1:
            raise InvalidArrays(f"clients sent support vectors of different widths: {sorted(widths)}")
        vectors = np.concatenate([answer["vectors"] for _, answer in answers])
        duals = np.concatenate([answer["duals"] for _, answer in answers])
        nu, most = min(1.0, float(duals.sum()) / len(duals)), self.detector.exact_rows
        if len(vectors) > most:
            generator = answers[0][0].shared_generator(self.name)
            vectors = vectors[np.sort(generator.choice(len(vectors), most, replace=False))]
        gamma = float(gamma_of(state, self.detector)[0])
        merged = self.detector.exact_expansion(vectors, gamma=gamma, nu=nu)
        return with_prefix(merged.to_arrays(), "merged")


class SvMerge(Aggregation):
    """One one-class SVM on all clients' support vectors (a cascade: Graf et al. 2004).

    Named as a baseline and warned about: at least the share ``nu`` of the rows leaves the clients as
    they are. The dual problem of all rows, with the coefficients of all rows that support no client's
    machine held at zero, is that of the union with ``nu`` enlarged to ``nu * rows / vectors``; it is
    the pooled machine wherever every support vector of that one supports a client's too. Clients, and
    the server for the union, take a keyed sample above ``exact_rows``. Later rounds have no steps.
    """

    name = "sv-merge"
    title = "one exact one-class SVM on all clients' support vectors (ships training rows; a baseline)"
    leaks = "support vectors: at least the share nu of a client's training rows, as they are"
    source = "Graf et al. 2004"
    ships_rows = True

    detector: OneClassSVM

    def setup(self) -> Sequence[Step]:
        """Agree on the kernel width, where it depends on the rows."""
        return (SpreadStep(),) if self.detector.gamma == "scale" else ()

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Collect the support vectors in round 1."""
        return (SupportVectorsStep(self.detector),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the machine on the union."""
        return under_prefix(state, "merged")
