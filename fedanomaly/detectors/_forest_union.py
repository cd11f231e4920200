"""The union forest: every client grows trees on its own rows, and the server keeps them all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.answers import Answer, Answers, Batch, batch_of
from fedanomaly.core.arrays import Array, Arrays, require, under_prefix, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep, Step
from fedanomaly.detectors._forest_arrays import forest_from_arrays, forest_to_arrays
from fedanomaly.detectors._forest_join import joined_arrays, joined_forest
from fedanomaly.detectors._trees import Forest, depth_for
from fedanomaly.detectors.base import Aggregation, features_of, rows_of, shares_of

if TYPE_CHECKING:
    from fedanomaly.detectors.isolation_forest import IsolationForest

_GOLDEN = 40_503  # 2**16 / golden ratio: multiples of it, modulo 2**16, spread evenly


def trees_this_round(n_estimators: int, server_round: int, rounds: int) -> int:
    """Return how many trees a round adds: ``n_estimators`` in all, and at least one in the first."""

    def by_the_end_of(number: int) -> int:
        return -(-n_estimators * number // rounds)  # ceil

    return by_the_end_of(server_round) - by_the_end_of(server_round - 1)


def apportion(n_trees: int, rows: Sequence[int], server_round: int) -> list[int]:
    """Share trees among clients in proportion to their rows, exactly: integers only.

    Systematic sampling (Madow 1949): clients lie one after another on a line, each as long as it has
    rows, and ``n_trees`` marks at equal distances give a client the trees that fall on it: its exact
    share, rounded down or up. The first mark moves with the round, so that small clients get their
    turn as well; largest remainders would pass the same ones over in every round.
    """
    line = [0, *accumulate(int(count) for count in rows)]
    total = max(1, line[-1])
    start = server_round * _GOLDEN % 2**16
    # marks k = 0, 1, ... lie at (k + start / 2**16) * total / n_trees: count those before each end
    before = [-((start * total - end * n_trees * 2**16) // (total * 2**16)) for end in line]
    return [stop - first for first, stop in pairwise(before)]


@lru_cache(maxsize=4)
def _quotas(
    n_trees: int, shares: bytes, dtype: str, participants: tuple[int, ...], server_round: int
) -> dict[int, int]:
    """Return every participant's quota; the server, and many clients in one process, ask for each."""
    rows = np.frombuffer(shares, dtype=dtype)[list(participants)].tolist()
    return dict(zip(participants, apportion(n_trees, rows, server_round), strict=True))


class GrowTrees(CollectStep):
    """Every client's quota of trees, grown on its own rows."""

    name = "grow-trees"

    def __init__(self, detector: IsolationForest) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Send everyone's number of rows (and share, where bounded), from which a client knows its quota."""
        return {name: state[name] for name in ("rows", "shares") if name in state}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the client's trees for this round; none if its quota is 0."""
        rows = require(request, "rows", kind="iu", shape=(None,), low=0, high=2**53)
        if max(turn.participants) >= len(rows):
            raise InvalidArrays(f"'rows' knows {len(rows)} clients, but {turn.participants} take part")
        require({"shares": shares_of(request)}, "shares", kind="iu", shape=rows.shape, low=0, high=2**53)
        quota = self._quota(shares_of(request), turn)
        keys = turn.generator("trees").integers(0, 2**64, size=quota, dtype=np.uint64)
        X = np.ascontiguousarray(X, dtype=np.float64)
        return forest_to_arrays(self.detector.grow(X, keys, self._depth(rows)))

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept exactly the client's quota of whole trees, grown on no more rows than it declared."""
        rows = rows_of(state)
        # number and depth first: they bound the memory that the trees unfold to
        n_trees = len(require(answer, "psi", kind="i", shape=(None,)))
        if n_trees != (quota := self._quota(shares_of(state), turn)):
            raise InvalidArrays(f"there are {n_trees} trees, the quota is {quota}")
        grown_to = int(require(answer, "depth", kind="i", shape=()))
        if grown_to != (depth := self._depth(rows)):
            raise InvalidArrays(f"trees have depth {grown_to}, expected {depth}")
        forest = forest_from_arrays(answer, min_trees=0)
        declared = int(rows[turn.client])
        if len(forest) and int(forest.psi.max()) > (most := self.detector.sample_size(declared)):
            raise InvalidArrays(f"a tree was grown on {forest.psi.max()} rows, the limit is {most}")
        if forest.n_features != (known := self._features(state, forest)):
            raise InvalidArrays(f"trees are over {forest.n_features} features, expected {known}")

    def all_sound(self, state: Arrays, answers: Answers) -> bool:
        """Look at the trees of all clients as one forest."""
        if (columns := answers.columns) is None or not {"psi", "depth"} <= columns.keys():
            return False
        rows, depth = rows_of(state), self._depth(rows_of(state))
        quotas = self._all_quotas(shares_of(state), answers.turn(answers.clients[0]))
        n_trees, grown_to = columns["psi"].lengths, columns["depth"].values  # first, as above
        if n_trees is None or n_trees.tolist() != [quotas[client] for client in answers.clients]:
            return False
        if (grown_to != depth).any():
            return False
        forest = joined_forest(columns)
        if forest is None or forest.n_features != self._features(state, forest):
            return False
        declared, of_client = np.unique(rows[answers.clients], return_inverse=True)
        most = np.array([self.detector.sample_size(int(count)) for count in declared])[of_client]
        return bool((forest.psi <= np.repeat(most, n_trees)).all())

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Add the trees of this round to those of the rounds before."""
        return with_more_trees(state, batch_of(answers))

    def _quota(self, shares: Array, turn: Turn) -> int:
        return self._all_quotas(shares, turn)[turn.client]

    def _all_quotas(self, shares: Array, turn: Turn) -> dict[int, int]:
        n_trees = trees_this_round(self.detector.n_estimators, turn.server_round, turn.rounds)
        return _quotas(n_trees, shares.tobytes(), shares.dtype.str, turn.participants, turn.server_round)

    def _features(self, state: Arrays, forest: Forest) -> int:
        """Return how many features trees must be over; ``forest``'s own where nothing is known yet."""
        return features_of(state) or int(state.get("forest/n_features", forest.n_features))

    def _depth(self, rows: Array) -> int:
        """Return the depth that the largest client's trees need: one for all clients."""
        return depth_for(self.detector.sample_size(int(rows.max())))


def forest_so_far(state: Arrays) -> Arrays:
    """Return the forest in ``state``."""
    if "forest/psi" not in state:
        raise FederationError("no client has sent a tree yet")
    return under_prefix(state, "forest")


def with_more_trees(state: Arrays, grown: Batch) -> Arrays:
    """Return the part of the state that is the forest, with the trees just grown after those before."""
    batches = [Batch([under_prefix(state, "forest")])] if "forest/psi" in state else []
    parts = _alike(Batch.joined([*batches, grown]))
    if (joined := joined_arrays(parts.columns or {})) is None:
        forests = [forest_from_arrays(part) for part in parts.each if len(part["psi"])]
        if not forests:
            return {}
        joined = forest_to_arrays(Forest.join(forests))
    return with_prefix(joined, "forest") if len(joined["psi"]) else {}


def _alike(parts: Batch) -> Batch:
    """Return forests whose ``leaf_rows``, of the least dtype in each, have one dtype in all."""
    if parts.columns is not None or not parts.each:
        return parts
    widest = np.result_type(*{part["leaf_rows"].dtype for part in parts.each})
    return Batch([{**part, "leaf_rows": part["leaf_rows"].astype(widest, copy=False)} for part in parts.each])


class Union(Aggregation):
    """All clients' trees in one forest; a client's number of trees is in proportion to its rows.

    ``n_estimators`` trees are grown over all rounds together. On iid partitions the result is as good
    as a forest on the pooled rows; where clients hold different regions of the feature space, a
    client's trees find the others' rows abnormal.
    """

    name = "union"
    title = "every client grows trees on its own rows, the forest is all of them"
    leaks = "split thresholds (values between a client's own) and the number of sampled rows in each leaf"
    source = "Liu et al. 2008"

    detector: IsolationForest

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Grow this round's share of the trees."""
        return (GrowTrees(self.detector),)

    def model(self, state: Arrays) -> Arrays:
        """Return the forest as it stands."""
        return forest_so_far(state)
