"""The baseline that ships rows: every client's own support vector machine, their scores averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, under_prefix, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep, Step
from fedanomaly.detectors._rbf import KernelExpansion
from fedanomaly.detectors._received import most_rows
from fedanomaly.detectors.base import Aggregation, features_of

if TYPE_CHECKING:
    from fedanomaly.detectors.one_class_svm import OneClassSVM


class MembersStep(CollectStep):
    """Every client's support vectors and how its scores are distributed on its own training rows."""

    name = "support-vectors"

    def __init__(self, detector: OneClassSVM) -> None:
        self.detector = detector

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return one member; nothing if the client's rows all score the same (one row, copies of one row)."""
        most = self.detector.exact_rows
        if len(X) > most:
            X = X[np.sort(turn.generator("support-vectors").choice(len(X), most, replace=False))]
        member = self.detector.exact_expansion(X)
        scores = member.score(X)
        if not float(scores.std()) > 1e-12 * (1 + float(np.abs(scores).max())):
            return {}
        mean, scale = scores.mean(keepdims=True), scores.std(keepdims=True)
        return {**member.to_arrays(), "mean": mean, "scale": scale, "rho": (member.rho - mean) / scale}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept what a one-class SVM on the client's rows can be, or nothing."""
        if not answer:
            return
        member = KernelExpansion.from_arrays(answer)
        rows = min(most_rows(state, turn), self.detector.exact_rows)
        if len(member.sizes) != 1 or len(member.centers) > rows:
            raise InvalidArrays(f"expected one member of at most {rows} support vectors (the client's rows)")
        width, expected = member.centers.shape[1], features_of(state)
        if expected not in (None, width):
            raise InvalidArrays(f"the support vectors have {width} features, expected {expected}")
        if bool((member.coefficients < 0).any()) or bool((member.coefficients > 1).any()):
            raise InvalidArrays("dual coefficients of a one-class SVM lie between 0 and 1")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Put the members side by side."""
        members = [KernelExpansion.from_arrays(answer) for _, answer in answers if answer]
        if not members:
            raise FederationError("no client could fit a one-class SVM: every client's rows are all alike")
        return with_prefix(KernelExpansion.union(members).to_arrays(), "members")


class ScoreEnsemble(Aggregation):
    """Mean of the clients' standardised scores; the model is all their support vectors: training rows.

    Named as a baseline and warned about: it ships about ``nu`` of the rows and gains nothing over
    the Nyström models. The mean and standard deviation of a client's scores come from the rows it
    was fitted on. Later rounds have no steps.
    """

    name = "score-ensemble"
    title = "each client's exact one-class SVM, standardised scores averaged (ships training rows)"
    leaks = "support vectors: at least the share nu of a client's training rows, as they are"
    source = "Schölkopf et al. 2001; one machine a client: one-shot federated learning (Guha et al. 2019)"
    ships_rows = True

    detector: OneClassSVM

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Collect the members in round 1."""
        return (MembersStep(self.detector),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return all members."""
        return under_prefix(state, "members")
