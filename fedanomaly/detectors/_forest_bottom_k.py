"""A tree's sample that does not depend on who holds which row: the rows that come first in a keyed order.

Every copy of a row has a place in a tree's order, the hash of (seed, tree, row, number of the copy among
equal rows), and the sample is the psi copies with the smallest places (bottom-k sampling; Cohen and Kaplan
2007). Copies of a row may lie at different clients, which cannot number them by themselves. So clients
first add up a sketch of how many rows fall into each of many hash buckets (a count-min sketch of one line;
Cormode and Muthukrishnan 2005), which bounds the number of copies from above; then each sends the hashes of
its rows that might be drawn, with its number of copies; the server adds these up, numbers the copies, and
answers with the last place drawn. Copies that several clients hold are given to the first of them: they
are equal, hence interchangeable.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn, shared_words
from fedanomaly.core.steps import AdditiveStep, CollectStep
from fedanomaly.detectors._forest_codes import Codes, codes_of, grid_step
from fedanomaly.detectors._forest_growth import Growth, Hashes, Integers
from fedanomaly.detectors._received import most_rows
from fedanomaly.detectors.base import features_of, rows_of

if TYPE_CHECKING:
    from fedanomaly.detectors.isolation_forest import IsolationForest

_ROWS_A_BUCKET = 1  # more buckets: a larger sketch; fewer: more rows that might be drawn
_FEWEST_BUCKETS, _MOST_BUCKETS = 2**8, 2**18
_ALL = 2**64 - 1


class DistinctRows(NamedTuple):
    """A client's rows, each kind once.

    Attributes
    ----------
    codes : ndarray of shape (n_distinct, n_features), int32
        What trees see of them.
    hashes : ndarray of shape (n_distinct,), uint64
        Keyed by the seed, ascending.
    copies : ndarray of shape (n_distinct,), int64
        How often the client has each.
    """

    codes: Codes
    hashes: Hashes
    copies: Integers


class Trees(NamedTuple):
    """The trees of one round, by number.

    Attributes
    ----------
    first : int
        How many trees earlier rounds have grown.
    number : int
        How many this round grows.
    """

    first: int
    number: int

    def keys(self, turn: Turn) -> Hashes:
        """Return a random number a tree: that of a run's tree 7 does not depend on its round."""
        return shared_words(turn.seed, "exact trees", self.first + self.number)[self.first :]


def distinct_rows(X: Array, grid: int | None, turn: Turn) -> DistinctRows:
    """Return the distinct rows of ``X``, of whose mantissas ``grid`` bits are looked at (None: all)."""
    from fedanomaly.detectors import _forest_loops  # numba: only where rows are hashed

    codes = codes_of(X, grid_step(X.shape[1], grid))
    hashes = np.empty(len(codes), dtype=np.uint64)
    key = shared_words(turn.seed, "exact rows", 1)[0]
    _forest_loops.hash_rows(codes, key, hashes)
    unique, first, copies = np.unique(hashes, return_index=True, return_counts=True)
    return DistinctRows(codes[first], unique, copies.astype(np.int64))


def generous_cut(n_rows: int, psi: int) -> int:
    """Return a place before which psi of ``n_rows`` random places lie, but for one time in 10**9."""
    wanted = psi + 7.0 * sqrt(psi) + 25.0
    return _ALL if wanted >= n_rows else int(wanted / n_rows * 2.0**64)


class SketchRows(AdditiveStep):
    """How many rows fall into each bucket of hashes: a bound on the copies of each row."""

    name = "sketch-rows"

    def __init__(self, detector: IsolationForest) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Say how many buckets there are."""
        return {"buckets": np.array(_buckets(state), dtype=np.int64)}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the number of rows a bucket."""
        high = _MOST_BUCKETS
        n_buckets = int(require(request, "buckets", kind="i", shape=(), low=_FEWEST_BUCKETS, high=high))
        rows = distinct_rows(X, self.detector.grid_bits, turn)
        return {"rows": _bucket_counts(rows, n_buckets).astype(np.int32)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept as many rows as a client may have."""
        require_only(answer, {"rows"})
        rows = require(answer, "rows", kind="i", shape=(_buckets(state),), low=0)
        if rows.dtype != np.int32:
            raise InvalidArrays(f"array 'rows' has dtype {rows.dtype}, expected int32")
        counted, most = int(rows.sum(dtype=np.int64)), most_rows(state, turn)
        if not 1 <= counted <= most:
            raise InvalidArrays(f"array 'rows' counts {counted} rows, expected 1 to {most}")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the sketch."""
        return {"sample/sketch": total["rows"]}


class DrawSamples(CollectStep):
    """The samples of a round's trees, as the last place that each of them reaches."""

    name = "draw-samples"

    def __init__(self, detector: IsolationForest, trees: Trees) -> None:
        self.detector = detector
        self.trees = trees

    def request(self, state: Arrays) -> Arrays:
        """Send the sketch."""
        return {"sketch": state["sample/sketch"]}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``row`` hashes and numbers of ``copies`` of all rows that might be drawn, tree by tree."""
        from fedanomaly.detectors import _forest_loops

        sketch = require(request, "sketch", kind="i", shape=(None,), low=0)
        if not 1 <= len(sketch) <= _MOST_BUCKETS:
            raise InvalidArrays(f"array 'sketch' has {len(sketch)} buckets")
        rows = distinct_rows(X, self.detector.grid_bits, turn)
        others = sketch - _bucket_counts(rows, len(sketch))
        most = rows.copies + np.maximum(others, 0)[_bucket(rows.hashes, len(sketch))]
        found = _forest_loops.may_be_drawn(rows.hashes, most, self.trees.keys(turn), self._cut(sketch))
        return {
            "per_tree": np.bincount(found[:, 0], minlength=self.trees.number).astype(np.int64),
            "row": rows.hashes[found[:, 1]],
            "copies": narrow(rows.copies[found[:, 1]]),
            "n_features": np.array(X.shape[1], dtype=np.int64),
        }

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept distinct rows, in order, of no more copies than the client may have rows."""
        require_only(answer, {"per_tree", "row", "copies", "n_features"})
        most = most_rows(state, turn)
        n_features = int(require(answer, "n_features", kind="i", shape=(), low=1, high=2**31 - 1))
        if n_features != (known := features_of(state) or n_features):
            raise InvalidArrays(f"rows have {n_features} features, expected {known}")
        per_tree = require(answer, "per_tree", kind="i", shape=(self.trees.number,), low=0, high=most)
        shape = (int(per_tree.sum()),)
        row = require(answer, "row", kind="u", shape=shape)
        copies = require(answer, "copies", kind="u", shape=shape, low=1, high=most)
        if row.dtype != np.uint64:
            raise InvalidArrays(f"array 'row' has dtype {row.dtype}, expected uint64")
        tree = np.repeat(np.arange(len(per_tree)), per_tree)
        if not bool(((row[1:] > row[:-1]) | (tree[1:] > tree[:-1])).all()):
            raise InvalidArrays("array 'row' is not strictly ascending within every tree")
        if len(tree) and int(np.bincount(tree, weights=copies).max()) > most:
            raise InvalidArrays(f"array 'copies' adds up to more than {most} rows in a tree")
        self._check_luck(state, answer, turn, most)

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Number the copies and find each tree's last place; say who gets the copies several clients have."""
        from fedanomaly.detectors import _forest_loops

        if len(widths := {int(answer["n_features"]) for _, answer in answers}) != 1:
            raise InvalidArrays(f"clients have rows of different numbers of features: {sorted(widths)}")
        sketch = state["sample/sketch"]
        psi, generous = self.detector.sample_size(int(sketch.sum(dtype=np.int64))), self._cut(sketch)
        keys = self.trees.keys(answers[0][0])
        known = _gathered(answers)
        ends = np.searchsorted(known.tree, np.arange(self.trees.number + 1))
        cuts = np.zeros(self.trees.number, dtype=np.uint64)
        drawn = np.zeros(len(known.tree), dtype=np.int64)
        for tree, key in enumerate(keys):
            part = slice(ends[tree], ends[tree + 1])
            places = _forest_loops.places(known.row[part], known.copies[part], key, generous)
            first = places[np.argsort(places[:, 0], kind="stable")[:psi]]
            if len(first):
                cuts[tree] = first[-1, 0]
                index = first[:, 1].astype(np.int64)
                drawn[part] = np.bincount(index, minlength=ends[tree + 1] - ends[tree])
        shared = (known.holders > 1) & (drawn > 0)
        sizes = np.bincount(known.tree, weights=drawn, minlength=len(keys)).astype(np.int32)
        n_features = widths.pop()
        return {
            **Growth.roots(keys, int(sizes.max(initial=1)), n_features).to_arrays(),
            "sample/sketch": sketch[:0],
            "sample/n_features": np.array(n_features, dtype=np.int64),
            "sample/psi": sizes,
            "sample/key": keys,
            "sample/cut": cuts,
            "sample/shared_tree": known.tree[shared].astype(np.int32),
            "sample/shared_row": known.row[shared],
            "sample/shared_holder": known.holder[shared].astype(np.int32),
            "sample/shared_copies": drawn[shared].astype(np.int32),
        }

    def _check_luck(self, state: Arrays, answer: Arrays, turn: Turn, most: int) -> None:
        """Refuse made-up hashes that come first in more trees than ``most`` honest rows would."""
        from fedanomaly.detectors import _forest_loops

        cut = self._cut(state["sample/sketch"])
        ends = np.concatenate([[0], np.cumsum(answer["per_tree"])])
        copies, early = answer["copies"].astype(np.int64), 0
        for tree, key in enumerate(self.trees.keys(turn)):
            part = slice(ends[tree], ends[tree + 1])
            early += len(_forest_loops.places(answer["row"][part], copies[part], key, cut))
        expected = most * self.trees.number * (int(cut) / 2.0**64)
        if early > expected + 7.0 * sqrt(expected) + 25.0:
            raise InvalidArrays(
                f"{early} rows come early in the trees' orders, at most {expected:.0f} are expected"
            )

    def _cut(self, sketch: Array) -> np.uint64:
        n_rows = int(sketch.sum(dtype=np.int64))
        return np.uint64(generous_cut(n_rows, self.detector.sample_size(n_rows)))


SAMPLE = ("cut", "shared_tree", "shared_row", "shared_holder", "shared_copies")
"""What clients need of the state to know their part of the samples."""


def my_part(request: Arrays, rows: DistinctRows, trees: Trees, turn: Turn) -> Integers:
    """Return a client's part of the samples, shape (n, 3): tree, distinct row, how often the tree has it."""
    from fedanomaly.detectors import _forest_loops

    cut = require(request, "cut", kind="u", shape=(trees.number,))
    tree = require(request, "shared_tree", kind="i", shape=(None,), low=0, high=trees.number - 1)
    row = require(request, "shared_row", kind="u", shape=tree.shape)
    holder = require(request, "shared_holder", kind="i", shape=tree.shape)
    copies = require(request, "shared_copies", kind="i", shape=tree.shape, low=1)
    sample = _forest_loops.drawn(rows.hashes, rows.copies, trees.keys(turn), cut)
    at = np.minimum(np.searchsorted(rows.hashes, row), len(rows.hashes) - 1)
    here = rows.hashes[at] == row
    by_number = sample[:, 0] * len(rows.hashes) + sample[:, 1]
    alone = ~np.isin(by_number, tree[here].astype(np.int64) * len(rows.hashes) + at[here])
    given = here & (holder == turn.client)
    return np.concatenate([sample[alone], np.column_stack([tree, at, copies])[given].astype(np.int64)])


class _Known(NamedTuple):
    """Rows that might be drawn, once a tree: in order of tree, then hash."""

    tree: Integers
    row: Hashes
    copies: Integers  # of all clients
    holder: Integers  # the first client that has it
    holders: Integers


def _gathered(answers: Sequence[Answer]) -> _Known:
    """Add up the copies that different clients have of a row."""
    tree = np.concatenate([np.repeat(np.arange(len(a["per_tree"])), a["per_tree"]) for _, a in answers])
    row = np.concatenate([answer["row"] for _, answer in answers])
    copies = np.concatenate([answer["copies"] for _, answer in answers]).astype(np.int64)
    client = np.concatenate([np.full(len(answer["row"]), turn.client) for turn, answer in answers])
    order = np.lexsort((client, row, tree))
    tree, row, copies, client = tree[order], row[order], copies[order], client[order]
    new = np.ones(len(tree), dtype=np.bool_)
    new[1:] = (tree[1:] != tree[:-1]) | (row[1:] != row[:-1])
    start = np.flatnonzero(new)
    total = np.add.reduceat(copies, start) if len(start) else copies
    return _Known(tree[start], row[start], total, client[start], np.diff(np.append(start, len(tree))))


def narrow(counts: Integers) -> Array:
    """Return counts in the smallest unsigned dtype."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))


def _buckets(state: Arrays) -> int:
    wanted = int(rows_of(state).sum()) // _ROWS_A_BUCKET
    return min(_MOST_BUCKETS, max(_FEWEST_BUCKETS, 1 << wanted.bit_length()))


def _bucket(hashes: Hashes, n_buckets: int) -> Integers:
    return (hashes % np.uint64(n_buckets)).astype(np.int64)


def _bucket_counts(rows: DistinctRows, n_buckets: int) -> Integers:
    counts = np.bincount(_bucket(rows.hashes, n_buckets), weights=rows.copies, minlength=n_buckets)
    return counts.astype(np.int64)
