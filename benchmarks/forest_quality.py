"""AUROC of the isolation forest on the credit-card sample: against scikit-learn's, and union against pooled.

    FEDANOMALY_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.forest_quality [--seeds 10] [--clients 20]

A 60/40 split by seed, 200 trees, fitted on all training rows. Differences are paired by seed, with
Student's 95 % interval.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import IsolationForest as Reference
from sklearn.metrics import roc_auc_score

from fedanomaly.detectors import IsolationForest, aggregations_of
from fedanomaly.detectors.contract import run_steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=20)
    args = parser.parse_args()
    frame = pd.read_parquet(Path(os.environ["FEDANOMALY_DATA"]) / "creditcard" / "creditcard.parquet")
    X, y = frame.drop(columns="Class").to_numpy(np.float64), frame["Class"].to_numpy()

    def auroc(detector: IsolationForest | Reference) -> float:
        return float(roc_auc_score(y[test], -detector.score_samples(X[test])))

    ways = aggregations_of(IsolationForest)
    found: dict[str, list[float]] = {"fedanomaly": [], "scikit-learn": [], "union": [], "pooled": []}
    for seed in range(args.seeds):
        order = np.random.default_rng(seed).permutation(len(X))
        train, test = np.split(order, [int(0.6 * len(X))])
        found["fedanomaly"].append(auroc(IsolationForest(random_state=seed).fit(X[train])))
        found["scikit-learn"].append(auroc(Reference(n_estimators=200, random_state=seed).fit(X[train])))
        for name in ("union", "pooled"):
            way = ways[name](IsolationForest())
            state = run_steps(way, np.array_split(X[train], args.clients), rounds=5, seed=seed)
            found[name].append(auroc(IsolationForest().load(way.model(state))))
    for name, values in found.items():
        print(
            f"{name:13} AUROC {np.mean(values):.4f}, sd {np.std(values, ddof=1):.4f} over {args.seeds} seeds"
        )
    for one, other in (("fedanomaly", "scikit-learn"), ("union", "pooled")):
        difference = np.subtract(found[one], found[other])
        low, high = stats.t.interval(0.95, len(difference) - 1, difference.mean(), stats.sem(difference))
        print(f"{one} - {other}: {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]")


if __name__ == "__main__":
    main()
