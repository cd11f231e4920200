"""Seconds to generate, read and map each data set; with ``--hardness``, how hard the synthetic set is.

    FEDANOMALY_DATA=... python benchmarks/data_speed.py [--hardness]

Data sets whose file is not there are skipped, by name.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest, load_table, registered
from fedanomaly.data.synthetic import generate

VARIANTS = {"adbench": ["adbench:2_annthyroid", "adbench:16_http"], "kddcup99": ["kddcup99", "kddcup99:SA"]}


def speed() -> None:
    start = perf_counter()
    generate(284_807, 1)
    print(f"generate 284,807 synthetic rows: {perf_counter() - start:.2f} s\n")
    print(f"{'data set':22} {'rows':>10} {'columns':>8} {'cold s':>8} {'warm ms':>8}")
    with tempfile.TemporaryDirectory() as cache:
        for name in (full for base in registered() for full in VARIANTS.get(base, [base])):
            try:
                start = perf_counter()
                load_table(name, DataRequest(download=False), Path(cache))
                cold = perf_counter() - start
            except UserError as error:
                print(f"{name:22} skipped: {error}")
                continue
            start = perf_counter()
            table = load_table(name, DataRequest(download=False), Path(cache))
            warm = (perf_counter() - start) * 1000
            print(f"{name:22} {len(table):>10,} {table.X.shape[1]:>8} {cold:>8.2f} {warm:>8.2f}")


def hardness(rows: int = 60_000, seeds: int = 5) -> None:
    """Two-fold cross-fitted AUROC of three detectors on raw, standardised features."""
    from sklearn.ensemble import IsolationForest
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold
    from sklearn.neighbors import LocalOutlierFactor
    from sklearn.preprocessing import StandardScaler

    print(f"\nAUROC on {rows:,} synthetic rows: forest (.93-.965), logistic (.96-.985), LOF(20) (<= .85)")
    found = []
    for seed in range(seeds):
        X, y, _ = generate(rows, seed)
        of_seed = []
        for train, test in StratifiedKFold(2, shuffle=True, random_state=seed).split(X, y):
            scaler = StandardScaler().fit(X[train])
            A, B = scaler.transform(X[train]), scaler.transform(X[test])
            some = np.concatenate([np.flatnonzero(y[test] == 1), np.flatnonzero(y[test] == 0)[::8]])
            forest = IsolationForest(n_estimators=200, random_state=seed).fit(A)
            logistic = LogisticRegression(max_iter=300).fit(A, y[train])
            lof = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(A)
            of_seed.append(
                [
                    roc_auc_score(y[test], -forest.score_samples(B)),
                    roc_auc_score(y[test], logistic.decision_function(B)),
                    roc_auc_score(y[test][some], -lof.score_samples(B[some])),
                ]
            )
        found.append(np.mean(of_seed, axis=0))
        print(f"seed {seed}: " + "  ".join(f"{value:.3f}" for value in found[-1]))
    print("mean:   " + "  ".join(f"{value:.3f}" for value in np.mean(found, axis=0)))


if __name__ == "__main__":
    speed()
    if "--hardness" in sys.argv[1:]:
        hardness()
