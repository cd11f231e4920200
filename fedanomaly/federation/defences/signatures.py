"""What a client's contribution amounts to, as a vector that can be compared with the others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.detectors import IsolationForest

Floats = npt.NDArray[np.float64]

PROBES = 512
_MOST_VALUES = 4096


def correlation_distances(signatures: Floats) -> Floats:
    """Return 1 - Pearson's correlation of every two rows; a constant row has a distance of 1 to all."""
    centred = signatures - signatures.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit = np.where(length > 1e-9, centred / np.maximum(length, 1e-9), 0.0)
    return np.asarray(1.0 - np.einsum("ip,jp->ij", unit, unit))


def scaled_distances(signatures: Floats) -> Floats:
    """Return the root mean square difference of every two rows, in robust spreads of each column."""
    middle = np.median(signatures, axis=0)
    spread = 1.4826 * np.median(np.abs(signatures - middle), axis=0)
    typical = np.median(spread[spread > 0]) if (spread > 0).any() else 1.0
    z = np.clip((signatures - middle) / np.maximum(spread, 0.1 * typical), -20.0, 20.0)
    return np.asarray([np.sqrt(((z - one) ** 2).mean(axis=1)) for one in z])


def is_forest(answer: Mapping[str, Array]) -> bool:
    """Return whether an answer is trees."""
    return {"splits", "threshold", "feature", "leaf_rows", "psi"} <= set(answer)


def probe_rows(answers: Sequence[Answer], seed: int) -> Floats:
    """Return rows to try trees on, shape (512, n_features): each value is a threshold of some client.

    Every client's thresholds are drawn equally often, so that none decides where the trees are tried;
    a feature nobody splits on is 0.
    """
    n_features = int(answers[0][1]["n_features"])
    generator = keyed_generator(seed, "server", "probes")
    rows = np.zeros((PROBES, n_features))
    for feature in range(n_features):
        known = [answer["threshold"][answer["feature"] == feature] for _, answer in answers]
        known = [thresholds for thresholds in known if len(thresholds)]
        if known:
            who = generator.integers(len(known), size=PROBES)
            which = generator.random(PROBES)
            rows[:, feature] = [known[c][int(u * len(known[c]))] for c, u in zip(who, which, strict=True)]
    return rows


def path_sums(answer: Arrays, probes: Floats) -> tuple[Floats, int]:
    """Return each probe's path length, summed over the answer's trees, and the number of trees."""
    forest = IsolationForest().load(answer)
    n_trees = len(answer["psi"])
    return -np.log2(-forest.score_samples(probes)) * n_trees, n_trees


def mean_values(answer: Arrays, rows: int) -> Floats:
    """Return a sum's values a declared row, in one vector of at most 4,096: longer ones are thinned."""
    parts = [np.asarray(answer[name], dtype=np.float64).ravel() for name in sorted(answer)]
    values = np.concatenate([*parts, np.zeros(0)]) / max(1, rows)
    return values[:: max(1, -(-len(values) // _MOST_VALUES))]
