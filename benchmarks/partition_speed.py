"""Seconds each partition, the folds and the heterogeneity summary take (285k rows in 100 parts by default).

Run: python benchmarks/partition_speed.py [--rows 284807] [--features 29] [--clients 100] [--repeats 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from fedanomaly.data.base import Table
from fedanomaly.partition import PartitionRequest, registered, split, summarise
from fedanomaly.prepare import assign_folds


def make_table(n_rows: int, n_features: int) -> Table:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features)) @ rng.standard_normal((n_features, n_features))
    X[:, -1] = np.exp(X[:, -1] / X[:, -1].std())
    y = (rng.random(n_rows) < 0.0017).astype(np.int8)
    groups = {"customer": rng.integers(0, max(n_rows // 50, 1), n_rows)}
    clock = np.sort(rng.random(n_rows) * 172_800)
    names = tuple(f"V{j}" for j in range(n_features))
    return Table("speed", X, y, names, "generated", "0" * 64, time=clock, groups=groups, synthetic=True)


def best_of(repeats: int, call: Callable[[], object]) -> tuple[float, float]:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), max(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=284_807)
    parser.add_argument("--features", type=int, default=29)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    table = make_table(options.rows, options.features)
    request = PartitionRequest(options.clients)
    print(
        f"{options.rows} rows x {options.features} features, {options.clients} clients: seconds (best, worst)"
    )
    for name in registered():
        low, high = best_of(options.repeats, lambda name=name: split(name, table, request))
        print(f"  partition {name:<14}{low:8.3f}{high:8.3f}")
    low, high = best_of(options.repeats, lambda: assign_folds(table.X, table.y, seed=42))
    print(f"  folds                   {low:8.3f}{high:8.3f}")
    parts = split("iid", table, request)
    low, high = best_of(options.repeats, lambda: summarise(table, parts))
    print(f"  heterogeneity summary   {low:8.3f}{high:8.3f}")


if __name__ == "__main__":
    main()
