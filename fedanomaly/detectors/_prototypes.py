"""Local outlier factors on prototypes: every client's k-means centroids, one LOF a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, require, require_only, under_prefix, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep, Step
from fedanomaly.detectors._kmeans import kmeans
from fedanomaly.detectors._local_density import LocalDensities
from fedanomaly.detectors._received import most_rows, require_float64
from fedanomaly.detectors.base import Aggregation, features_of

if TYPE_CHECKING:
    from fedanomaly.detectors.lof import LocalOutlierFactor


class CentroidsStep(CollectStep):
    """Every client's centroids of clusters with enough rows."""

    name = "centroids"

    def __init__(self, detector: LocalOutlierFactor) -> None:
        self.detector = detector

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return centroids and counts; nothing if fewer than 2 clusters have ``min_cluster_size`` rows."""
        least = self.detector.min_cluster_size
        n_clusters = min(self.detector.n_prototypes, len(X) // least)
        if n_clusters < 2:
            return {}
        centroids, counts = kmeans(X, n_clusters, turn.generator("centroids"))
        keep = counts >= least
        return {"centroids": centroids[keep], "counts": counts[keep]} if keep.sum() >= 2 else {}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept centroids that the client's rows can have, or nothing."""
        if not answer:
            return
        require_only(answer, {"centroids", "counts"})
        least, most = self.detector.min_cluster_size, self.detector.n_prototypes
        shape = (None, features_of(state))
        centroids = require_float64(answer, "centroids", shape, low=-1e100, high=1e100)
        if not (2 <= len(centroids) <= most and centroids.shape[1]):
            raise InvalidArrays(f"expected 2 to {most} centroids, got an array of shape {centroids.shape}")
        rows = most_rows(state, turn)
        counts = require(answer, "counts", kind="i", shape=(len(centroids),), low=least, high=rows)
        if sum(counts.tolist()) > rows:
            raise InvalidArrays(f"counts add up to more than the {rows} rows the client can have")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Build one LOF a client over its centroids."""
        k = self.detector.n_neighbors
        members = [LocalDensities.of(answer["centroids"], k) for _, answer in answers if answer]
        if not members:
            raise FederationError("no client has 2 clusters with enough rows; lower min_cluster_size")
        return with_prefix(LocalDensities.union(members).to_arrays(), "members")


class Prototypes(Aggregation):
    """One LOF a client over its k-means centroids; the score is the mean over clients of log LOF.

    A client whose rows do not make 2 clusters of ``min_cluster_size`` contributes nothing, and its
    answer is empty. Later rounds have no steps: the model is complete after the first.
    """

    name = "prototypes"
    title = "one LOF a client over its k-means centroids, mean log LOF"
    leaks = "means of groups of at least min_cluster_size rows, and the group sizes; no proof of privacy"
    source = "Breunig et al. 2000; k-means at the clients: Dennis et al. 2021"

    detector: LocalOutlierFactor

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Collect the centroids in round 1."""
        return (CentroidsStep(self.detector),) if server_round == 1 else ()

    def model(self, state: Arrays) -> Arrays:
        """Return all members."""
        return under_prefix(state, "members")
