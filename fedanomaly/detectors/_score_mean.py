"""Every client's own model, all collected: a row's score is the mean, or the least abnormal, over clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from sklearn.base import clone

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, under_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import Step
from fedanomaly.detectors._fit_alone import FitAlone, fitted_clients
from fedanomaly.detectors._score_ensemble import ScoreEnsemble, Standard, join
from fedanomaly.detectors.base import Aggregation, Detector

SCORED_ROWS = 10_000
"""Most training rows whose scores a client takes median and interquartile range of."""


class FitAndScore(FitAlone):
    """A client fits on its own rows, once, and sends the model with the spread of its scores."""

    name = "fit-and-score"

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the model, ``center`` and ``scale``; nothing if there is one, or too few rows to fit on."""
        try:
            answer = super().answer(request, X, y, turn)
        except InvalidArrays:
            raise
        except ValueError:  # the parameters were tried before the run: it is the rows that do not do
            return {}
        if not answer:
            return {}
        if len(X) > SCORED_ROWS:
            X = X[np.sort(turn.generator(self.name).choice(len(X), SCORED_ROWS, replace=False))]
        fitted: Detector = clone(self.detector).load(under_prefix(answer, "model"))
        return {**answer, **Standard.of(fitted.score_samples(X)).to_arrays()}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept one model that loads, with its standard, from a client that has none; or nothing."""
        if not answer:
            return
        model = {name: array for name, array in answer.items() if name not in ("center", "scale")}
        super().check(state, model, turn)
        if len(model) != len(answer) - 2 or not model:
            raise InvalidArrays("a model, its center and its scale are expected together")
        Standard.from_arrays(answer)

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Keep the new models under their clients' numbers."""
        combined = super().combine(state, answers)
        if not fitted_clients(combined).size:
            raise FederationError(f"no client has rows enough to fit {self.detector.name} on")
        return combined


class ScoreMean(Aggregation):
    """The clients' own models side by side; a row's score is the mean of their standardised scores.

    Every client fits in its first round, as for ``local``; later rounds ask only who has no model yet.
    A client whose rows do not suffice contributes nothing. Scoring takes as many times longer as there
    are clients, and the model is as large as all of theirs.
    """

    name = "score-mean"
    title = "every client's own model, mean over clients of the standardised scores"
    leaks = (
        "each client's own model (for lof and one-class-svm: training rows as they are), and median and "
        "interquartile range of its scores on its training rows"
    )
    source = "Aggarwal and Sathe 2017; Guha et al. 2019"
    combine: ClassVar[str] = "mean"

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        self.ships_rows = detector.holds_rows

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Let every client fit in its first round."""
        return (FitAndScore(self.detector),)

    def blank(self) -> ScoreEnsemble:
        """Return the unfitted ensemble."""
        return ScoreEnsemble(clone(self.detector), combine=self.combine)

    def model(self, state: Arrays) -> Arrays:
        """Return all members, in ascending order of client."""
        clients = fitted_clients(state)
        if not clients.size:
            raise FederationError("no client has fitted a model yet")
        parts: dict[str, Arrays] = {f"client-{client}": {} for client in clients}
        for name, array in state.items():
            head, _, rest = name.partition("/")
            if head in parts:
                parts[head][rest] = array
        return join(list(parts.values()))


class ScoreMin(ScoreMean):
    """As ``score-mean``, but a row's anomaly is the smallest over clients, that is the highest score.

    A row is abnormal only if it is abnormal for every client. It serves where clients know different
    kinds of legitimate rows (label-disjoint or natural partitions): what one client's customers do is
    normal, though no other client has seen it. Elsewhere it misses what a single client, whose own
    training rows held such frauds, takes for normal.
    """

    name = "score-min"
    title = "every client's own model; abnormal is only what is abnormal for every client"
    combine = "min"
