"""One-class SVMs from sums: the mean embedding on synthetic landmarks, and hinge rounds after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.core.steps import AdditiveStep, Step, WeightsStep
from fedanomaly.detectors import _nystroem as nystroem
from fedanomaly.detectors._rbf import KernelExpansion, kernel_sum, kernel_values, weighted_sums
from fedanomaly.detectors._received import LARGE, require_count, require_float64
from fedanomaly.detectors.base import Aggregation, features_of

if TYPE_CHECKING:
    from fedanomaly.detectors.one_class_svm import OneClassSVM

Floats = npt.NDArray[np.float64]

LOCAL_STEPS = 20
"""Subgradient steps a client takes in one hinge round; each looks at all its rows."""

_MOST_FEATURES = 4096


class MomentsStep(AdditiveStep):
    """Mean and covariance of all rows; the server answers with landmarks drawn from them."""

    name = "moments"

    def __init__(self, detector: OneClassSVM) -> None:
        self.detector = detector

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return count, sum and sum of outer products of the rows."""
        return nystroem.moments(X)

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept moments that some table with the declared number of rows could have."""
        require_only(answer, {"count", "sum", "products"})
        count = require_count(state, answer, turn)
        total = require_float64(answer, "sum", (features_of(state),), low=-1e75, high=1e75)
        if not 1 <= len(total) <= _MOST_FEATURES:
            raise InvalidArrays(f"sum has {len(total)} features, expected 1 to {_MOST_FEATURES}")
        square = (len(total), len(total))
        products = require_float64(answer, "products", square, low=-1e150, high=1e150)
        spread = np.diag(products) * count - total**2
        if not np.array_equal(products, products.T) or bool((spread < -1e-9 * (1 + total**2)).any()):
            raise InvalidArrays("products is not the sum of outer products of rows that add up to sum")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Draw the landmarks."""
        mean, covariance = nystroem.mean_and_covariance(total)
        detector = self.detector
        generator = keyed_generator(detector.random_state or 0, "shared", "nystroem landmarks")
        return {
            "nystrom/landmarks": nystroem.draw_landmarks(mean, covariance, detector.n_components, generator),
            "nystrom/gamma": np.array([nystroem.kernel_gamma(detector.gamma, mean, covariance)]),
        }


class KernelMeanStep(AdditiveStep):
    """The mean over all rows of their kernel values with the landmarks: the mean embedding."""

    name = "kernel-mean"

    def request(self, state: Arrays) -> Arrays:
        """Return landmarks and kernel width."""
        return {"landmarks": state["nystrom/landmarks"], "gamma": state["nystrom/gamma"]}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return count and sum of kernel values, one a landmark."""
        landmarks, gamma = _landmarks(request, X.shape[1])
        return {"count": np.array([len(X)], dtype=np.int64), "kernel": kernel_sum(X, landmarks, gamma)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept sums of values between 0 and 1: no client can weigh more than its rows."""
        require_only(answer, {"count", "kernel"})
        count = require_count(state, answer, turn)
        shape = (len(state["nystrom/landmarks"]),)
        require_float64(answer, "kernel", shape, low=0, high=count * (1 + 1e-9))

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the mean."""
        return {"nystrom/kernel_mean": total["kernel"] / int(total["count"][0])}


class HingeStep(WeightsStep):
    """Local subgradient steps on the primal of the nu-one-class SVM in the Nyström feature space.

    The objective (Schölkopf et al. 2001, eq. 3.1) is
    ``J(w, rho) = ||w||^2 / 2 - rho + 1 / (nu n) sum_i max(0, rho - <w, phi(x_i)>)``; the clients'
    objectives weighted by their rows add up to that of all rows. Step ``t`` (counted from 0 over all
    rounds) moves ``w`` by ``2 / (t + 10)`` of its subgradient, the rate for a strongly convex function
    (Lacoste-Julien et al. 2012), and ``rho``, whose slope is in shares of rows, by 4 times as much
    times the standard deviation of the client's scores. After each step ``(w, rho)`` is put back into
    ``||w|| <= 1, |rho| <= 1``, where the optimum lies since ``||phi|| <= 1``: whatever the data, the
    iterates cannot diverge.
    """

    name = "hinge"

    def __init__(self, nu: float) -> None:
        self.nu = nu

    def initial(self, state: Arrays) -> Arrays:
        """Return the mean embedding and the ``nu`` quantile of its scores on the landmarks."""
        landmarks, gamma = state["nystrom/landmarks"], float(state["nystrom/gamma"][0])
        root = nystroem.landmark_root(landmarks, gamma)
        w = nystroem.solve_lower(root, state["nystrom/kernel_mean"])
        return {"w": w, "rho": np.array([_rho_guess(root, w, self.nu)])}

    def request(self, state: Arrays) -> Arrays:
        """Return landmarks, kernel width and the current weights."""
        return {
            "landmarks": state["nystrom/landmarks"],
            "gamma": state["nystrom/gamma"],
            **hinge_weights(state, self),
        }

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the weights after :data:`LOCAL_STEPS` steps; ``proximal_mu`` in the request is FedProx's."""
        landmarks, gamma = _landmarks(request, X.shape[1])
        start = require_float64(request, "w", (len(landmarks),))
        rho = float(require_float64(request, "rho", (1,))[0])
        proximal = {"mu": np.reshape(request.get("proximal_mu", np.zeros(1)), -1)}
        mu = float(require_float64(proximal, "mu", (1,), low=0)[0])
        root = nystroem.landmark_root(landmarks, gamma)
        K = kernel_values(X, landmarks, gamma)
        start, rho = _project(start, rho)
        w = start
        for step in range(LOCAL_STEPS):
            rate = 2.0 / ((turn.server_round - 1) * LOCAL_STEPS + step + 10.0)
            scores = weighted_sums(K, nystroem.solve_upper(root, w))
            below = scores < rho
            tail = nystroem.solve_lower(root, K[below].sum(axis=0)) / (self.nu * len(X))
            slope = w - tail + mu * (w - start)
            w, rho = _project(
                w - rate / (1.0 + mu) * slope,
                rho - 4.0 * rate * float(scores.std()) * (float(below.mean()) / self.nu - 1.0),
            )
        return {"w": w, "rho": np.array([rho])}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept weights inside the ball where the optimum lies."""
        require_only(answer, {"w", "rho"})
        shape = (len(state["nystrom/landmarks"]),)
        w = require_float64(answer, "w", shape, low=-1.1, high=1.1)
        require_float64(answer, "rho", (1,), low=-1, high=1)
        if float((w**2).sum()) > 1.0 + 1e-9:
            raise InvalidArrays("the norm of w is above 1: such weights come from no data")

    def finish(self, state: Arrays, weights: Arrays) -> Arrays:
        """Keep the aggregated weights, projected: a strategy's momentum may have left the ball."""
        w = np.asarray(weights["w"], dtype=np.float64)
        w, rho = _project(w, float(np.asarray(weights["rho"]).reshape(-1)[0]))
        return {"hinge/w": w, "hinge/rho": np.array([rho])}


class NystromMean(Aggregation):
    """Nyström features on synthetic landmarks and their mean: two additive exchanges, then finished.

    The score ``<mean phi, phi(x)>`` is a kernel density estimate projected on the landmarks, the
    limit ``nu = 1`` of the one-class SVM. Later rounds have no steps: there is nothing left to do.
    """

    name = "nystrom-mean"
    title = "additive mean embedding on synthetic Nyström landmarks (nu -> 1)"
    leaks = "sums over a client's rows: of the rows, their outer products and their kernel values"

    detector: OneClassSVM

    def setup(self) -> Sequence[Step]:
        """Draw the landmarks."""
        return (MomentsStep(self.detector),)

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Sum the kernel values in round 1."""
        return (KernelMeanStep(),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the mean embedding; ``rho`` is the ``nu`` quantile of the landmarks' scores."""
        landmarks, gamma = state["nystrom/landmarks"], float(state["nystrom/gamma"][0])
        return mean_embedding(landmarks, gamma, state["nystrom/kernel_mean"], self.detector.nu).to_arrays()


class NystromHinge(Aggregation):
    """The nu-one-class SVM in the Nyström feature space, by rounds of averaged weights."""

    name = "nystrom-hinge"
    title = "nu-one-class SVM on synthetic Nyström landmarks, weights averaged by any Flower strategy"
    leaks = "what nystrom-mean sends, then after every round the client's own weights and rho"
    weights: ClassVar[bool] = True

    detector: OneClassSVM

    def setup(self) -> Sequence[Step]:
        """Draw the landmarks, then sum the kernel values: the mean embedding is where round 1 starts."""
        return MomentsStep(self.detector), KernelMeanStep()

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Take subgradient steps at the clients."""
        return (HingeStep(self.detector.nu),)

    def model(self, state: Arrays) -> Arrays:
        """Return the current weights, folded into coefficients of the landmarks."""
        landmarks, gamma = state["nystrom/landmarks"], float(state["nystrom/gamma"][0])
        weights = hinge_weights(state, HingeStep(self.detector.nu))
        folded = nystroem.solve_upper(nystroem.landmark_root(landmarks, gamma), weights["w"])
        return KernelExpansion.single(landmarks, folded, gamma, float(weights["rho"][0])).to_arrays()


def mean_embedding(landmarks: Floats, gamma: float, kernel_mean: Floats, nu: float) -> KernelExpansion:
    """Return the mean embedding as an expansion; ``rho`` is the ``nu`` quantile of the landmarks' scores."""
    root = nystroem.landmark_root(landmarks, gamma)
    w = nystroem.solve_lower(root, kernel_mean)
    return KernelExpansion.single(landmarks, nystroem.solve_upper(root, w), gamma, _rho_guess(root, w, nu))


def hinge_weights(state: Arrays, step: HingeStep) -> Arrays:
    """Return the weights in ``state``, or the initial ones before the first round."""
    if "hinge/w" in state:
        return {"w": state["hinge/w"], "rho": state["hinge/rho"]}
    return step.initial(state)


def _rho_guess(root: Floats, w: Floats, nu: float) -> float:
    """Return the ``nu`` quantile of the landmarks' scores; row i of ``root`` is nearly phi(landmark i)."""
    return float(np.quantile((root * w).sum(axis=1), nu))


def _project(w: Floats, rho: float) -> tuple[Floats, float]:
    """Return the closest point with ``||w|| <= 1`` and ``|rho| <= 1``."""
    return w / max(1.0, float(np.sqrt((w**2).sum()))), min(1.0, max(-1.0, rho))


def _landmarks(request: Arrays, n_features: int) -> tuple[Floats, float]:
    landmarks = require_float64(request, "landmarks", (None, n_features))
    return landmarks, float(require_float64(request, "gamma", (1,), low=1 / LARGE)[0])
