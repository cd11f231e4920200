"""One-class SVM and LOF on the credit-card sample: built by a few clients, and on all rows in one place.

Average precision is weighted to the full file's prevalence; 60/40 split, standardised on the training
rows, one split and one partition a seed. `score-mean` and `score-min` are measured for the isolation
forest too. Frauds are held evenly, or by one client mostly (`skewed`), or rows are dealt out by their first
feature (`by V1`). Usage, for example::

    FEDANOMALY_DATA=... OMP_NUM_THREADS=1 python -m benchmarks.svm_lof_quality --seeds 5 --clients 10
"""

from __future__ import annotations

import argparse
import os
import re
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.detectors import IsolationForest, LocalOutlierFactor, OneClassSVM, aggregations_of
from fedanomaly.detectors.contract import run_steps

PREVALENCE = 0.001727
HELD = ("even", "skewed", "by V1")


def federate(detector, way, parts, seed, rounds):
    """Return the detector that clients in this process build, weights by plain averaging."""
    aggregation = aggregations_of(type(detector))[way](detector)
    state = run_steps(aggregation, parts, rounds=rounds, seed=seed)
    return aggregation.blank().load(aggregation.model(state))


def split(X, y, seed):
    """Return standardised training and test rows with labels, 60/40, stratified."""
    order = keyed_generator(seed, "split").permutation(len(y))
    train = np.concatenate([(of := order[y[order] == label])[: int(0.6 * len(of))] for label in (0, 1)])
    rest = np.setdiff1d(order, train)
    mean, sd = X[train].mean(axis=0), X[train].std(axis=0)
    return (X[train] - mean) / sd, y[train], (X[rest] - mean) / sd, y[rest]


def partition(X, y, held, clients, seed):
    """Return row numbers of each client: one of ``HELD``."""
    if held == "by V1":
        return np.array_split(np.argsort(X[:, 0], kind="stable"), clients)
    generator = keyed_generator(seed, "partition")
    fraud, legitimate = (generator.permutation(np.flatnonzero(y == label)) for label in (1, 0))
    each = (1 - (held == "skewed") * 0.6) / clients  # skewed: the first client has 60 % of the frauds besides
    ends = len(fraud) * (1 - each * np.arange(clients - 1, 0, -1))
    parts = zip(np.array_split(legitimate, clients), np.split(fraud, ends.astype(int)), strict=True)
    return [np.sort(np.concatenate(pair)) for pair in parts]


def models_of(train, y_train, seed, rounds, clients):
    """Return what is compared: a function that builds the model, by name."""
    legitimate = train[y_train == 0]
    svm, lof = OneClassSVM(random_state=seed), LocalOutlierFactor(random_state=seed)
    forest = IsolationForest(n_estimators=100, random_state=seed)
    one_place = {
        "svm exact": lambda: OneClassSVM().fit(train),
        "svm nystroem": lambda: OneClassSVM(random_state=seed, approximation="nystroem").fit(train),
        "svm rff": lambda: OneClassSVM(random_state=seed, approximation="rff").fit(train),
        "lof, every 2nd row": lambda: LocalOutlierFactor().fit(train[::2]),
        "lof, legitimate 2nd": lambda: LocalOutlierFactor().fit(legitimate[::2]),
        "forest": lambda: forest.fit(train),
    }
    models = {f"{name}, pooled": build for name, build in one_place.items()}
    ways = {
        "svm": (svm, [*OneClassSVM.aggregations, "score-mean", "score-min"]),
        "lof": (lof, [*LocalOutlierFactor.aggregations, "score-mean", "score-min"]),
        "forest": (forest, ["union", "score-mean", "score-min"]),
    }
    for held in HELD:
        parts = [train[rows] for rows in partition(train, y_train, held, clients, seed)]
        for kind, (detector, names) in ways.items():
            for way in names:
                builder = partial(federate, detector, way, parts, seed, rounds)
                models[f"{kind} {way}, {held}"] = builder
    return models


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
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--only", default="", help="regular expression that a model's name matches")
    options = parser.parse_args()
    table = pd.read_parquet(Path(os.environ["FEDANOMALY_DATA"]) / "creditcard" / "creditcard.parquet")
    X = table.drop(columns=["Time", "Class"]).to_numpy(np.float64)
    y = table["Class"].to_numpy()
    found = []
    for seed in range(options.seeds):
        train, y_train, test, y_test = split(X, y, seed)
        models = models_of(train, y_train, seed, options.rounds, options.clients)
        for name, build in models.items():
            if re.search(options.only, name):
                started = time.perf_counter()
                detector = build()
                found.append(measure(name, detector, test, y_test, train, started, time.perf_counter()))
    frame = pd.DataFrame(found).groupby("model", sort=False)
    summary = frame.mean().join(frame[["ap", "auroc"]].std().add_suffix("_sd"))
    print(summary.round(4).to_string())


if __name__ == "__main__":
    main()
