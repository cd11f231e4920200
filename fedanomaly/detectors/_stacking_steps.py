"""Stacking in a federation: members on one half of the rows, a logistic head on the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.core.steps import CollectStep, Step, WeightsStep
from fedanomaly.detectors._labels import labels_at_client
from fedanomaly.detectors._logistic import LogisticModel, check_weights, received_weights
from fedanomaly.detectors._members import (
    load_members,
    members_of,
    models_of,
    parts_of,
    side_by_side,
    standard,
)
from fedanomaly.detectors._received import most_rows, require_float64
from fedanomaly.detectors._score_statistics import ScoreMoments, scores_of
from fedanomaly.detectors.base import Aggregation, rows_of
from fedanomaly.prepare import balance, row_hashes

if TYPE_CHECKING:
    from fedanomaly.detectors.stacking import Stacking

Mask = npt.NDArray[np.bool_]

LEAST = 2
"""Fewest rows a client's members can do with; below that they get all its rows, and the head none."""


def for_members(X: Array) -> Mask:
    """Return which rows the members are built on, shape (n_rows,): about half.

    One bit of a hash of the row's values, as float32, decides. So equal rows lie in one half, a row
    lies in the same half whoever holds it (scaling may differ in its last bits between partitions),
    and the head never sees a row that a member was built on.
    """
    with np.errstate(over="ignore"):
        rounded = np.asarray(X).astype(np.float32)
    half = (row_hashes(rounded, _HALVES) >> np.uint64(63)).astype(bool)
    return half if int(half.sum()) >= LEAST else np.ones(len(X), dtype=bool)


def for_head(X: Array) -> Mask:
    """Return which rows the head is trained on: all others."""
    return ~for_members(X)


_HALVES = 0x57AC  # a key of its own: unrelated to the hash that makes the folds


class HalvesStep(CollectStep):
    """How many rows each client has for the members, and for the head by label."""

    name = "halves"

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``halves`` (3,): rows for members, normal rows and anomalies for the head."""
        members = for_members(X)
        head = np.bincount(labels_at_client(X, y)[~members], minlength=2)
        return {"halves": np.array([members.sum(), *head], dtype=np.int64)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept no more rows than the client can have, and at least one for the members."""
        require_only(answer, {"halves"})
        most = most_rows(state, turn)
        halves = require(answer, "halves", kind="i", shape=(3,), low=0, high=most)
        if halves.dtype != np.int64 or halves[0] < 1 or int(halves.sum()) > most:
            raise InvalidArrays(f"halves must be int64 and count 1 to {most} rows, got {halves}")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Keep rows for the members by client, and the head's labels over all clients."""
        rows = np.zeros(len(rows_of(state)), dtype=np.int64)
        for turn, answer in answers:
            rows[turn.client] = answer["halves"][0]
        classes = np.sum([answer["halves"][1:] for _, answer in answers], axis=0)
        return {"halves/members": rows, "halves/classes": np.asarray(classes, dtype=np.int64)}


class HeadStep(WeightsStep):
    """Local gradient steps of a logistic regression on the members' standard scores, balanced."""

    name = "head"

    def __init__(self, detector: Stacking, way: Stacked) -> None:
        self.detector = detector
        self.way = way

    def initial(self, state: Arrays) -> Arrays:
        """Return equal weights: until it has learned, the head is the mean of the standard scores."""
        return equal_weights(len(self.way.unfitted)).to_arrays()

    def request(self, state: Arrays) -> Arrays:
        """Return the members, the scale of their scores, and how many labels there are over all clients."""
        names = ("scores/location", "scores/spread", "halves/classes")
        return {**models_of(self.way.parts, state), **{name: state[name] for name in names}}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the weights after the local steps; unchanged where there is nothing to learn from."""
        fitted = load_members(self.way.unfitted, request, {n for n in request if not n.startswith("member/")})
        location = require_float64(request, "scores/location", (len(fitted),))
        spread = require_float64(request, "scores/spread", (len(fitted),), low=1e-30)
        alpha = float(self.detector.alpha)
        model, mu = received_weights(request, len(fitted), alpha)
        classes = require(request, "halves/classes", kind="i", shape=(2,), low=0)
        head = for_head(X)
        if head.any() and classes.all():
            Z = standard(scores_of(fitted, X[head]), location, spread)
            # the same synthetic rows in every round: the objective must not move
            seed = int(keyed_generator(turn.seed, "stacking", turn.client).integers(2**31 - 1))
            how = self.detector.balance or "none"
            balanced = balance(how, Z, labels_at_client(X, y)[head], seed=seed)
            shares = np.full(len(balanced.y), 1.0 / len(balanced.y))
            model = model.improved(balanced.X, balanced.y, shares, alpha, mu)
        return model.to_arrays()

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept weights inside the ball where the optimum lies."""
        check_weights(answer, len(self.way.unfitted), float(self.detector.alpha))

    def finish(self, state: Arrays, weights: Arrays) -> Arrays:
        """Keep the aggregated weights, put back into the ball: a strategy's momentum may have left it."""
        plain = {name: np.asarray(array, dtype=np.float64).reshape(-1) for name, array in weights.items()}
        model = LogisticModel.from_arrays(plain).inside(float(self.detector.alpha))
        return {f"head/{name}": array for name, array in model.to_arrays().items()}


class Stacked(Aggregation):
    """Members built before the first round on one half of the rows, then rounds of the head's weights."""

    name = "fedavg"
    title = "members on one half of the rows, then a logistic head on the other by averaged weights"
    leaks = (
        "what each member's own aggregation sends, sums of the members' scores, numbers of labels, and "
        "after every round the client's own weights of the head"
    )
    source = "Wolpert 1992; Chawla et al. 2002; McMahan et al. 2017"
    weights: ClassVar[bool] = True

    detector: Stacking

    def __init__(self, detector: Stacking) -> None:
        super().__init__(detector)
        self.unfitted = members_of(detector.members, detector.random_state)
        self.parts = parts_of(self.unfitted, for_members, "halves/members")

    def setup(self) -> Sequence[Step]:
        """Build every member at once, and sum its scores of rows it was not built on."""
        members = [[*part.setup(), *part.round(1, 1, at_once=True)] for part in self.parts]
        return [HalvesStep(), *side_by_side(members), ScoreMoments(self.unfitted, self.parts, for_head)]

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Train the head."""
        return (HeadStep(self.detector, self),)

    def model(self, state: Arrays) -> Arrays:
        """Return the members, the scale of their scores and the head."""
        if "head/coef" not in state:
            raise FederationError("the head has not been trained yet")
        return {**models_of(self.parts, state), **{name: state[name] for name in sorted(HEAD_ARRAYS)}}


def equal_weights(n_members: int) -> LogisticModel:
    """Return the head that takes the mean of the standard scores."""
    return LogisticModel(np.full(n_members, 1.0 / n_members), 0.0)


HEAD_ARRAYS = {"scores/location", "scores/spread", "head/coef", "head/intercept"}
