"""Isolation forest against scikit-learn, isotree and PyOD, side by side in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.forest_speed [--rows 284807] [--features 30] [--trees 100]

Each figure is the least of several calls, in turns with its peer's, on one thread's CPU time; two
threads are on wall time, and mean something on two idle cores only: "two halves at once" is what the
machine gives to two threads that share nothing. All are public methods, with their checks of the rows,
but for "grow" (what a client does in a federated round). "gathers alone" is the bound of kernels that
gather (:mod:`benchmarks.gather_bound`); "portable" is what machines without AVX-512 run. With
FEDANOMALY_DATA set, rows are resampled from the credit-card file with a little noise, else they are
Gaussian. Peers that are not installed (``requirements-peers.txt``) are left out, by name.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest as Reference

from fedanomaly.detectors import IsolationForest
from fedanomaly.federation.wire import pack

Row = tuple[str, float, str, float]
Call = Callable[[], object]


def rows(n: int, n_features: int) -> tuple[str, np.ndarray]:
    rng = np.random.default_rng(0)
    folder = os.environ.get("FEDANOMALY_DATA")
    if folder is None or n_features != 30:
        return "Gaussian", rng.standard_normal((n, n_features))
    import pandas as pd

    frame = pd.read_parquet(Path(folder) / "creditcard" / "creditcard.parquet").drop(columns="Class")
    sample = frame.to_numpy(np.float64)[rng.integers(0, len(frame), n)]
    return "credit card, resampled", sample + 0.01 * sample.std(axis=0) * rng.standard_normal(sample.shape)


def seconds(call: Call, clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def best(call: Call, repeats: int, clock: Callable[[], float] = time.thread_time) -> float:
    """Return the least time; the thread's own, where others on the machine do not count."""
    return min(seconds(call, clock) for _ in range(repeats))


@contextmanager
def portable() -> Iterator[None]:
    before = os.environ.get("FEDANOMALY_PORTABLE")
    os.environ["FEDANOMALY_PORTABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("FEDANOMALY_PORTABLE")
        if before is not None:
            os.environ["FEDANOMALY_PORTABLE"] = before


def measure(n_rows: int = 284_807, n_features: int = 30, n_trees: int = 100) -> list[Row]:
    """Return (what, our seconds, peer, its seconds) of every comparison."""
    _, X = rows(n_rows, n_features)
    found: list[Row] = []
    for dtype in (np.float32, np.float64):
        found += _against_scikit_learn(np.ascontiguousarray(X, dtype), n_trees)
    X = np.ascontiguousarray(X)
    ours = IsolationForest(n_estimators=n_trees, random_state=0).fit(X)
    scored = best(lambda: ours.score_samples(X), 15)
    label = f"forest score {n_rows:,} x {n_features}"
    found += [(label, scored, peer, took) for peer, took in _other_peers(X, n_trees)]
    if (bound := _gathers_alone(n_rows, n_trees, ours.forest_.depth)) is not None:
        found.append((label, scored, "gathers alone", bound))
    return found + _two_threads(X, ours)


def _two_threads(X: np.ndarray, forest: IsolationForest) -> list[Row]:
    """Compare two threads with one; beside them two calls at once that share nothing, on half the rows."""
    alone, both, other = (IsolationForest(n_jobs=jobs).load(forest.to_arrays()) for jobs in (1, 2, 1))
    half = len(X) // 2

    def halves() -> None:
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(other.score_samples, X[half:])
            alone.score_samples(X[:half])
            second.result()

    sides = (lambda: both.score_samples(X), halves, lambda: alone.score_samples(X))
    turns = [[seconds(side, time.perf_counter) for side in sides] for _ in range(31)]
    two, bound, one = (min(column) for column in zip(*turns, strict=True))
    return [
        ("forest score, two threads", two, "one thread", one),
        ("forest score, two halves at once", bound, "one thread", one),
    ]


def _against_scikit_learn(X: np.ndarray, n_trees: int) -> list[Row]:
    ours = IsolationForest(n_estimators=n_trees, random_state=0)
    theirs = Reference(n_estimators=n_trees, random_state=0)
    ours.fit(X).score_samples(X)  # compiled, or read from numba's cache
    ours.score_samples(X[:1])
    keys = np.arange(n_trees, dtype=np.uint64)
    fit = best(lambda: theirs.fit(X), 5)
    score = best(lambda: theirs.score_samples(X), 3)
    pairs = [
        ("fit", best(lambda: ours.fit(X), 25), fit),
        ("grow", best(lambda: ours.grow(X, keys), 25), fit),
        (f"score {len(X):,} x {X.shape[1]}", best(lambda: ours.score_samples(X), 15), score),
    ]
    with portable():
        pairs.append(("score, portable", best(lambda: ours.score_samples(X), 5), score))
    a_row = best(lambda: theirs.score_samples(X[:1]), 30)
    pairs.append(
        ("score one row", best(lambda: [ours.score_samples(X[:1]) for _ in range(100)], 20) / 100, a_row)
    )
    return [(f"forest {what}, {X.dtype}", mine, "scikit-learn", other) for what, mine, other in pairs]


def _other_peers(X: np.ndarray, n_trees: int) -> Iterator[tuple[str, float]]:
    if find_spec("isotree"):
        forest = import_module("isotree").IsolationForest(
            ntrees=n_trees, sample_size=256, max_depth=8, ndim=1, missing_action="fail", nthreads=1
        )
        forest.fit(X)
        yield "isotree", best(lambda: forest.predict(X), 3)
    if find_spec("pyod"):
        forest = import_module("pyod.models.iforest").IForest(n_estimators=n_trees, random_state=0)
        forest.fit(X[:10_000])
        yield "PyOD", best(lambda: forest.decision_function(X), 2)
    for name in ("isotree", "pyod"):
        if not find_spec(name):
            print(f"{name} is not installed: left out", file=sys.stderr)


def _gathers_alone(n_rows: int, n_trees: int, depth: int) -> float | None:
    from fedanomaly.detectors import _vectors

    if not _vectors.supported():
        return None
    from benchmarks.gather_bound import gathers

    gathers(256, 1, depth)
    return best(lambda: gathers(n_rows, n_trees, depth), 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=284_807)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--trees", type=int, default=100)
    args = parser.parse_args()
    name, X = rows(args.rows, args.features)
    forest = IsolationForest(n_estimators=args.trees, random_state=0).fit(X)
    print(
        f"{name} rows, {args.trees} trees of {len(pack(forest.to_arrays())) / args.trees:.0f} B on the wire"
    )
    print(f"{'what':38} {'ours':>13} {'peer':>14} {'':13} {'ratio':>8}")
    for what, mine, peer, other in measure(args.rows, args.features, args.trees):
        print(f"{what:38} {mine * 1e3:10.3f} ms {peer:>14} {other * 1e3:10.2f} ms {other / mine:7.1f}x")


if __name__ == "__main__":
    main()
