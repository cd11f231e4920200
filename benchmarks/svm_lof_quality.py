"""One-class SVM and LOF on the credit-card sample: built by five clients, and on all rows in one place.

Average precision is weighted to the full file's prevalence; 60/40 split, standardised on the training
rows, one split and one partition a seed. Usage::

    FEDANOMALY_DATA=... OMP_NUM_THREADS=1 python benchmarks/svm_lof_quality.py [--seeds 5] [--rounds 10]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.metrics import average_precision_score, roc_auc_score

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.detectors import LocalOutlierFactor, OneClassSVM
from fedanomaly.detectors.contract import run_steps

PREVALENCE = 0.001727
CLIENTS = 5
SKEW = (0.6, 0.25, 0.1, 0.05, 0.0)  # share of the frauds a client holds


def federate(detector, way, parts, seed, rounds):
    """Return the detector that clients in this process build, weights by plain averaging."""
    aggregation = detector.aggregations[way](detector)
    return clone(detector).load(aggregation.model(run_steps(aggregation, parts, rounds=rounds, seed=seed)))


def split(X, y, seed):
    """Return standardised training and test rows with labels, 60/40, stratified."""
    order = keyed_generator(seed, "split").permutation(len(y))
    train = np.concatenate([(of := order[y[order] == label])[: int(0.6 * len(of))] for label in (0, 1)])
    rest = np.setdiff1d(order, train)
    mean, sd = X[train].mean(axis=0), X[train].std(axis=0)
    return (X[train] - mean) / sd, y[train], (X[rest] - mean) / sd, y[rest]


def partition(y, skewed, seed):
    """Return row numbers of each client: legitimate rows evenly, frauds evenly or by ``SKEW``."""
    generator = keyed_generator(seed, "partition")
    fraud, legitimate = (generator.permutation(np.flatnonzero(y == label)) for label in (1, 0))
    shares = np.cumsum(SKEW if skewed else [1 / CLIENTS] * CLIENTS)[:-1]
    parts = zip(
        np.array_split(legitimate, CLIENTS), np.split(fraud, (shares * len(fraud)).astype(int)), strict=True
    )
    return [np.sort(np.concatenate(pair)) for pair in parts]


def models_of(train, y_train, seed, rounds):
    """Return what is compared: a function that builds the model, by name."""
    legitimate = train[y_train == 0]
    even, skewed = ([train[rows] for rows in partition(y_train, skew, seed)] for skew in (False, True))
    svm, lof = OneClassSVM(random_state=seed), LocalOutlierFactor(random_state=seed)
    nystroem = OneClassSVM(random_state=seed, approximation="nystroem")
    return {
        "svm exact, pooled": lambda: OneClassSVM(random_state=seed).fit(train),
        "svm nystroem, pooled": lambda: nystroem.fit(train),
        "svm nystrom-mean, even": lambda: federate(svm, "nystrom-mean", even, seed, 1),
        "svm nystrom-mean, skewed": lambda: federate(svm, "nystrom-mean", skewed, seed, 1),
        "svm nystrom-hinge, even": lambda: federate(svm, "nystrom-hinge", even, seed, rounds),
        "svm nystrom-hinge, skewed": lambda: federate(svm, "nystrom-hinge", skewed, seed, rounds),
        "svm score-ensemble, even": lambda: federate(svm, "score-ensemble", even, seed, 1),
        "lof pooled, every 2nd row": lambda: LocalOutlierFactor().fit(train[::2]),
        "lof pooled, legitimate 2nd": lambda: LocalOutlierFactor().fit(legitimate[::2]),
        "lof prototypes, even": lambda: federate(lof, "prototypes", even, seed, 1),
        "lof prototypes, skewed": lambda: federate(lof, "prototypes", skewed, seed, 1),
    }


def measure(name, detector, X, y, rows, started, built):
    """Print and return the figures of one fitted detector."""
    scores = -detector.score_samples(X)
    scored = time.perf_counter() - built
    weights = np.where(y == 1, 1.0, (y == 1).sum() * (1 - PREVALENCE) / PREVALENCE / (y == 0).sum())
    return {
        "model": name,
        "auroc": roc_auc_score(y, scores),
        "ap": average_precision_score(y, scores, sample_weight=weights),
        "below_rho": float((detector.score_samples(rows) < detector.offset_).mean()),
        "build_s": built - started,
        "score_s": scored,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="", help="part of a model's name")
    options = parser.parse_args()
    table = pd.read_parquet(Path(os.environ["FEDANOMALY_DATA"]) / "creditcard" / "creditcard.parquet")
    X = table.drop(columns=["Time", "Class"]).to_numpy(np.float64)
    y = table["Class"].to_numpy()
    found = []
    for seed in range(options.seeds):
        train, y_train, test, y_test = split(X, y, seed)
        models = models_of(train, y_train, seed, options.rounds)
        for name, build in models.items():
            if options.only in name:
                started = time.perf_counter()
                detector = build()
                found.append(measure(name, detector, test, y_test, train, started, time.perf_counter()))
    frame = pd.DataFrame(found).groupby("model", sort=False)
    summary = frame.mean().join(frame[["ap", "auroc"]].std().add_suffix("_sd"))
    print(summary.round(4).to_string())


if __name__ == "__main__":
    main()
