"""Engineered columns: for PaySim the hour, the balance changes and the payment type, one column each."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from fedanomaly.data.base import Table
from fedanomaly.data.paysim import FEATURES, PAYSIM_TYPES


def needs_engineering(table: Table) -> bool:
    """Return whether :func:`engineer` would change the table."""
    return set(table.feature_names) == set(FEATURES)


def engineer(table: Table) -> Table:
    """Return the table with engineered columns; a table that is not PaySim's is returned as it is.

    PaySim is known by its raw columns, in any order. The result has ``amount``, the
    four balances, ``changebalanceOrig`` and ``changebalanceDest`` (new - old), ``hour`` (step mod 24)
    and one column of 0 and 1 a payment type. ``step`` itself goes: a score that knows the absolute hour
    of a simulation knows that from step 719 on every row is a fraud.
    """
    if not needs_engineering(table):
        return table
    column = {name: table.X[:, table.feature_names.index(name)] for name in FEATURES}
    engineered = {name: column[name] for name in FEATURES[2:]}
    engineered["changebalanceOrig"] = column["newbalanceOrig"] - column["oldbalanceOrg"]
    engineered["changebalanceDest"] = column["newbalanceDest"] - column["oldbalanceDest"]
    engineered["hour"] = np.mod(column["step"], 24.0)
    for code, name in enumerate(PAYSIM_TYPES):
        engineered[f"type_{name}"] = column["type"] == code
    X = np.empty((len(table), len(engineered)), dtype=np.float64)
    for at, values in enumerate(engineered.values()):
        X[:, at] = values
    fingerprint = hashlib.sha256(f"{table.fingerprint}|engineered 1".encode()).hexdigest()
    return replace(table, X=X, feature_names=tuple(engineered), fingerprint=fingerprint)
