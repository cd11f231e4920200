"""The study's procedure as published, each of its faults a switch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import OneClassSVM

from fedanomaly.core.arrays import Array
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data import Table
from fedanomaly.evaluation.baselines import metrics_of
from fedanomaly.evaluation.metrics import Metrics
from fedanomaly.partition import PARTITIONERS, PartitionRequest
from fedanomaly.prepare import balance

COLUMNS = (
    *("amount", "oldbalanceOrg", "newbalanceOrig", "oldbalanceDest", "newbalanceDest"),
    *("changebalanceOrig", "changebalanceDest", "hour"),
)
RATIOS = {"uneven": (0.2, 0.3, 0.1, 0.4, 0.5), "even": (0.2, 0.2, 0.2, 0.2, 0.2)}
DETECTORS = ("isolation-forest", "one-class-svm", "lof")
CLIENTS = len(RATIOS["even"])
ROUNDS = 10
SHARE = 0.1  # contamination and nu
TREES = 100
SMOTE_RATIO = 0.6


@dataclass(frozen=True)
class Faults:
    """What is wrong with the published procedure; False: done properly.

    Attributes
    ----------
    cleaning : bool
        Rows whose destination balances are zero are taken for missing values and dropped: half of the
        frauds.
    overlapping_frauds : bool
        Every client draws from all frauds.
    smote_before_split : bool
        Synthetic frauds get into the test rows.
    scaling_before_split : bool
        The scaler is fitted on the test rows as well.
    impossible_test : bool
        Scores are compared with a constant that all or none of them pass.
    """

    cleaning: bool = True
    overlapping_frauds: bool = True
    smote_before_split: bool = True
    scaling_before_split: bool = True
    impossible_test: bool = True

    @classmethod
    def none(cls) -> Faults:
        """Return the procedure without a fault (but still nothing is aggregated)."""
        return cls(**dict.fromkeys(cls.names(), False))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the faults' names."""
        return tuple(item.name for item in fields(cls))

    def switched(self, name: str, on: bool) -> Faults:
        """Return a copy with one fault on or off."""
        return replace(self, **{name: on})


def prepared(table: Table, faults: Faults) -> Table:
    """Return the study's columns of an engineered PaySim table, cleaned as the study did.

    A table without these columns (the embedded data) is returned whole: only the procedure is
    repeated on it.
    """
    if not set(COLUMNS) <= set(table.feature_names):
        return table
    X = np.ascontiguousarray(table.X[:, [table.feature_names.index(name) for name in COLUMNS]])
    keep = np.ones(len(X), dtype=bool)
    if faults.cleaning:
        names = ("amount", "oldbalanceDest", "newbalanceDest")
        amount, old, new = (X[:, COLUMNS.index(name)] for name in names)
        keep = ~((old == 0) & (new == 0) & (amount != 0))
    return Table(
        name=table.name,
        X=X[keep],
        y=table.y[keep],
        feature_names=COLUMNS,
        source=table.source,
        fingerprint=f"{table.fingerprint}|thesis|{faults.cleaning}",
    )


def published_rounds(
    table: Table,
    detector: str,
    split: str,
    seed: int,
    faults: Faults | None = None,
    rounds: int = ROUNDS,
    trees: int = TREES,
) -> list[Metrics]:
    """Return the metrics after each round, averaged over the clients by their numbers of rows.

    Nothing is aggregated, as in the study: a round is every client's refit with another seed.

    Parameters
    ----------
    table : Table
        Engineered PaySim rows, or any other table.
    detector : str
        ``isolation-forest``, ``one-class-svm`` or ``lof``.
    split : str
        ``even`` or ``uneven``.
    seed : int
        Of the partition, the synthetic rows and the refits.
    faults : Faults, optional
        Default: all of them.
    rounds : int
        Refits; detectors without randomness are fitted once.
    trees : int
        Of each forest; the study has 100.
    """
    faults = faults or Faults()
    rows = prepared(table, faults)
    name, ratios = ("thesis", RATIOS[split]) if faults.overlapping_frauds else (split, ())
    if split == "uneven" and not ratios:
        ratios = RATIOS["uneven"]
    request = PartitionRequest(clients=CLIENTS, seed=seed, fraud_ratios=ratios)
    parts = PARTITIONERS.get(name)().split(rows, request)
    clients = [_folds(rows.X[part], rows.y[part], seed, client, faults) for client, part in enumerate(parts)]
    refits = rounds if detector == "isolation-forest" else 1
    results = []
    for number in range(refits):
        each = []
        for client, (X_train, X_test, y_test) in enumerate(clients):
            key = int(keyed_generator(seed, "thesis", number, client).integers(2**31 - 1))
            model = _untrained(detector, trees, key)
            scores, flagged = _detect(model, X_train, X_test, faults.impossible_test)
            each.append(_metrics(scores, flagged, y_test))
        weights = [len(X_train) + len(X_test) for X_train, X_test, _ in clients]
        results.append({k: _weighted([one[k] for one in each], weights) for k in each[0]})
    return [results[min(number, refits - 1)] for number in range(rounds)]


def _folds(X: Array, y: Array, seed: int, client: int, faults: Faults) -> tuple[Array, Array, Array]:
    """Return a client's training rows, test rows and test labels, in the order of the study or mended."""
    if faults.smote_before_split:
        key = int(keyed_generator(seed, "thesis", "smote", client).integers(2**31 - 1))
        balanced = balance("smote", X, y, ratio=SMOTE_RATIO, seed=key)
        X, y = balanced.X, balanced.y
    if faults.scaling_before_split:
        X = MinMaxScaler().fit_transform(X)
    stratify = y if np.bincount(y, minlength=2).min() >= 2 else None
    X_train, X_test, _, y_test = train_test_split(X, y, test_size=0.2, random_state=42, stratify=stratify)
    if not faults.scaling_before_split:
        scaler = MinMaxScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    return X_train, X_test, y_test


def _untrained(detector: str, trees: int, seed: int) -> Any:
    if detector == "isolation-forest":
        return IsolationForest(n_estimators=trees, contamination=SHARE, random_state=seed)
    if detector == "one-class-svm":
        return OneClassSVM(kernel="rbf", nu=SHARE, gamma=0.1)
    return LocalOutlierFactor(contamination=SHARE, novelty=True)


def _detect(model: Any, X_train: Array, X_test: Array, impossible: bool) -> tuple[Array, Array]:
    """Return scores (high = abnormal) and which rows are flagged."""
    scores = model.fit(X_train).score_samples(X_test)
    if isinstance(model, LocalOutlierFactor):
        labels = model.predict(X_test)
        return -scores, labels < -1.5 if impossible else labels == -1  # labels are -1 and 1
    # a forest's scores are all below 0, a kernel's sums never are
    return -scores, scores < (0 if impossible else model.offset_)


def _metrics(scores: Array, flagged: Array, y: Array) -> Metrics:
    both = 0 < np.count_nonzero(y == 1) < len(y)
    return {
        **{k: v for k, v in metrics_of(flagged, y).items() if k in ("precision", "recall", "accuracy", "f1")},
        "auroc": float(roc_auc_score(y, scores)) if both else float("nan"),
        "average_precision": float(average_precision_score(y, scores)) if both else float("nan"),
        "prevalence": float(np.mean(y == 1)),
        "flagged": float(np.mean(flagged)),
    }


def _weighted(values: list[float], weights: list[int]) -> float:
    defined = ~np.isnan(values)
    if not defined.any():
        return float("nan")
    return float(np.average(np.asarray(values)[defined], weights=np.asarray(weights)[defined]))
