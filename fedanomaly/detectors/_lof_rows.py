"""Local outlier factors on rows that clients ship: small random samples of them, or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require, require_only, under_prefix, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep, Step
from fedanomaly.detectors._local_density import LocalDensities, nearest_others, squared_distances
from fedanomaly.detectors._received import most_rows, require_float64
from fedanomaly.detectors.base import Aggregation, features_of

if TYPE_CHECKING:
    from fedanomaly.detectors.lof import LocalOutlierFactor


class RowsStep(CollectStep):
    """Every client's rows as they are: all of them, or a random sample."""

    name = "rows"

    def __init__(self, most: int | None = None) -> None:
        self.most = most

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return at most ``most`` rows, in their order."""
        if self.most is not None and len(X) > self.most:
            X = X[np.sort(turn.generator("sample").choice(len(X), self.most, replace=False))]
        return {"rows": np.array(X, dtype=np.float64, order="C")}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept rows that the client can have."""
        require_only(answer, {"rows"})
        rows = require_float64(answer, "rows", (None, features_of(state)), low=-1e100, high=1e100)
        most = min(most_rows(state, turn), self.most or most_rows(state, turn))
        if not 1 <= len(rows) <= most or not rows.shape[1]:
            raise InvalidArrays(f"expected 1 to {most} rows, got an array of shape {rows.shape}")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Keep the rows, client after client, and whose they are."""
        if len(widths := {answer["rows"].shape[1] for _, answer in answers}) != 1:
            raise InvalidArrays(f"clients sent rows of different numbers of features: {sorted(widths)}")
        rows = np.concatenate([answer["rows"] for _, answer in answers])
        if len(rows) < 2:
            raise FederationError("a local outlier factor needs at least 2 rows; the clients have 1 together")
        return {
            "lof/rows": rows,
            "lof/clients": np.array([turn.client for turn, _ in answers], dtype=np.int64),
            "lof/sizes": np.array([len(answer["rows"]) for _, answer in answers], dtype=np.int64),
        }


class SampleStep(RowsStep):
    """A random sample of every client's rows; the server deals them out to small LOFs."""

    name = "sample"

    def __init__(self, detector: LocalOutlierFactor) -> None:
        super().__init__(detector.max_samples)
        self.detector = detector

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Shuffle all samples and build one LOF on every ``max_samples`` rows or a few less."""
        rows = super().combine(state, answers)["lof/rows"]
        order = answers[0][0].shared_generator("sample").permutation(len(rows))
        n_members = min(-(-len(rows) // self.detector.max_samples), len(rows) // 2)
        k = self.detector.n_neighbors
        members = [LocalDensities.of(rows[np.sort(part)], k) for part in np.array_split(order, n_members)]
        return with_prefix(LocalDensities.union(members).to_arrays(), "members")


class Sample(Aggregation):
    """An ensemble of LOFs on at most ``max_samples`` rows each; the score is the mean of log LOF.

    Every client ships a random sample of its rows, at most ``max_samples`` whatever its size. The
    server shuffles them all before it deals them out, so that each member sees the mixture of the
    clients, and a client with a single row takes part. Small samples are what makes LOF find
    anomalies that come in clumps (subsampling: Zimek et al. 2013). Later rounds have no steps.
    """

    name = "sample"
    title = "LOFs on samples of at most max_samples rows, mean log LOF (ships training rows)"
    leaks = "at most max_samples of a client's training rows, as they are"
    source = "Breunig et al. 2000; Zimek et al. 2013"
    ships_rows = True

    detector: LocalOutlierFactor

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Collect the samples in round 1."""
        return (SampleStep(self.detector),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return all members."""
        return under_prefix(state, "members")


class NeighborsStep(CollectStep):
    """Every client finds the neighbours of its own rows among all rows; densities follow from them."""

    name = "neighbors"

    def __init__(self, detector: LocalOutlierFactor) -> None:
        self.detector = detector

    def request(self, state: Arrays) -> Arrays:
        """Return all rows, and who holds how many of them, in this order."""
        return {name: state[f"lof/{name}"] for name in ("rows", "clients", "sizes")}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``neighbors`` (n_rows, k), numbers of each own row's k nearest others; nothing without rows.

        Distances are not sent: the server computes them from its rows.
        """
        rows = require_float64(request, "rows", (None, X.shape[1]), low=-1e100, high=1e100)
        clients = require(request, "clients", kind="i", shape=(None,))
        sizes = require(request, "sizes", kind="i", shape=(len(clients),), low=1)
        if sum(sizes.tolist()) != len(rows):
            raise InvalidArrays(f"sizes do not add up to {len(rows)} rows")
        mine = _held(clients, sizes).get(turn.client)
        return {} if mine is None else {"neighbors": nearest_others(rows, mine, self._k(len(rows)))}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept numbers of other rows."""
        mine = _held(state["lof/clients"], state["lof/sizes"]).get(turn.client)
        if mine is None:
            require_only(answer, set())
            return
        require_only(answer, {"neighbors"})
        n_rows = len(state["lof/rows"])
        shape = (mine.stop - mine.start, self._k(n_rows))
        found = require(answer, "neighbors", kind="i", shape=shape, low=0, high=n_rows - 1)
        if found.dtype != np.int64 or bool((found == np.arange(mine.start, mine.stop)[:, None]).any()):
            raise InvalidArrays("neighbors must be int64 numbers of other rows")
        if bool((np.diff(np.sort(found, axis=1), axis=1) == 0).any()):
            raise InvalidArrays("a row cannot be another's neighbour twice")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Compute the densities; the neighbours of a client that fell silent are found here."""
        rows = state["lof/rows"]
        told = {turn.client: answer["neighbors"] for turn, answer in answers if answer}
        held = _held(state["lof/clients"], state["lof/sizes"])
        k = self._k(len(rows))
        which = np.concatenate(
            [told[c] if c in told else nearest_others(rows, mine, k) for c, mine in held.items()]
        )
        member = LocalDensities.of_neighbors(rows, squared_distances(rows, which), which)
        return with_prefix(member.to_arrays(), "exact")

    def _k(self, n_rows: int) -> int:
        return min(self.detector.n_neighbors, n_rows - 1)


class Exact(Aggregation):
    """The LOF of all rows, computed where the rows are; equal to scikit-learn's on the pooled rows.

    A k-distance needs a row's nearest neighbours wherever they are held, so all rows cross: to the
    server, and from there to every client, each of which searches the neighbours of its own rows. That
    divides the quadratic part of the work by the number of clients. The named upper bound of what a
    federated LOF can be, and private in no sense; unlike ``pooled`` it takes no sample above
    ``exact_rows``. Later rounds have no steps.
    """

    name = "exact"
    title = "LOF of all rows, neighbours searched by the clients (ships all rows; the upper bound)"
    leaks = "every training row, to the server and to every other client"
    source = "Breunig et al. 2000"
    ships_rows = True

    detector: LocalOutlierFactor

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Ship the rows, then search the neighbours, in round 1."""
        return (RowsStep(), NeighborsStep(self.detector)) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return the one member."""
        return under_prefix(state, "exact")


def _held(clients: Array, sizes: Array) -> dict[int, slice]:
    """Return where each client's rows are among all, in their order."""
    ends = np.cumsum(sizes).tolist()
    return {
        client: slice(end - size, end)
        for client, size, end in zip(clients.tolist(), sizes.tolist(), ends, strict=True)
    }
