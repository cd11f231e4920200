"""The server's half of growing trees level by level: which nodes are open, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, under_prefix
from fedanomaly.detectors._forest_codes import draw_cuts, node_step, packed
from fedanomaly.detectors._trees import Forest, depth_for

Hashes = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]

AT_ROOTS = 8
"""Features looked at in a root; a child: twice as many as its parent needed to find one that varies."""

AT_RETRIES = 64
"""Features looked at in a node in which none of the first ones varied."""

_FEATURES, _CUTS = 1, 2  # purposes of a node's random numbers


@dataclass(frozen=True, eq=False)
class Growth:
    """Trees that are growing. Arrays about open nodes go in order of tree, then place.

    Attributes
    ----------
    nodes : ndarray of shape (n_trees, 2**depth - 1), int32 or int64
        Packed nodes.
    counts : ndarray of shape (n_trees, 2**depth), int64
        Rows in each leaf so far.
    tree, place : ndarrays of shape (n_open,), int64
        Open nodes; the root's place is 1. One more may stand at the end, (n_trees, 0): what all
        sampled rows of all trees hold.
    asked : ndarray of shape (n_open,), int64
        How many features are looked at in each.
    features : ndarray of shape (asked.sum(),), int64
        Which ones, in the order drawn.
    choice : ndarray of shape (n_varying,), int64
        Features that they were drawn from.
    """

    nodes: Array
    counts: Array
    tree: Integers
    place: Integers
    asked: Integers
    features: Integers
    choice: Integers

    @classmethod
    def roots(cls, keys: Hashes, psi: int, n_features: int) -> Self:
        """Return trees of nothing but open roots, and the node that all rows pass."""
        n_trees = len(keys)
        blank = Forest.blank(n_trees, psi, depth_for(psi), n_features)
        tree, choice = np.arange(n_trees), np.arange(n_features)
        asked = np.full(n_trees, min(AT_ROOTS, n_features))
        place = np.ones(n_trees, dtype=np.int64)
        features = _drawn(keys, tree, place, asked, choice, 0)
        return cls(
            blank.nodes,
            blank.counts.astype(np.int64),
            np.append(tree, n_trees),
            np.append(place, 0),
            np.append(asked, n_features),
            np.append(features, choice),
            choice,
        )

    @classmethod
    def of(cls, state: Arrays) -> Self:
        """Read the growth in a state."""
        return cls(**under_prefix(state, "growth"))

    def to_arrays(self) -> Arrays:
        """Return the growth as named arrays of a state."""
        return {f"growth/{field.name}": getattr(self, field.name) for field in fields(self)}

    def next(
        self, keys: Hashes, count: Integers, low: Integers, high: Integers, grid: int, levels_left: int
    ) -> Growth:
        """Return the trees one level on.

        Parameters
        ----------
        keys : ndarray of shape (n_trees,), uint64
            Random numbers.
        count : ndarray of shape (n_open,), int64
            Sampled rows in each open node.
        low, high : ndarrays of shape (asked.sum(),), int64
            Smallest and largest code of each feature looked at.
        grid : int
            Distance between neighbouring codes.
        levels_left : int
            How many more times clients will answer; at the last they only count, and nodes close.
        """
        varies = high > low
        first = self._first(varies)
        level = level_of(self.place)
        in_tree = self.tree < len(self.nodes)
        choice = self.choice if in_tree.all() else self._varying(varies)
        growing = in_tree & (count > 1) & (level < self.height) & (levels_left > 0)
        split = growing & (first >= 0)
        again = growing & (first < 0) & (self.asked < len(self.choice)) & (len(choice) > 0)
        nodes, counts = self.nodes.copy(), self.counts.copy()
        closed = in_tree & ~split & ~again
        counts[self.tree[closed], self._bottom(level)[closed]] = count[closed]
        nodes[self.tree[split], self.place[split] - 1] = self._cut(keys, split, first, low, high, grid)

        needed = first[split] - (np.cumsum(self.asked) - self.asked)[split] + 1
        left = 2 * self.place[split]
        tree = np.concatenate([self.tree[split], self.tree[split], self.tree[again]])
        place = np.concatenate([left, left + 1, self.place[again]])
        asked = np.concatenate([np.tile(np.maximum(2, 2 * needed), 2), np.full(int(again.sum()), AT_RETRIES)])
        asked[(level_of(place) == self.height) | (levels_left == 1)] = 0
        order = np.lexsort((place, tree))
        tree, place, asked = tree[order], place[order], np.minimum(asked[order], len(choice))
        features = _drawn(keys, tree, place, asked, choice, levels_left)
        return Growth(nodes, counts, tree, place, asked, features, choice)

    def forest(self, psi: Array, n_features: int) -> Forest:
        """Return the trees when all nodes are closed.

        Where clients with sampled rows have gone missing, fewer rows than ``psi`` were counted; what
        is left then tells the shares of the leaves.
        """
        counts, rows = self.counts.copy(), self.counts.sum(axis=1)
        counts[rows == 0, 0] = np.maximum(psi, 1)[rows == 0]
        rows, psi = counts.sum(axis=1), np.maximum(psi, 1).astype(np.int32)
        if np.array_equal(rows, psi):
            return Forest(self.nodes, counts.astype(np.uint16), psi, n_features)
        return Forest(self.nodes, counts, psi, n_features, rows)

    @property
    def height(self) -> int:
        """Most splits between a root and a leaf."""
        return int(self.counts.shape[1]).bit_length() - 1

    def _first(self, varies: npt.NDArray[np.bool_]) -> Integers:
        """Return where, among all features looked at, each node's first one that varies is; -1 if nowhere."""
        first = np.full(len(self.tree), -1, dtype=np.int64)
        varying = np.flatnonzero(varies)[::-1]
        first[np.repeat(np.arange(len(self.tree)), self.asked)[varying]] = (
            varying  # the last one written stays
        )
        return first

    def _varying(self, varies: npt.NDArray[np.bool_]) -> Integers:
        """Return the features that vary among all sampled rows."""
        of_all = np.repeat(self.tree == len(self.nodes), self.asked)
        return np.sort(self.features[of_all & varies])

    def _cut(
        self,
        keys: Hashes,
        split: npt.NDArray[np.bool_],
        first: Integers,
        low: Integers,
        high: Integers,
        grid: int,
    ) -> Array:
        """Return the packed nodes of splits."""
        from fedanomaly.detectors import _forest_loops

        seeds = _forest_loops.node_seeds(keys, self.tree[split], self.place[split], _CUTS)
        at = first[split]
        cut = draw_cuts(low[at], high[at], (seeds >> np.uint64(11)) * 2.0**-53, grid)
        wide = self.nodes.itemsize == 8
        cut += grid - node_step(wide)  # rows that score are on a finer grid: up to the next coarse code
        return packed(cut, self.features[at], wide)

    def _bottom(self, level: Integers) -> Integers:
        """Return the bottom positions where open nodes would keep their rows."""
        return np.asarray((self.place << (self.height - level)) - 2**self.height)


def level_of(place: Integers) -> Integers:
    """Return floor(log2(place)), exactly; 0 for place 0."""
    return np.asarray(np.maximum(np.frexp(place.astype(np.float64))[1] - 1, 0), dtype=np.int64)


def _drawn(
    keys: Hashes, tree: Integers, place: Integers, asked: Integers, choice: Integers, attempt: int
) -> Integers:
    """Return the features to look at, a random order for each node and attempt."""
    from fedanomaly.detectors import _forest_loops

    seeds = _forest_loops.node_seeds(keys, tree, place, _FEATURES + 256 * attempt)
    features = np.empty(int(asked.sum()), dtype=np.int64)
    _forest_loops.candidates(seeds, asked, choice.copy(), features)
    return features
