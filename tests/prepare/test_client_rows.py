"""The rows of one client by fold."""

import numpy as np
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table
from fedanomaly.prepare import CALIBRATION, TEST, TRAIN, client_rows

X = np.arange(20.0).reshape(10, 2)
Y = np.array([0, 1] * 5, dtype=np.int8)
FOLDS = np.array([TRAIN] * 4 + [CALIBRATION] * 3 + [TEST] * 3, dtype=np.int8)
TABLE = Table("t", X, Y, ("a", "b"), "test", "0" * 64, amount=X[:, 1])
EVERY = np.arange(10, dtype=np.int64)


def test_folds_are_taken_apart():
    held = np.array([0, 3, 4, 9], dtype=np.int64)
    rows = client_rows(TABLE, held, FOLDS, 2)
    assert rows.client == 2
    assert rows.train.index.tolist() == [0, 3]
    assert rows.calibration.index.tolist() == [4]
    assert rows.test.index.tolist() == [9]
    assert np.array_equal(rows.train.X, X[[0, 3]]) and rows.train.y.tolist() == [0, 1]
    assert rows.test.amount.tolist() == [19.0] and len(rows.train) == 2


def test_legitimate_takes_anomalies_from_training_only():
    rows = client_rows(TABLE, EVERY, FOLDS, 0, "legitimate")
    assert rows.train.index.tolist() == [0, 2]
    assert rows.calibration.index.tolist() == [4, 5, 6] and rows.test.index.tolist() == [7, 8, 9]


def test_arrays_are_copies_in_c_order():
    table = Table("t", np.asfortranarray(X), Y, ("a", "b"), "test", "0" * 64)
    rows = client_rows(table, EVERY, FOLDS, 0)
    assert rows.train.X.flags["C_CONTIGUOUS"] and rows.train.X.dtype == np.float64
    assert not np.shares_memory(rows.train.X, table.X) and rows.train.amount is None


def test_read_only_memory_map(tmp_path):
    np.save(tmp_path / "X.npy", X)
    table = Table("t", np.load(tmp_path / "X.npy", mmap_mode="r"), Y, ("a", "b"), "test", "0" * 64)
    rows = client_rows(table, EVERY, FOLDS, 0)
    assert type(rows.train.X) is np.ndarray and rows.train.X.flags["WRITEABLE"]


def test_no_training_row_names_the_client():
    with pytest.raises(UserError, match="client 7 holds 2 rows but no training row"):
        client_rows(TABLE, np.array([4, 9]), FOLDS, 7)
    with pytest.raises(UserError, match="client 3 holds 1 rows but no legitimate training row"):
        client_rows(TABLE, np.array([1]), FOLDS, 3, "legitimate")


def test_unknown_training_rows_are_refused():
    with pytest.raises(UserError, match="all, legitimate"):
        client_rows(TABLE, EVERY, FOLDS, 0, "normal")
