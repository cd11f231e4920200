"""Fit and score of the other detectors against scikit-learn and PyOD, side by side in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.detector_speed [--rows 4000] [--features 20]

Each figure is the least CPU time of several calls, in turns with its peer's, on the same Gaussian rows
with two percent of far ones. Both sides are public estimators, with the same neighbours, bins and
components where both have them. Ours check their rows and keep a model that is plain arrays; PyOD's
``fit`` also scores the training rows for its threshold, as ours does. Peers that are not installed are
named, not compared.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from fedanomaly.detectors import registered

Row = tuple[str, float, str, float]
REPEATS = 5

# ours, then (peer, module, class, its parameters)
PAIRS: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("lof", "scikit-learn", "sklearn.neighbors", "LocalOutlierFactor", {"novelty": True}),
    ("lof", "PyOD", "pyod.models.lof", "LOF", {}),
    ("one-class-svm", "scikit-learn", "sklearn.svm", "OneClassSVM", {"nu": 0.1}),
    ("one-class-svm", "PyOD", "pyod.models.ocsvm", "OCSVM", {"nu": 0.1}),
    ("hbos", "PyOD", "pyod.models.hbos", "HBOS", {"n_bins": 64}),
    ("ecod", "PyOD", "pyod.models.ecod", "ECOD", {}),
    ("gmm", "PyOD", "pyod.models.gmm", "GMM", {"n_components": 2, "covariance_type": "diag", "max_iter": 10}),
)


def rows(n: int, n_features: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, n_features))
    X[: n // 50] *= 4
    return rng.permutation(X)


def measure(n_rows: int = 4000, n_features: int = 20) -> list[Row]:
    """Return (what, our seconds, peer, its seconds); NaN for a peer that is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ten iterations of EM are few, for both
        return list(_measured(rows(n_rows, n_features)))


def _measured(X: np.ndarray) -> Iterator[Row]:
    shape = f"{len(X):,} x {X.shape[1]}"
    for name, peer, module, kind, params in PAIRS:
        ours = registered()[name]().fit(X)
        ours.score_samples(X)  # compiled, or read from numba's cache
        try:
            theirs = getattr(import_module(module), kind)(**params).fit(X)
        except ImportError:
            yield f"{name} fit {shape}", _best([partial(ours.fit, X)])[0], f"{peer} is not installed", np.nan
            continue
        score = theirs.score_samples if peer == "scikit-learn" else theirs.decision_function
        for what, calls in (
            ("fit", [partial(ours.fit, X), partial(theirs.fit, X)]),
            ("score", [partial(ours.score_samples, X), partial(score, X)]),
        ):
            mine, other = _best(calls)
            yield f"{name} {what} {shape}", mine, peer, other


def _best(calls: list[Callable[[], object]]) -> list[float]:
    """Return the least CPU seconds of each call, taken in turns."""
    taken: list[list[float]] = []
    for _ in range(REPEATS):
        taken.append([])
        for call in calls:
            start = time.process_time()
            call()
            taken[-1].append(time.process_time() - start)
    return [min(times) for times in zip(*taken, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--features", type=int, default=20)
    args = parser.parse_args()
    for what, mine, peer, other in measure(args.rows, args.features):
        print(f"{what:32} {mine * 1e3:10.2f} ms  {peer:14} {other * 1e3:10.2f} ms {other / mine:8.2f} x")


if __name__ == "__main__":
    main()
