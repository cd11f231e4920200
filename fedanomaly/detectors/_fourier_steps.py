"""One-class SVMs on random Fourier features: the mean map in one exchange, and hinge rounds after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Sensitivity, Step
from fedanomaly.detectors import _fourier as fourier
from fedanomaly.detectors._feature_maps import FourierMap
from fedanomaly.detectors._hinge import HingeStep
from fedanomaly.detectors._received import require_count, require_float64
from fedanomaly.detectors.base import Aggregation, features_of

if TYPE_CHECKING:
    from fedanomaly.detectors.one_class_svm import OneClassSVM


class SpreadStep(AdditiveStep):
    """Three numbers a client, from which the kernel width ``gamma='scale'`` of all rows follows."""

    name = "spread"

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return how many rows, and the sum of all their values and of the squares of these."""
        rows = np.asarray(X, dtype=np.float64)
        sums = np.array([rows.sum(axis=0).sum(), np.einsum("nf,nf->f", rows, rows, optimize=False).sum()])
        return {"count": np.array([len(rows)], dtype=np.int64), "sums": sums}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept sums that some table with the declared number of rows could have."""
        require_only(answer, {"count", "sums"})
        n_values = require_count(state, answer, turn) * (features_of(state) or 1)
        total, squares = require_float64(answer, "sums", (2,), low=-1e150, high=1e150)
        if abs(total) > 1e75 or squares * n_values - total**2 < -1e-9 * (1 + total**2):
            raise InvalidArrays("no values have this sum and this sum of squares")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep gamma."""
        n_features = features_of(state) or 1
        n_values = int(total["count"][0]) * n_features
        mean, square = (float(value) / n_values for value in total["sums"])
        variance = square - mean**2
        gamma = 1.0 / (n_features * variance) if variance > 1e-12 * square else 1.0
        return {"fourier/gamma": np.array([gamma])}

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """Return what a row no longer than ``row_norm`` changes in its values' sum and in their squares'."""
        of_sum, of_squares = 2.0 * n_features**0.5 * row_norm, row_norm**2
        sums = Sensitivity(of_sum + of_squares, (of_sum**2 + of_squares**2) ** 0.5)
        return {"count": Sensitivity(0.0, 0.0), "sums": sums}


class FourierMeanStep(AdditiveStep):
    """The mean over all rows of their random Fourier features: the mean embedding."""

    name = "fourier-mean"
    any_row_length = True

    def __init__(self, detector: OneClassSVM) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Return the kernel width."""
        return {"gamma": gamma_of(state, self.detector)}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return count and sum of the features."""
        features = FourierMap.of(request, self.detector, X.shape[1])
        total = fourier.fourier_sum(X, features.frequencies)
        return {"count": np.array([len(X)], dtype=np.int64), "features": total}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept sums of unit vectors: no client can weigh more than its rows."""
        require_only(answer, {"count", "features"})
        count, size = require_count(state, answer, turn), fourier.n_fourier(self.detector.n_components)
        high = count * np.sqrt(2.0 / size) * (1 + 1e-9)
        cosines, sines = require_float64(answer, "features", (size,), low=-high, high=high).reshape(2, -1)
        if bool((cosines**2 + sines**2 > high**2).any()):
            raise InvalidArrays("a cosine and a sine of the same angles cannot both be that large")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the mean and the kernel width it was computed with."""
        mean = total["features"] / int(total["count"][0])
        return {"fourier/gamma": gamma_of(state, self.detector), "fourier/mean": mean}

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """Return the distance of two unit vectors: 2, whatever the rows; no row needs to be clipped."""
        size = float(fourier.n_fourier(self.detector.n_components))
        return {"count": Sensitivity(0.0, 0.0), "features": Sensitivity(2.0 * size**0.5, 2.0)}


class RffMean(Aggregation):
    """Random Fourier features and their mean: one additive exchange of as many numbers as features.

    The frequencies come from the run's seed, so that nothing has to be agreed on but the kernel width;
    ``gamma='scale'`` takes three more numbers a client. The score ``<mean phi, phi(x)>`` is a kernel
    density estimate with an error of about ``1 / sqrt(n_components)``. Later rounds have no steps.
    """

    name = "rff-mean"
    title = "additive mean of random Fourier features, one exchange"
    leaks = "sums over a client's rows of n_components cosines and sines; of all values and their squares"
    source = "Rahimi and Recht 2007"

    detector: OneClassSVM

    def setup(self) -> Sequence[Step]:
        """Agree on the kernel width, where it depends on the rows."""
        return (SpreadStep(),) if self.detector.gamma == "scale" else ()

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Sum the features in round 1."""
        return (FourierMeanStep(self.detector),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the mean embedding; ``rho`` is half the mean score of all rows."""
        features = FourierMap.of(FourierMap.request(state), self.detector, features_of(state))
        return features.mean_embedding(state["fourier/mean"], self.detector.nu).to_arrays()


class RffHinge(RffMean):
    """The nu-one-class SVM on random Fourier features, by rounds of averaged weights."""

    name = "rff-hinge"
    title = "nu-one-class SVM on random Fourier features, weights averaged"
    leaks = "what rff-mean sends, then after every round the client's own weights and rho"
    source = "Rahimi and Recht 2007; McMahan et al. 2017"
    weights: ClassVar[bool] = True

    def setup(self) -> Sequence[Step]:
        """Sum the features too: the mean embedding is where round 1 starts."""
        return *super().setup(), FourierMeanStep(self.detector)

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Take subgradient steps at the clients."""
        return (HingeStep(self.detector, FourierMap),)

    def model(self, state: Arrays) -> Arrays:
        """Return the current weights."""
        return HingeStep(self.detector, FourierMap).model(state).to_arrays()


def gamma_of(state: Arrays, detector: OneClassSVM) -> Array:
    """Return the kernel width (1,): from the rows' spread, or as the detector says."""
    if "fourier/gamma" in state:
        return state["fourier/gamma"]
    width = detector.gamma
    return np.array([1.0 / (features_of(state) or 1) if width == "auto" else float(width)])
