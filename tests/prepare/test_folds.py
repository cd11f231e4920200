"""Folds: exact shares, equal rows together, the same whoever holds a row and in whatever order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table
from fedanomaly.partition import PartitionRequest, split
from fedanomaly.prepare import CALIBRATION, TEST, TRAIN, assign_folds, client_rows, row_hashes

small_tables = st.lists(
    st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.integers(0, 1)), min_size=1, max_size=80
).map(lambda rows: (np.array(rows, dtype=np.float64)[:, :2], np.array(rows, dtype=np.int8)[:, 2]))


def counts(folds):
    return np.bincount(folds, minlength=3).tolist()


def distinct(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 4))


@given(n=st.integers(15, 400), n_frauds=st.integers(5, 200), seed=st.integers(0, 99))
def test_counts_of_every_label_are_exact_without_duplicates(n, n_frauds, seed):
    n_frauds = min(n_frauds, n - 10)
    y = (np.arange(n) < n_frauds).astype(np.int8)
    folds = assign_folds(distinct(n), y, seed=seed)
    assert folds.dtype == np.int8 and folds.shape == (n,)
    for label in (0, 1):
        total = int((y == label).sum())
        assert np.abs(np.array(counts(folds[y == label])) - total * np.array([0.6, 0.2, 0.2])).max() <= 1


@given(rows=small_tables, seed=st.integers(0, 9), data=st.data())
def test_a_permutation_of_the_rows_changes_no_fold(rows, seed, data):
    X, y = rows
    order = np.array(data.draw(st.permutations(range(len(y)))))
    assert np.array_equal(assign_folds(X, y, seed=seed)[order], assign_folds(X[order], y[order], seed=seed))


@given(rows=small_tables, seed=st.integers(0, 9))
def test_equal_rows_lie_in_one_fold_whatever_their_labels(rows, seed):
    X, y = rows
    folds = assign_folds(X, y, seed=seed)
    _, group = np.unique(X, axis=0, return_inverse=True)
    for one in range(group.max() + 1):
        assert len(set(folds[group == one])) == 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), clients=st.integers(1, 6), alpha=st.floats(0.05, 10))
def test_no_partition_changes_a_fold(seed, clients, alpha):
    n = 300
    y = (np.arange(n) % 10 == 0).astype(np.int8)
    table = Table("t", distinct(n, seed), y, ("a", "b", "c", "d"), "test", "0" * 64)
    folds = assign_folds(table.X, table.y, seed=seed)
    request = PartitionRequest(clients, seed=seed, alpha=alpha, min_rows=20)
    for name in ("iid", "dirichlet", "feature", "even"):
        held = [
            client_rows(table, part, folds, client) for client, part in enumerate(split(name, table, request))
        ]
        for fold, which in ((TRAIN, "train"), (CALIBRATION, "calibration"), (TEST, "test")):
            index = np.concatenate([getattr(rows, which).index for rows in held])
            assert np.array_equal(np.sort(index), np.flatnonzero(folds == fold))


@pytest.mark.parametrize(
    ("n_frauds", "expected"), [(0, [0, 0, 0]), (1, [0, 0, 1]), (2, [0, 1, 1]), (3, [1, 1, 1]), (4, [2, 1, 1])]
)
def test_few_anomalies_go_where_they_are_needed(n_frauds, expected):
    y = (np.arange(50) < n_frauds).astype(np.int8)
    for seed in range(20):
        assert counts(assign_folds(distinct(50), y, seed=seed)[y == 1]) == expected


def test_three_distinct_anomalies_suffice_even_if_one_has_many_copies():
    X = distinct(100)
    X[:40] = X[0]
    y = (np.arange(100) < 42).astype(np.int8)  # one anomaly 40 times, two once
    for seed in range(30):
        assert min(counts(assign_folds(X, y, seed=seed)[y == 1])) >= 1


def test_shares_of_distinct_rows_are_exact_however_often_one_occurs():
    X = distinct(200)
    X = np.concatenate([X, np.repeat(X[:1], 1000, axis=0)])
    for seed in range(10):
        folds = assign_folds(X, np.ones(1200, np.int8), seed=seed)
        assert counts(folds[:200]) == [120, 40, 40]


def test_no_calibration_fold_is_a_plain_split():
    y = (np.arange(100) < 10).astype(np.int8)
    folds = assign_folds(distinct(100), y, calibration=0.0, test=0.2)
    assert counts(folds) == [80, 0, 20] and counts(folds[y == 1]) == [8, 0, 2]


def test_a_seed_is_a_split():
    X, y = distinct(200), np.zeros(200, np.int8)
    assert not np.array_equal(assign_folds(X, y, seed=1), assign_folds(X, y, seed=2))
    assert np.array_equal(assign_folds(X, y, seed=1), assign_folds(X, y, seed=1))


@pytest.mark.parametrize(
    ("calibration", "test"), [(-0.1, 0.2), (0.5, 0.5), (float("nan"), 0.2), (0.2, float("inf"))]
)
def test_impossible_shares_are_refused(calibration, test):
    with pytest.raises(UserError, match="below 1 together"):
        assign_folds(distinct(10), np.zeros(10, np.int8), calibration=calibration, test=test)


def test_hashes_know_rows_not_places():
    X = distinct(10_000)
    hashes = row_hashes(X)
    assert hashes.dtype == np.uint64 and len(np.unique(hashes)) == 10_000
    assert np.array_equal(hashes[::-1], row_hashes(X[::-1]))
    assert np.array_equal(hashes[5000:], row_hashes(np.asfortranarray(X[5000:])))
    assert not np.intersect1d(hashes, row_hashes(X, seed=1)).size
    assert row_hashes(np.array([[0.0, 1.0]])) == row_hashes(np.array([[-0.0, 1.0]]))
    assert row_hashes(np.array([[0.0, 1.0]])) != row_hashes(np.array([[1.0, 0.0]]))
    assert np.array_equal(row_hashes(np.array([[1, 2]], dtype=np.int16)), row_hashes(np.array([[1.0, 2.0]])))


def test_hashes_of_structured_rows_do_not_collide():
    """Small whole numbers have mostly zero bits: sums of weakly mixed words collide there."""
    grid = np.stack(np.meshgrid(*[np.arange(12.0)] * 5), axis=-1).reshape(-1, 5)
    assert len(np.unique(row_hashes(grid))) == 12**5


def test_hash_bits_are_balanced():
    bits = np.unpackbits(row_hashes(np.arange(20_000.0)[:, None]).view(np.uint8)).reshape(-1, 64)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.02


def test_hashes_of_a_known_row_stay():
    """A change of the hash changes every published split: it must be deliberate."""
    assert [int(h) for h in row_hashes(np.array([[1.0, 2.5], [0.0, -3.0]]), seed=7)] == [
        11991120944744513569,
        16654138269011632598,
    ]
