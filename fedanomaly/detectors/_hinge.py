"""The nu-one-class SVM on a feature map, by rounds of local descent whose weights are averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Array, Arrays, require_only, within
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import WeightsStep
from fedanomaly.detectors._feature_maps import Expansion, FeatureMap
from fedanomaly.detectors._rbf import weighted_sums
from fedanomaly.detectors._received import require_float64
from fedanomaly.detectors.base import features_of

if TYPE_CHECKING:
    from fedanomaly.detectors.one_class_svm import OneClassSVM

Floats = npt.NDArray[np.float64]

LOCAL_STEPS = 20
"""Subgradient steps a client takes in one hinge round; each looks at all its rows."""


class HingeStep(WeightsStep):
    """Local subgradient steps on the primal of the nu-one-class SVM in a feature space.

    The objective (Schölkopf et al. 2001, eq. 3.1) is
    ``J(w, rho) = ||w||^2 / 2 - rho + 1 / (nu n) sum_i max(0, rho - <w, phi(x_i)>)``; the clients'
    objectives weighted by their rows add up to that of all rows. Step ``t`` (counted from 0 over all
    rounds) moves ``w`` by ``2 / (t + 10)`` of its subgradient, the rate for a strongly convex function
    (Lacoste-Julien et al. 2012), and ``rho``, whose slope is in shares of rows, by 4 times as much
    times the standard deviation of the client's scores. After each step ``(w, rho)`` is put back into
    ``||w|| <= 1, |rho| <= 1``, where the optimum lies since ``||phi|| <= 1``: whatever the data, the
    iterates cannot diverge.

    Parameters
    ----------
    detector : OneClassSVM
        Carries ``nu`` and what the map needs.
    map_ : type of FeatureMap
        The feature space.
    """

    name = "hinge"

    def __init__(self, detector: OneClassSVM, map_: type[FeatureMap]) -> None:
        self.detector = detector
        self.map_ = map_

    def initial(self, state: Arrays) -> Arrays:
        """Return the mean embedding and the ``nu`` quantile of scores typical for it."""
        features = self._features(state)
        w = features.features(state[f"{self.map_.prefix}/mean"])
        return {"w": w, "rho": np.array([features.rho_guess(w, self.detector.nu)])}

    def request(self, state: Arrays) -> Arrays:
        """Return what the map is made of and the current weights."""
        return {**self.map_.request(state), **self.weights(state)}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the weights after local descent; ``proximal_mu`` in the request is FedProx's."""
        features = self.map_.of(request, self.detector, X.shape[1])
        w = require_float64(request, "w", (features.size,))
        rho = float(require_float64(request, "rho", (1,))[0])
        proximal = {"mu": np.reshape(request.get("proximal_mu", np.zeros(1)), -1)}
        mu = float(require_float64(proximal, "mu", (1,), low=0)[0])
        w, rho = self._descend(features, X, *project(w, rho), mu, turn)
        return {"w": w, "rho": np.array([rho])}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept weights inside the ball where the optimum lies."""
        require_only(answer, {"w", "rho"})
        w = require_float64(answer, "w", (self._features(state).size,), low=-1.1, high=1.1)
        require_float64(answer, "rho", (1,), low=-1, high=1)
        if _outside(w):
            raise InvalidArrays("the norm of w is above 1: such weights come from no data")

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Look at all weights at once."""
        batch = answers.stacked({"w": np.float64, "rho": np.float64})
        return (
            batch is not None
            and batch["w"].shape[1:] == (self._features(state).size,)
            and batch["rho"].shape[1:] == (1,)
            and within(batch["w"], -1.1, 1.1)
            and within(batch["rho"], -1, 1)
            and not _outside(batch["w"])
        )

    def finish(self, state: Arrays, weights: Arrays) -> Arrays:
        """Keep the aggregated weights, projected: a strategy's momentum may have left the ball."""
        w = np.asarray(weights["w"], dtype=np.float64)
        w, rho = project(w, float(np.asarray(weights["rho"]).reshape(-1)[0]))
        return {"hinge/w": w, "hinge/rho": np.array([rho])}

    def weights(self, state: Arrays) -> Arrays:
        """Return the weights in ``state``, or the initial ones before the first round."""
        if "hinge/w" in state:
            return {"w": state["hinge/w"], "rho": state["hinge/rho"]}
        return self.initial(state)

    def model(self, state: Arrays) -> Expansion:
        """Return the model of the current weights."""
        weights = self.weights(state)
        return self._features(state).expansion(weights["w"], float(weights["rho"][0]))

    def _features(self, state: Arrays) -> FeatureMap:
        return self.map_.of(self.map_.request(state), self.detector, features_of(state))

    def _descend(
        self, features: FeatureMap, X: Array, start: Floats, rho: float, mu: float, turn: Turn
    ) -> tuple[Floats, float]:
        nu, w = self.detector.nu, start
        values = features.values(X)
        for step in range(LOCAL_STEPS):
            rate = 2.0 / ((turn.server_round - 1) * LOCAL_STEPS + step + 10.0)
            scores = weighted_sums(values, features.fold(w))
            below = scores < rho
            tail = features.features(values[below].sum(axis=0)) / (nu * len(X))
            slope = w - tail + mu * (w - start)
            w, rho = project(
                w - rate / (1.0 + mu) * slope,
                rho - 4.0 * rate * float(scores.std()) * (float(below.mean()) / nu - 1.0),
            )
        return w, rho


class SgdStep(HingeStep):
    """The same objective by scikit-learn's ``SGDOneClassSVM``: one pass over the client's rows a round.

    The pass goes on where the rounds before stopped: their weights and their count of updates, on
    which the falling rate depends. The first round starts at zero. The proximal term of FedProx acts
    after the pass, as a proximal step whose length is the sum of the pass's rates.
    """

    name = "sgd"

    def initial(self, state: Arrays) -> Arrays:
        """Return zeros, scikit-learn's own start."""
        return {"w": np.zeros(self._features(state).size), "rho": np.zeros(1)}

    def _descend(
        self, features: FeatureMap, X: Array, start: Floats, rho: float, mu: float, turn: Turn
    ) -> tuple[Floats, float]:
        from sklearn.linear_model import SGDOneClassSVM

        nu, before = self.detector.nu, (turn.server_round - 1) * len(X)
        machine = SGDOneClassSVM(nu=nu, random_state=int(turn.generator("sgd").integers(2**31 - 1)))
        machine.coef_, machine.offset_ = start.copy(), np.array([rho])
        machine.t_ = 1.0 + before
        machine.partial_fit(features.rows(X))
        w = machine.coef_
        if mu > 0:
            length = mu * np.log1p(len(X) / (1.0 + before)) / nu  # of rates 1 / (nu t)
            w = (w + length * start) / (1.0 + length)
        return project(w, float(machine.offset_[0]))


def _outside(w: Floats) -> bool:
    """Return whether any of the weights, shape (..., size), lies outside the ball."""
    return bool(((w**2).sum(axis=-1) > 1.0 + 1e-9).any())


def project(w: Floats, rho: float) -> tuple[Floats, float]:
    """Return the closest point with ``||w|| <= 1`` and ``|rho| <= 1``."""
    return w / max(1.0, float(np.sqrt((w**2).sum()))), min(1.0, max(-1.0, rho))
