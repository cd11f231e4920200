"""Isolation forest against scikit-learn's, side by side in one run, one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.forest_speed [--rows 284807] [--features 30] [--trees 100]

Each figure is the least CPU time of several calls, on rows as float32 and as float64. "fit" and
"score_samples" are the public methods; ours include the check that all rows are finite, which
scikit-learn's forest leaves out. "grow" (what a client does in a federated round) and "score kernel"
are without it. With FEDANOMALY_DATA set, rows are resampled from the credit-card file with a little
noise, else they are Gaussian.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest as Reference

from fedanomaly.detectors import IsolationForest
from fedanomaly.detectors import _forest_kernels as kernels
from fedanomaly.federation.wire import pack


def rows(n: int, n_features: int) -> tuple[str, np.ndarray]:
    rng = np.random.default_rng(0)
    folder = os.environ.get("FEDANOMALY_DATA")
    if folder is None or n_features != 30:
        return "Gaussian", rng.standard_normal((n, n_features))
    import pandas as pd

    frame = pd.read_parquet(Path(folder) / "creditcard" / "creditcard.parquet").drop(columns="Class")
    sample = frame.to_numpy(np.float64)[rng.integers(0, len(frame), n)]
    return "credit card, resampled", sample + 0.01 * sample.std(axis=0) * rng.standard_normal(sample.shape)


def best(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.thread_time()  # of this thread: others on the machine do not count
        call()
        times.append(time.thread_time() - start)
    return min(times)


def compare(X: np.ndarray, n_trees: int) -> None:
    ours = IsolationForest(n_estimators=n_trees, random_state=0)
    theirs = Reference(n_estimators=n_trees, random_state=0)
    ours.fit(X).score_samples(X[:100])  # compiled, or read from numba's cache
    mean = np.empty(len(X))
    forest = ours.forest_
    keys = np.arange(n_trees, dtype=np.uint64)
    reference_fit = best(lambda: theirs.fit(X), 5)
    reference_score = best(lambda: theirs.score_samples(X), 3)
    pairs = [
        ("fit", best(lambda: ours.fit(X), 15), reference_fit),
        ("grow", best(lambda: ours.grow(X, keys), 15), reference_fit),
        ("score_samples", best(lambda: ours.score_samples(X), 7), reference_score),
        (
            "score kernel",
            best(lambda: kernels.score(X, forest.nodes, forest.leaf_values, mean), 7),
            reference_score,
        ),
        (
            "one row",
            best(lambda: ours.score_samples(X[:1]), 50),
            best(lambda: theirs.score_samples(X[:1]), 20),
        ),
    ]
    for what, mine, other in pairs:
        print(f"{X.dtype!s:8} {what:14} {mine * 1e3:10.3f} ms {other * 1e3:10.2f} ms {other / mine:8.1f} x")
    print(f"{X.dtype!s:8} on the wire    {len(pack(ours.to_arrays())) / n_trees:10.0f} B a tree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=284_807)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--trees", type=int, default=100)
    args = parser.parse_args()
    what, X = rows(args.rows, args.features)
    print(f"{what}, {args.rows:,} x {args.features}, {args.trees} trees: fedanomaly, scikit-learn, ratio")
    for dtype in (np.float32, np.float64):
        compare(np.ascontiguousarray(X, dtype=dtype), args.trees)


if __name__ == "__main__":
    main()
