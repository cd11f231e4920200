"""The exact forest: level by level, the same trees to the bit whoever holds which row."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone

from fedanomaly.core.answers import Answer, Batch
from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, CollectStep, Step
from fedanomaly.detectors._forest_arrays import forest_to_arrays
from fedanomaly.detectors._forest_bottom_k import (
    SAMPLE,
    DrawSamples,
    SketchRows,
    Trees,
    distinct_rows,
    my_part,
)
from fedanomaly.detectors._forest_codes import LARGEST, grid_step
from fedanomaly.detectors._forest_growth import Growth, Integers, level_of
from fedanomaly.detectors._forest_union import forest_so_far, trees_this_round, with_more_trees
from fedanomaly.detectors._trees import MAX_PSI, depth_for, node_dtype
from fedanomaly.detectors.base import Aggregation, Detector
from fedanomaly.detectors.references import Pooled, ShipRows

if TYPE_CHECKING:
    from fedanomaly.detectors.isolation_forest import IsolationForest

EXTRA_LEVELS = 2
"""Steps beyond a tree's height, for nodes in which no feature varied that was looked at first."""


class GrowLevel(CollectStep):
    """One level of all trees of a round: the clients say what open nodes hold, the server splits them.

    For an open node a client tells how many rows of its part of the sample are there, and the smallest
    and largest code of each feature that is looked at. Features are drawn in an order keyed by (seed,
    tree, node); the first that varies is split on, at a random value keyed likewise. Where none varies
    the node is looked at again, at more features, with the next level.

    Parameters
    ----------
    detector : IsolationForest
        Hyper-parameters.
    trees : Trees
        Trees of the round.
    levels_left : int
        How many of these steps follow in the round; in the last, 0, rows are only counted.
    """

    name = "grow-level"

    def __init__(self, detector: IsolationForest, trees: Trees, levels_left: int) -> None:
        self.detector = detector
        self.trees = trees
        self.levels_left = levels_left

    def request(self, state: Arrays) -> Arrays:
        """Send the splits so far, the open nodes, and the features to look at in each."""
        growth = Growth.of(state)
        above = 2 ** int(level_of(growth.place).max(initial=0)) - 1  # places that may have split
        return {
            **{name: state[f"sample/{name}"] for name in SAMPLE},
            "nodes": growth.nodes[:, : max(1, above)],
            "tree": growth.tree.astype(np.int32),
            "place": growth.place.astype(np.int32),
            "asked": growth.asked.astype(np.int32),
            "features": growth.features.astype(np.int32),
        }

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return, for open nodes in which the client has rows, ``rows``, ``low`` and ``spread`` of codes."""
        nodes, tree, place, asked, features = self._understood(request, X.shape[1])
        count = np.zeros(len(tree), dtype=np.int64)
        low = np.full(len(features), LARGEST, dtype=np.int32)
        high = np.full(len(features), -LARGEST - 1, dtype=np.int32)
        if len(tree):
            from fedanomaly.detectors import _forest_loops  # numba: only where there is something to do

            rows = distinct_rows(X, self.detector.grid_bits, turn)
            sample = my_part(request, rows, self.trees, turn)
            where = np.full((len(nodes) + 1, 2 * nodes.shape[1] + 2), -1, dtype=np.int32)
            where[tree, place] = np.arange(len(tree))
            starts = np.concatenate([[0], np.cumsum(asked)])
            _forest_loops.observe(rows.codes, sample, nodes, where, starts, features, count, low, high)
        here = count > 0
        looked = np.repeat(here, asked)
        return {
            "here": np.packbits(here),
            "rows": count[here].astype(np.uint32),
            "low": low[looked],
            "spread": (high[looked].astype(np.int64) - low[looked]).astype(np.uint32),
        }

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept codes on the grid, of nodes that are open and features that were asked for."""
        require_only(answer, {"here", "rows", "low", "spread"})
        growth = Growth.of(state)
        here = _here(answer, len(growth.tree))
        asked = growth.asked[here]
        rows = require(answer, "rows", kind="u", shape=(len(asked),), low=1)
        most = int(state["sample/psi"].max(initial=0))
        if bool((rows[growth.tree[here] < self.trees.number] > most).any()):
            raise InvalidArrays(f"array 'rows' holds values above {most}, the size of a sample")
        shape = (int(asked.sum()),)
        low = require(answer, "low", kind="i", shape=shape, low=-LARGEST - 1, high=LARGEST)
        spread = require(answer, "spread", kind="u", shape=shape)
        if low.dtype != np.int32 or spread.dtype != np.uint32:
            raise InvalidArrays(f"codes are {low.dtype} and {spread.dtype}, expected int32 and uint32")
        if bool(((low | spread.astype(np.int64)) % (grid := self._grid(state))).any()):
            raise InvalidArrays(f"codes are no multiples of {grid}")
        if bool((low + spread.astype(np.int64) > LARGEST).any()):
            raise InvalidArrays("array 'spread' goes beyond the largest code")
        if bool(spread[np.repeat(rows == 1, asked)].any()):
            raise InvalidArrays("array 'spread' is not zero where there is one row")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Split what can be split, close what cannot; after the last level keep the trees."""
        growth = Growth.of(state)
        count = np.zeros(len(growth.tree), dtype=np.int64)
        low = np.full(len(growth.features), LARGEST + 1, dtype=np.int64)
        high = np.full(len(growth.features), -LARGEST - 2, dtype=np.int64)
        for _, answer in answers:
            here = _here(answer, len(growth.tree))
            looked = np.repeat(here, growth.asked)
            count[here] += answer["rows"]
            low[looked] = np.minimum(low[looked], answer["low"])
            high[looked] = np.maximum(high[looked], answer["low"] + answer["spread"].astype(np.int64))
        after = growth.next(state["sample/key"], count, low, high, self._grid(state), self.levels_left)
        if self.levels_left:
            return after.to_arrays()
        forest = after.forest(state["sample/psi"], int(state["sample/n_features"]))
        return after.to_arrays() | with_more_trees(state, Batch([forest_to_arrays(forest)]))

    def _grid(self, state: Arrays) -> int:
        return grid_step(int(state["sample/n_features"]), self.detector.grid_bits)

    def _understood(
        self, request: Arrays, n_features: int
    ) -> tuple[Array, Integers, Integers, Integers, Integers]:
        """Return nodes, and tree, place, number of features and features of open nodes, checked."""
        n_trees = self.trees.number
        nodes = require(request, "nodes", kind="i", shape=(n_trees, None))
        if nodes.dtype != node_dtype(n_features) or not 1 <= nodes.shape[1] < MAX_PSI:
            raise InvalidArrays(f"array 'nodes' is {nodes.dtype} of shape {nodes.shape}")
        split_on = nodes & nodes.dtype.type(0xFFFFFFFF if nodes.itemsize == 8 else 0xFF)
        if bool((split_on >= n_features).any()):
            raise InvalidArrays("array 'nodes' splits on features that the rows do not have")
        tree = require(request, "tree", kind="i", shape=(None,), low=0, high=n_trees)
        place = require(request, "place", kind="i", shape=tree.shape, low=0, high=2 * nodes.shape[1] + 1)
        asked = require(request, "asked", kind="i", shape=tree.shape, low=0, high=n_features)
        shape = (int(asked.sum()),)
        features = require(request, "features", kind="i", shape=shape, low=0, high=n_features - 1)
        return nodes, *(array.astype(np.int64) for array in (tree, place, asked, features))  # type: ignore[return-value]


class Exact(Aggregation):
    """Trees on samples of all rows, level by level: equal to the bit for every partition of the rows.

    The forest depends on the seed and on which rows there are, not on who holds them; nor on the number
    of rounds, as long as the same clients take part in all. One round is cheapest: every round costs as
    many messages as one.
    """

    name = "exact"
    title = "trees grown level by level on samples of all rows: the same forest whoever holds which row"
    leaks = (
        "smallest and largest values of some features in each node, over the client's own sampled rows; "
        "keyed hashes of rows that might be sampled, by which a guessed or shared row can be recognised"
    )
    source = "Liu et al. 2008; bottom-k samples (Cohen and Kaplan 2007); the level-wise exchange is ours"
    pooled_by = "pooled-exact"

    detector: IsolationForest

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Draw the samples of this round's share of the trees, then grow these level by level."""
        number = trees_this_round(self.detector.n_estimators, server_round, rounds)
        if not number:
            return ()
        first = sum(
            trees_this_round(self.detector.n_estimators, earlier, rounds)
            for earlier in range(1, server_round)
        )
        trees = Trees(first, number)
        levels = depth_for(self.detector.sample_size(MAX_PSI)) + EXTRA_LEVELS
        return (
            SketchRows(self.detector),
            DrawSamples(self.detector, trees),
            *(GrowLevel(self.detector, trees, left) for left in range(levels, -1, -1)),
        )

    def model(self, state: Arrays) -> Arrays:
        """Return the forest as it stands."""
        return forest_so_far(state)


def fit_exact(detector: IsolationForest, X: Array, seed: int) -> IsolationForest:
    """Return the detector that :class:`Exact` builds under ``seed``, from all rows in one place.

    Parameters
    ----------
    detector : IsolationForest
        Hyper-parameters; not modified.
    X : ndarray of shape (n_rows, n_features)
        Rows of all clients, in any order.
    seed : int
        The run's.
    """
    state: Arrays = {"rows": np.array([len(X)]), "features": np.array(X.shape[1])}
    turn = Turn(seed, server_round=1, rounds=1, client=0, participants=(0,))
    for step in Exact(detector).round(1, 1):
        answer = step.answer(step.request(state), X, None, turn)
        if isinstance(step, CollectStep):
            state |= step.combine(state, [(turn, answer)])
        elif isinstance(step, AdditiveStep):
            state |= step.finish(state, answer)
    fitted: IsolationForest = clone(detector)
    return fitted.load(forest_so_far(state))


class ShipRowsExact(ShipRows):
    """Every client's training rows, as they are; the server grows the exact forest on them."""

    name = "ship-rows-exact"

    detector: IsolationForest

    def fit(self, X: Array, y: Array | None, turn: Turn) -> tuple[Detector, int]:
        """Return the forest that ``exact`` would have grown without moving a row."""
        return fit_exact(self.detector, X, turn.seed), len(X)


class PooledExact(Pooled):
    """All training rows in one place, and of these the forest of :class:`Exact`: the same to the bit."""

    name = "pooled-exact"
    title = "all rows travel to the server, which grows the forest of 'exact': the same bits, not private"
    source = "the upper reference of 'exact'"
    pooled_by = name
    shipping = ShipRowsExact


def _here(answer: Arrays, n_open: int) -> Array:
    """Return in which open nodes a client has rows."""
    bits = require(answer, "here", kind="u", shape=(ceil(n_open / 8),))
    if bits.dtype != np.uint8:
        raise InvalidArrays(f"array 'here' has dtype {bits.dtype}, expected uint8")
    here = np.unpackbits(bits).astype(np.bool_)
    if here[n_open:].any():
        raise InvalidArrays("array 'here' has bits beyond the last open node")
    return here[:n_open]
