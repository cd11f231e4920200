"""Each check finds the leak that is planted, and nothing where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.core.floatgrid import Histogram
from fedanomaly.evaluation import leaks


def hashes(*values):
    return np.array(values, dtype=np.uint64)


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(size=(200, 7))


def test_train_in_test():
    clean = leaks.train_in_test([hashes(1, 2), hashes(3)], [hashes(4), hashes(5)])
    assert not clean.found and clean.count == 0 and "None of 2 test rows" in clean.sentence
    across = leaks.train_in_test([hashes(1, 2), hashes(3)], [hashes(3), hashes(5, 3)])
    assert across.found and across.count == 2 and "Of 3 test rows, 2" in across.sentence
    assert leaks.train_in_test(hashes(1), hashes(1)).found


def test_shared_rows_without_the_source():
    assert not leaks.shared_rows([hashes(1, 1, 2), hashes(3)]).found
    found = leaks.shared_rows([hashes(1, 2), hashes(2, 3), hashes(2, 3)])
    assert found.found and found.count == 2


def test_equal_rows_of_the_source_are_no_copies():
    source = hashes(7, 7, 1, 2)
    assert not leaks.shared_rows([hashes(7, 1), hashes(7, 2)], source).found
    assert leaks.shared_rows([hashes(7, 1), hashes(7, 7, 2)], source).count == 1
    assert leaks.shared_rows([hashes(7, 1), hashes(7, 1)], source).count == 1
    assert leaks.shared_rows([hashes(9), hashes(9)], source).found


@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(1, 5), st.integers(0, 2**32))
def test_no_partition_of_a_table_is_a_leak(table, clients, seed):
    source = hashes(*table)
    owner = np.random.default_rng(seed).integers(0, clients, len(source))
    parts = [source[owner == client] for client in range(clients)]
    assert not leaks.shared_rows(parts, source).found
    parts[0] = np.append(parts[0], source[owner != 0])
    copied = np.isin(np.unique(source), source[owner != 0]).sum()
    assert leaks.shared_rows(parts, source).count == copied


def test_copied_anomalies():
    clean = leaks.copied_anomalies([hashes(1, 2), hashes(3)])
    assert not clean.found and clean.name == "copied-anomalies"
    found = leaks.copied_anomalies([hashes(1, 2), hashes(1, 3)], hashes(1, 2, 3))
    assert found.found and "Of 3 distinct anomalies, 1" in found.sentence


def test_synthetic_in_test():
    source = [hashes(1, 2), hashes(3, 4)]
    assert not leaks.synthetic_in_test([hashes(2), hashes(4)], source).found
    found = leaks.synthetic_in_test([hashes(2, 99), hashes(98, 98)], source)
    assert found.found and found.count == 3


def moments(rows):
    return {"mean": rows.mean(axis=0), "variance": rows.var(axis=0)}


def test_scaler_on_test(rows):
    train = rows[:150]
    in_parts = moments(train[::-1])
    clean = leaks.scaler_on_test(in_parts, moments(train), fitted_rows=150, training_rows=150)
    assert not clean.found and clean.count == 0
    both = leaks.scaler_on_test(moments(rows), moments(train), fitted_rows=200, training_rows=150)
    assert both.found and "200 rows" in both.sentence and "its mean" in both.sentence
    other = leaks.scaler_on_test(moments(rows[50:]), moments(train), fitted_rows=150, training_rows=150)
    assert other.found and other.count == 2
    counted = leaks.scaler_on_test(moments(train), moments(train), fitted_rows=200, training_rows=150)
    assert counted.found and counted.count == 1
    missing = leaks.scaler_on_test({}, moments(train), fitted_rows=150, training_rows=150)
    assert missing.found


def test_threshold_on_test():
    calibration, test = Histogram.of([1.0, 2.0, 3.0]), Histogram.of([4.0, 5.0, 6.0])
    assert not leaks.threshold_on_test("calibration", calibration, calibration, test).found
    named = leaks.threshold_on_test("test", calibration, calibration, test)
    assert named.found and "come from the test fold" in named.sentence
    hidden = leaks.threshold_on_test("calibration", test, calibration, test)
    assert hidden.found and "those of the test rows" in hidden.sentence
    mixed = leaks.threshold_on_test("calibration", Histogram.sum([calibration, test]), calibration, test)
    assert mixed.found and mixed.count == 6


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("form", ["rows", "columns", "stacked"])
def test_rows_in_payload(rows, dtype, form):
    shipped = rows[[3, 50, 120, 121]].astype(dtype)
    shape = {"rows": shipped, "columns": shipped.T, "stacked": shipped.reshape(2, 2, 7)}[form]
    found = leaks.rows_in_payload({"prototypes": shape, "counts": np.ones(4)}, rows)
    assert found.found and found.count == 4 and "prototypes (4)" in found.sentence


def test_a_clean_payload(rows):
    means = rows.reshape(50, 4, 7).mean(axis=1)
    payload = {
        "means": means,
        "padding": np.zeros((3, 7)),
        "left": np.zeros((5, 7), np.int32),
        "wide": rows[:, :5],
        "flat": np.ones(7),
        "empty": np.empty((0, 7)),
    }
    training = np.vstack([rows, np.zeros(7)])
    finding = leaks.rows_in_payload(payload, training)
    assert not finding.found and finding.count == 0


def test_row_hashes(rows):
    ours = leaks.row_hashes(rows)
    assert ours.dtype == np.uint64 and len(np.unique(ours)) == len(rows)
    assert np.array_equal(ours, leaks.row_hashes(rows.astype(np.float32)))
    assert not np.array_equal(ours, leaks.row_hashes(rows[:, ::-1]))
    np.testing.assert_array_equal(*(leaks.row_hashes(np.array([[zero, 1.0]])) for zero in (0.0, -0.0)))
    assert leaks.row_hashes(np.empty((0, 7))).shape == (0,)
