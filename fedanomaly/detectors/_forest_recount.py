"""The recounted forest: trees as in a union, but every leaf knows how many of all rows fall into it."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.answers import Answer, Answers, Batch
from fedanomaly.core.arrays import Array, Arrays, require, require_only, under_prefix, with_prefix, within
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Sensitivity, Step
from fedanomaly.detectors._forest_arrays import MAX_ROWS, forest_from_arrays, forest_to_arrays, leaves_of
from fedanomaly.detectors._forest_codes import codes_of, grid_step
from fedanomaly.detectors._forest_union import GrowTrees, forest_so_far, with_more_trees
from fedanomaly.detectors._received import all_equal_rows, most_rows, require_equal_rows
from fedanomaly.detectors._trees import Forest
from fedanomaly.detectors.base import Aggregation

if TYPE_CHECKING:
    from fedanomaly.detectors.isolation_forest import IsolationForest


class GrowStructure(GrowTrees):
    """Every client's quota of trees, put aside to be recounted."""

    name = "grow-structure"

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Keep this round's trees."""
        grown = Forest.join([forest_from_arrays(answer, min_trees=0) for _, answer in answers])
        return with_prefix(forest_to_arrays(grown), "structure")


class CountLeaves(AdditiveStep):
    """How many of a client's rows fall into each leaf of this round's trees."""

    name = "count-leaves"

    def request(self, state: Arrays) -> Arrays:
        """Send the trees."""
        return under_prefix(state, "structure")

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the counts, in the order of the trees' own ``leaf_rows``."""
        from fedanomaly.detectors import _box_loops  # numba: only where rows are counted

        forest = forest_from_arrays(request, min_trees=0)
        if forest.n_features != X.shape[1]:
            raise InvalidArrays(f"trees are over {forest.n_features} features, rows have {X.shape[1]}")
        counts = np.zeros(forest.counts.shape, dtype=np.int64)
        _box_loops.count_leaves(codes_of(X, grid_step(X.shape[1], None)), forest.nodes, counts)
        return {"leaf_rows": counts[leaves_of(forest)]}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept the same number of rows in every tree, no more than the client may have."""
        require_only(answer, {"leaf_rows"})
        tree, _ = leaves_of(forest_from_arrays(self.request(state), min_trees=0))
        counts = require(answer, "leaf_rows", kind="i", shape=tree.shape, low=0, high=MAX_ROWS)
        if counts.dtype != np.int64:
            raise InvalidArrays(f"array 'leaf_rows' has dtype {counts.dtype}, expected int64")
        require_equal_rows(np.bincount(tree, weights=counts), most_rows(state, turn))

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Look at all counts at once: the trees are read once, and not for every client."""
        if (batch := answers.stacked({"leaf_rows": np.int64})) is None:
            return False
        forest = forest_from_arrays(self.request(state), min_trees=0)
        tree, _ = leaves_of(forest)
        if (counts := batch["leaf_rows"]).shape[1:] != tree.shape or not len(forest):
            return False
        shape = (len(counts), len(forest))
        of_client = len(forest) * np.arange(len(counts))[:, None]
        rows = np.bincount((of_client + tree).ravel(), weights=counts.ravel(), minlength=shape[0] * shape[1])
        return within(counts, 0, MAX_ROWS) and all_equal_rows(state, rows.reshape(shape), answers)

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Add the recounted trees to those of earlier rounds."""
        grown = forest_from_arrays(self.request(state), min_trees=0)
        counts = np.zeros(grown.counts.shape, dtype=np.int64)
        counts[leaves_of(grown)] = total["leaf_rows"]
        rows = counts.sum(axis=1)
        recounted = Forest(grown.nodes, counts, grown.psi, grown.n_features, rows)
        counted = forest_to_arrays(grown if (rows == grown.psi).all() else recounted)
        return with_more_trees(state, Batch([counted]))

    def sensitivity(self, request: Arrays, n_features: int, row_norm: float) -> dict[str, Sensitivity]:
        """One row for another: in each tree one leaf has a row less and one a row more."""
        changes = 2.0 * len(request["psi"])
        return {"leaf_rows": Sensitivity(changes, sqrt(changes))}

    def repaired(self, total: Arrays) -> Arrays:
        """Leave no counts below one: a leaf was grown on at least one row."""
        return {"leaf_rows": np.maximum(total["leaf_rows"], 1)}


class Recount(Aggregation):
    """A union's trees, their leaves counted over everyone's rows.

    A leaf of depth d with m of all N rows is worth d + c(psi m / N), as if the tree had been grown on
    psi rows of all clients: a region that one client finds empty and another fills is no longer abnormal.
    """

    name = "recount"
    title = "the union's trees, then one sum: how many of all clients' rows fall into each leaf"
    leaks = "what union sends, then the number of all the client's rows in each leaf of all clients' trees"
    source = "Liu et al. 2008; counts of all rows as in Tan et al. 2011"

    detector: IsolationForest

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Grow this round's share of the trees, then recount them."""
        return GrowStructure(self.detector), CountLeaves()

    def model(self, state: Arrays) -> Arrays:
        """Return the forest as it stands."""
        return forest_so_far(state)
