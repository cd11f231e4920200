"""The count forest: everyone grows the same random trees in one box, and counts of rows are summed."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.answers import Answer, Answers
from fedanomaly.core.arrays import Array, Arrays, require, require_only, under_prefix, with_prefix, within
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn, shared_words
from fedanomaly.core.steps import AdditiveStep, CollectStep, Sensitivity, Step
from fedanomaly.detectors._box_trees import Box, CountForest
from fedanomaly.detectors._forest_codes import codes_of, grid_step, values_of
from fedanomaly.detectors._forest_union import trees_this_round
from fedanomaly.detectors._received import all_equal_rows, most_rows, require_equal_rows
from fedanomaly.detectors._trees import MAX_DEPTH, depth_for
from fedanomaly.detectors.base import Aggregation, features_of, rows_of

if TYPE_CHECKING:
    from fedanomaly.detectors.isolation_forest import IsolationForest

BOXES = ("arcsinh", "minmax")
_LEVELS = 2**18  # a value's place in its feature's range becomes a whole number: sums are exact


class FindBox(CollectStep):
    """The smallest and largest value of each feature."""

    name = "find-box"

    def __init__(self, detector: IsolationForest) -> None:
        self.detector = detector

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return codes of the smallest and largest values, outwards on the grid."""
        grid = grid_step(X.shape[1], self.detector.grid_bits)
        codes = codes_of(X, grid)
        above = grid - grid_step(X.shape[1], None)  # a rounded code stands for values up to the next
        return {"low": codes.min(axis=0), "high": codes.max(axis=0) + np.int32(above)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept ranges of the right number of features."""
        require_only(answer, {"low", "high"})
        nothing = np.zeros(len(require(answer, "low", kind="i", shape=(features_of(state),))))
        Box.from_arrays({**answer, "center": nothing, "width": nothing})

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Return the box around all rows, and the keys of all trees."""
        if len(widths := {len(answer["low"]) for _, answer in answers}) != 1:
            raise InvalidArrays(f"clients have rows of different numbers of features: {sorted(widths)}")
        low = np.min([answer["low"] for _, answer in answers], axis=0)
        high = np.max([answer["high"] for _, answer in answers], axis=0)
        seed, n_trees = answers[0][0].seed, self.detector.n_estimators
        return {
            **with_prefix(Box(low, high, np.zeros(len(low)), np.zeros(len(low))).to_arrays(), "count"),
            "count/keys": shared_words(seed, "count trees", n_trees),
            "count/psi": np.array(self.detector.sample_limit(int(rows_of(state).sum())), dtype=np.int64),
        }


class FindWidths(AdditiveStep):
    """Mean and standard deviation of each feature, from sums of whole numbers.

    A value counts as its place in its feature's range, in 262,144 steps: the sums, and with them the
    trees, do not depend on how the rows are spread over clients, as sums of real numbers would.
    """

    name = "find-widths"

    def request(self, state: Arrays) -> Arrays:
        """Send the ranges."""
        return _box(state).to_arrays()

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the number of rows, and sums of places and of their squares."""
        low, step, codes = _places(Box.from_arrays(request, X.shape[1]), X)
        places = np.clip((codes - low) / step, 0, _LEVELS - 1).astype(np.int64)
        return {
            "count": np.array([len(X)], dtype=np.int64),
            "sum": places.sum(axis=0),
            "squares": (places**2).sum(axis=0),
        }

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept sums that so many places in a range can have."""
        require_only(answer, {"count", "sum", "squares"})
        most, shape = most_rows(state, turn), state["count/low"].shape
        count = int(require(answer, "count", kind="i", shape=(1,), low=1, high=most)[0])
        total = require(answer, "sum", kind="i", shape=shape, low=0, high=count * (_LEVELS - 1))
        squares = require(answer, "squares", kind="i", shape=shape, low=0)
        if {array.dtype for array in answer.values()} != {np.dtype(np.int64)}:
            raise InvalidArrays("sums are not int64")
        if bool((squares < total).any()) or bool((squares > total * (_LEVELS - 1)).any()):
            raise InvalidArrays("array 'squares' does not suit 'sum'")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the centre and width of each feature."""
        box, n = _box(state), int(total["count"][0])
        low, step, _ = _places(box, np.empty((0, box.n_features)))
        pairs = [(int(s), int(q)) for s, q in zip(total["sum"], total["squares"], strict=True)]
        mean = np.array([s / n for s, _ in pairs])  # Python's integers: exact, whatever their size
        deviation = np.array([sqrt(max(0, q * n - s * s) / (n * n)) for s, q in pairs])
        width = np.where(box.low < box.high, np.maximum(deviation, 0.5) * step, 0.0)
        return {"count/center": low + (mean + 0.5) * step, "count/width": width}


class CountRows(AdditiveStep):
    """How many rows reach each leaf of this round's trees.

    Parameters
    ----------
    first, number : int
        Which trees.
    """

    name = "count-rows"

    def __init__(self, first: int, number: int) -> None:
        self.trees = slice(first, first + number)

    def request(self, state: Arrays) -> Arrays:
        """Send the box, the trees' keys and their depth."""
        depth = np.array(_depth(state), dtype=np.int64)
        return {**_box(state).to_arrays(), "keys": state["count/keys"][self.trees], "depth": depth}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the counts."""
        box = Box.from_arrays(request, X.shape[1])
        shape = (self.trees.stop - self.trees.start,)
        keys = require(request, "keys", kind="u", shape=shape).astype(np.uint64)
        depth = int(require(request, "depth", kind="i", shape=(), low=1, high=MAX_DEPTH))
        return {"leaf_rows": box.rows_in(X, box.trees(keys, depth)).astype(np.int32)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept the same number of rows in every tree, no more than the client may have."""
        require_only(answer, {"leaf_rows"})
        shape = (self.trees.stop - self.trees.start, 2 ** _depth(state))
        counts = require(answer, "leaf_rows", kind="i", shape=shape, low=0)
        if counts.dtype != np.int32:
            raise InvalidArrays(f"array 'leaf_rows' has dtype {counts.dtype}, expected int32")
        require_equal_rows(counts.sum(axis=1, dtype=np.int64), most_rows(state, turn))

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Look at all counts at once."""
        batch = answers.stacked({"leaf_rows": np.int32})
        shape = (self.trees.stop - self.trees.start, 2 ** _depth(state))
        if batch is None or (counts := batch["leaf_rows"]).shape[1:] != shape:
            return False
        rows = counts.sum(axis=2, dtype=np.int64)
        return within(counts, 0, np.iinfo(np.int32).max) and all_equal_rows(state, rows, answers)

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Add the trees to those of earlier rounds."""
        new = total["leaf_rows"].astype(np.int64)
        earlier = state.get("count/leaf_rows", new[:0])
        return {"count/leaf_rows": np.concatenate([earlier[: self.trees.start], new])}

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """One row for another: in each tree one leaf has a row less and one a row more."""
        changes = 2.0 * (self.trees.stop - self.trees.start)
        return {"leaf_rows": Sensitivity(changes, sqrt(changes))}

    def repaired(self, total: Arrays) -> Arrays:
        """Leave no negative counts."""
        return {"leaf_rows": np.maximum(total["leaf_rows"], 0)}


class Count(Aggregation):
    """The same random trees at every client, and the sum of their counts: any sum of rows, exactly.

    Every part of it but the box is additive: fit for secure sums, for streams (add, decay) and for
    unlearning a client or a row. See :class:`~fedanomaly.detectors._box_trees.CountForest`.
    """

    name = "count"
    title = (
        "the same random trees everywhere, counts of rows summed: additive, can add, decay and unlearn rows"
    )
    leaks = "each feature's smallest and largest value (with arcsinh boxes also sums and sums of squares)"
    source = "half-space trees (Tan et al. 2011) on random splits"

    detector: IsolationForest

    def setup(self) -> Sequence[Step]:
        """Agree on the box."""
        find = FindBox(self.detector)
        return (find, FindWidths()) if self.detector.count_box == "arcsinh" else (find,)

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Count this round's share of the trees."""
        added = [trees_this_round(self.detector.n_estimators, r, rounds) for r in range(1, server_round + 1)]
        return (CountRows(sum(added[:-1]), added[-1]),) if added[-1] else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the forest as it stands."""
        if "count/leaf_rows" not in state:
            raise FederationError("no client has counted its rows yet")
        leaf_rows = state["count/leaf_rows"]
        keys, psi = state["count/keys"][: len(leaf_rows)], int(state["count/psi"])
        return CountForest(_box(state), keys, leaf_rows, psi).to_arrays()


def _box(state: Arrays) -> Box:
    return Box(**{name: array for name, array in under_prefix(state, "count").items() if name in Box._fields})


def _depth(state: Arrays) -> int:
    return depth_for(int(state["count/psi"]))


def _places(box: Box, X: Array) -> tuple[Array, Array, Array]:
    """Return each feature's smallest value, the size of a step in its range, and the values of ``X``."""
    low, high = (values_of(code.astype(np.int64)) for code in (box.low, box.high))
    step = np.maximum((high - low) / _LEVELS, 1e-39)
    values = values_of(codes_of(X, box.step()).astype(np.int64))
    return low, step, values
