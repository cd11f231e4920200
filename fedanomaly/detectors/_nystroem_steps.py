"""One-class SVMs on synthetic Nyström landmarks: the mean embedding, hinge rounds after it, SGD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Array, Arrays, require_only, within
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.core.steps import AdditiveStep, Sensitivity, Step
from fedanomaly.detectors import _nystroem as nystroem
from fedanomaly.detectors._feature_maps import NystroemMap
from fedanomaly.detectors._hinge import HingeStep, SgdStep
from fedanomaly.detectors._moments import square_sensitivity, sum_sensitivity
from fedanomaly.detectors._rbf import kernel_sum
from fedanomaly.detectors._received import counts_are_sound, require_count, require_float64
from fedanomaly.detectors.base import Aggregation, features_of
from fedanomaly.privacy.repair import possible_covariance

if TYPE_CHECKING:
    from fedanomaly.detectors.one_class_svm import OneClassSVM

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
        if _impossible(np.array([count]), total, products):
            raise InvalidArrays("products is not the sum of outer products of rows that add up to sum")

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Look at all moments at once."""
        batch = answers.stacked({"count": np.int64, "sum": np.float64, "products": np.float64})
        if batch is None or batch["sum"].ndim != 2:
            return False
        total, products = batch["sum"], batch["products"]
        n_features = total.shape[1]
        return (
            n_features == (features_of(state) or n_features)
            and 1 <= n_features <= _MOST_FEATURES
            and products.shape[1:] == (n_features, n_features)
            and counts_are_sound(state, batch["count"], answers)
            and within(total, -1e75, 1e75)
            and within(products, -1e150, 1e150)
            and not _impossible(batch["count"], total, products)
        )

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Draw the landmarks."""
        mean, covariance = nystroem.mean_and_covariance(total)
        detector = self.detector
        generator = keyed_generator(detector.random_state or 0, "shared", "nystroem landmarks")
        return {
            "nystrom/landmarks": nystroem.draw_landmarks(mean, covariance, detector.n_components, generator),
            "nystrom/gamma": np.array([nystroem.kernel_gamma(detector.gamma, mean, covariance)]),
        }

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """Return what a row no longer than ``row_norm`` changes in sum and products."""
        return {
            "count": Sensitivity(0.0, 0.0),
            "sum": sum_sensitivity(n_features, row_norm),
            "products": square_sensitivity(n_features, row_norm),
        }

    def repaired(self, total: Arrays) -> Arrays:
        """Return products that rows with this sum can have."""
        mean, covariance = nystroem.mean_and_covariance(total)
        whole = possible_covariance(covariance) + np.multiply.outer(mean, mean)
        return {**total, "products": int(total["count"][0]) * whole}


def _impossible(count: Array, total: Array, products: Array) -> bool:
    """Return whether no rows have these moments: count (..., 1), sums (..., F), products (..., F, F)."""
    spread = np.diagonal(products, axis1=-2, axis2=-1) * count - total**2
    symmetric = np.array_equal(products, products.swapaxes(-1, -2))
    return not symmetric or bool((spread < -1e-9 * (1 + total**2)).any())


class KernelMeanStep(AdditiveStep):
    """The mean over all rows of their kernel values with the landmarks: the mean embedding."""

    name = "kernel-mean"
    any_row_length = True

    def __init__(self, detector: OneClassSVM) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Return landmarks and kernel width."""
        return NystroemMap.request(state)

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return count and sum of kernel values, one a landmark."""
        features = NystroemMap.of(request, self.detector, X.shape[1])
        total = kernel_sum(X, features.landmarks, features.gamma)
        return {"count": np.array([len(X)], dtype=np.int64), "kernel": total}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept sums of values between 0 and 1: no client can weigh more than its rows."""
        require_only(answer, {"count", "kernel"})
        count = require_count(state, answer, turn)
        shape = (len(state["nystrom/landmarks"]),)
        require_float64(answer, "kernel", shape, low=0, high=count * (1 + 1e-9))

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Look at all sums at once."""
        batch = answers.stacked({"count": np.int64, "kernel": np.float64})
        return (
            batch is not None
            and batch["kernel"].shape[1:] == (len(state["nystrom/landmarks"]),)
            and counts_are_sound(state, batch["count"], answers)
            and within(batch["kernel"], 0.0, batch["count"] * (1 + 1e-9))
        )

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the mean."""
        return {"nystrom/mean": total["kernel"] / int(total["count"][0])}

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """Return the change of as many values between 0 and 1 as there are landmarks."""
        n = float(len(request["landmarks"]))
        return {"count": Sensitivity(0.0, 0.0), "kernel": Sensitivity(n, n**0.5)}

    def repaired(self, total: Arrays) -> Arrays:
        """Return sums of values between 0 and 1."""
        return {**total, "kernel": np.clip(total["kernel"], 0.0, float(total["count"][0]))}


class NystromMean(Aggregation):
    """Nyström features on synthetic landmarks and their mean: two additive exchanges, then finished.

    The score ``<mean phi, phi(x)>`` is a kernel density estimate projected on the landmarks, the
    limit ``nu = 1`` of the one-class SVM. Later rounds have no steps: there is nothing left to do.
    """

    name = "nystrom-mean"
    title = "additive mean embedding on synthetic Nyström landmarks (nu -> 1)"
    leaks = "sums over a client's rows: of the rows, their outer products and their kernel values"
    source = "Williams and Seeger 2001; nu to 1 is a Parzen window (Schölkopf et al. 2001)"

    detector: OneClassSVM

    def setup(self) -> Sequence[Step]:
        """Draw the landmarks."""
        return (MomentsStep(self.detector),)

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Sum the kernel values in round 1."""
        return (KernelMeanStep(self.detector),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the mean embedding; ``rho`` is the ``nu`` quantile of the landmarks' scores."""
        features = NystroemMap.of(NystroemMap.request(state), self.detector, features_of(state))
        return features.mean_embedding(state["nystrom/mean"], self.detector.nu).to_arrays()


class NystromHinge(Aggregation):
    """The nu-one-class SVM in the Nyström feature space, by rounds of averaged weights."""

    name = "nystrom-hinge"
    title = "nu-one-class SVM on synthetic Nyström landmarks, weights averaged by any Flower strategy"
    leaks = "what nystrom-mean sends, then after every round the client's own weights and rho"
    source = "Schölkopf et al. 2001; subgradients averaged (Lacoste-Julien et al. 2012); McMahan et al. 2017"
    weights: ClassVar[bool] = True

    detector: OneClassSVM

    def setup(self) -> Sequence[Step]:
        """Draw the landmarks, then sum the kernel values: the mean embedding is where round 1 starts."""
        return MomentsStep(self.detector), KernelMeanStep(self.detector)

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Take subgradient steps at the clients."""
        return (HingeStep(self.detector, NystroemMap),)

    def model(self, state: Arrays) -> Arrays:
        """Return the current weights, folded into coefficients of the landmarks."""
        return HingeStep(self.detector, NystroemMap).model(state).to_arrays()


class Sgd(Aggregation):
    """scikit-learn's ``SGDOneClassSVM`` in the Nyström feature space, weights averaged every round."""

    name = "sgd"
    title = "scikit-learn's SGDOneClassSVM on synthetic Nyström landmarks, weights averaged"
    leaks = (
        "sums over a client's rows: of the rows and their outer products; then after every round the "
        "client's own weights and rho"
    )
    source = "scikit-learn's SGDOneClassSVM; McMahan et al. 2017"
    weights: ClassVar[bool] = True

    detector: OneClassSVM

    def setup(self) -> Sequence[Step]:
        """Draw the landmarks."""
        return (MomentsStep(self.detector),)

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Pass over the rows once at every client."""
        return (SgdStep(self.detector, NystroemMap),)

    def model(self, state: Arrays) -> Arrays:
        """Return the current weights, folded into coefficients of the landmarks."""
        return SgdStep(self.detector, NystroemMap).model(state).to_arrays()
