"""PaySim's engineered columns."""

import os
from pathlib import Path

import numpy as np
import pytest

from fedanomaly.data.base import DataRequest, Table
from fedanomaly.data.paysim import FEATURES, PAYSIM_TYPES, PaySim
from fedanomaly.prepare import engineer

# step, type, amount, oldbalanceOrg, newbalanceOrig, oldbalanceDest, newbalanceDest
X = np.array(
    [
        [1.0, 3.0, 10.0, 100.0, 90.0, 0.0, 0.0],
        [25.0, 4.0, 50.0, 50.0, 0.0, 5.0, 55.0],
        [743.0, 1.0, 7.0, 7.0, 0.0, 1.0, 8.0],
    ]
)
Y = np.array([0, 1, 1], dtype=np.int8)
TABLE = Table("paysim", X, Y, FEATURES, "test", "ab" * 32, time=X[:, 0], amount=X[:, 2])


def test_columns_and_values():
    table = engineer(TABLE)
    column = dict(zip(table.feature_names, table.X.T, strict=True))
    assert column["hour"].tolist() == [1.0, 1.0, 23.0]
    assert column["changebalanceOrig"].tolist() == [-10.0, -50.0, -7.0]
    assert column["changebalanceDest"].tolist() == [0.0, 50.0, 7.0]
    assert column["type_PAYMENT"].tolist() == [1.0, 0.0, 0.0]
    assert column["type_TRANSFER"].tolist() == [0.0, 1.0, 0.0]
    assert sum(column[f"type_{name}"] for name in PAYSIM_TYPES).tolist() == [1.0, 1.0, 1.0]
    assert "step" not in column and "type" not in column
    assert table.X.dtype == np.float64 and table.X.flags["C_CONTIGUOUS"]


def test_rest_of_the_table_stays():
    table = engineer(TABLE)
    assert table.y is TABLE.y and table.time is TABLE.time and table.amount is TABLE.amount
    assert table.fingerprint != TABLE.fingerprint and len(table.fingerprint) == 64
    assert table.fingerprint == engineer(TABLE).fingerprint


def test_columns_are_found_by_name():
    order = [6, 0, 3, 1, 5, 2, 4]
    shuffled = Table("p", X[:, order], Y, tuple(FEATURES[i] for i in order), "test", "ab" * 32)
    assert np.array_equal(engineer(shuffled).X, engineer(TABLE).X)


def test_other_tables_are_left_alone():
    table = Table("t", X, Y, tuple("abcdefg"), "test", "0" * 64)
    assert engineer(table) is table
    assert engineer(engineer(TABLE)).feature_names == engineer(TABLE).feature_names


@pytest.mark.skipif(
    "FEDANOMALY_DATA" not in os.environ, reason="FEDANOMALY_DATA names no folder of real data"
)
def test_the_genuine_file_in_the_loaders_codes():
    """Frauds are TRANSFER and CASH_OUT only: the one-hot columns must mean what the loader's codes mean."""
    path = Path(os.environ["FEDANOMALY_DATA"]) / "paysim" / "paysim.parquet"
    if not path.exists():
        pytest.skip("no paysim/paysim.parquet in FEDANOMALY_DATA")
    table = engineer(PaySim().load(DataRequest(path=path, accept_variant=True)))
    column = dict(zip(table.feature_names, table.X.T, strict=True))
    assert (column["type_TRANSFER"] + column["type_CASH_OUT"])[table.y == 1].all()
    assert column["hour"].min() >= 0 and column["hour"].max() <= 23
