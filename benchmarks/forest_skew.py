"""AUPRC of federated isolation forests under feature skew, against the same forest on pooled rows.

    FEDANOMALY_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.forest_skew [--clients 100] [--workers 2]

300 trees on all rows of ADBench tables (at most 20,000), scored on the same rows; clients hold blocks of
neighbouring rows. The last lines give means over the tables and their ratios to pooled.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from fedanomaly.data.base import Table
from fedanomaly.detectors import IsolationForest, aggregations_of
from fedanomaly.detectors.contract import run_steps
from fedanomaly.partition import PartitionRequest, split

TABLES = (
    "mammography,cardio,SpamBase,Lymphography,thyroid,vertebral,breastw,satellite,shuttle,pendigits,glass,"
    "WDBC,annthyroid,optdigits,yeast,http,Ionosphere,musk,Pima,smtp,vowels,wine,celeba"
)
MOST_ROWS = 20_000
WAYS = {
    "union": ("union", {}),
    "recount": ("recount", {}),
    "exact": ("exact", {}),
    "exact, 3 bits": ("exact", {"grid_bits": 3}),
    "count, arcsinh": ("count", {"count_box": "arcsinh"}),
    "count, minmax": ("count", {"count_box": "minmax"}),
    "pooled": ("pooled", {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tables", default=TABLES)
    parser.add_argument("--workers", type=int, default=1, help="processes, a table each")
    args = parser.parse_args()
    print(f"{'table':14}" + "".join(f"{name:>16}" for name in WAYS))
    means, names = [], args.tables.split(",")
    with ProcessPoolExecutor(args.workers) as pool:
        for name, found in zip(
            names, pool.map(partial(figures, args.clients, args.seeds), names), strict=True
        ):
            means.append(np.mean(found, axis=0))
            print(f"{name:14}" + "".join(f"{value:16.3f}" for value in means[-1]), flush=True)
    mean = np.mean(means, axis=0)
    print(f"{'mean':14}" + "".join(f"{value:16.3f}" for value in mean))
    print(f"{'of pooled':14}" + "".join(f"{value:16.3f}" for value in mean / mean[-1]))


def figures(clients: int, seeds: int, name: str) -> list[list[float]]:
    X, y = load(name)
    return [measure(X, y, min(clients, len(X) // 2), seed) for seed in range(seeds)]


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    (path,) = (Path(os.environ["FEDANOMALY_DATA"]) / "adbench").glob(f"*_{name}.npz")
    with np.load(path) as file:
        X, y = file["X"].astype(np.float64), file["y"].ravel().astype(np.int8)
    kept = np.sort(np.random.default_rng(0).permutation(len(X))[:MOST_ROWS])
    return X[kept], y[kept]


def measure(X: np.ndarray, y: np.ndarray, clients: int, seed: int) -> list[float]:
    table = Table("skew", X, y, tuple(f"x{i}" for i in range(X.shape[1])), "", "")
    indices = split("feature", table, PartitionRequest(clients, seed=seed, min_rows=1))
    parts, ways, found = [X[index] for index in indices], aggregations_of(IsolationForest), []
    for name, params in WAYS.values():
        way = ways[name](IsolationForest(n_estimators=300, **params))
        model = way.model(run_steps(way, parts, rounds=1, seed=seed))
        scores = IsolationForest().load(model).score_samples(X)
        found.append(float(average_precision_score(y, -scores)))
    return found


if __name__ == "__main__":
    main()
