"""Balancing: exact ratios, real rows untouched, few anomalies handled, synthetic rows marked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.core.errors import UserError
from fedanomaly.prepare import BALANCERS, balance

OVER = ["smote", "borderline-smote", "adasyn"]


def rows(n=300, n_frauds=20, shift=1.0, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % max(n // max(n_frauds, 1), 1) == 0).astype(np.int8)
    y[np.flatnonzero(y)[n_frauds:]] = 0
    X = rng.normal(size=(n, 3)) + shift * y[:, None]
    return X.astype(dtype), y


def test_names():
    assert set(BALANCERS.registered()) == {"none", "smote", "borderline-smote", "adasyn", "under"}
    with pytest.raises(UserError, match="unknown balancing 'smot'"):
        balance("smot", *rows())


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize("ratio", [1.0, 0.6])
def test_oversampling_reaches_the_ratio_and_keeps_real_rows_first(name, ratio):
    X, y = rows()
    balanced = balance(name, X, y, ratio=ratio, seed=3)
    assert np.array_equal(balanced.X[:300], X) and np.array_equal(balanced.y[:300], y)
    assert not balanced.synthetic[:300].any() and balanced.synthetic[300:].all()
    assert (balanced.y[300:] == 1).all()
    assert (balanced.y == 1).sum() / (balanced.y == 0).sum() == pytest.approx(ratio, rel=0.06)
    assert balanced.note == ""


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*OVER, "under", "none"])
def test_dtypes_are_kept(name, dtype):
    balanced = balance(name, *rows(dtype=dtype))
    assert balanced.X.dtype == dtype and balanced.y.dtype == np.int8 and balanced.synthetic.dtype == bool
    assert len(balanced.X) == len(balanced.y) == len(balanced.synthetic)


def test_synthetic_rows_lie_between_anomalies():
    X, y = rows()
    added = balance("smote", X, y)
    low, high = X[y == 1].min(axis=0), X[y == 1].max(axis=0)
    new = added.X[added.synthetic]
    assert ((new >= low) & (new <= high)).all()
    assert not (new[:, None] == X[None]).all(axis=2).any()


def test_under_drops_normal_rows_only():
    X, y = rows()
    balanced = balance("under", X, y, ratio=0.5)
    assert (balanced.y == 1).sum() == 20 and (balanced.y == 0).sum() == 40
    assert not balanced.synthetic.any()
    assert np.array_equal(balanced.X[balanced.y == 1], X[y == 1])
    assert (balanced.X[:, None] == X[None]).all(axis=2).any(axis=1).all()


@pytest.mark.parametrize("name", [*OVER, "under"])
def test_same_seed_same_rows(name):
    one, other, third = (balance(name, *rows(), seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one.X, other.X)
    assert not np.array_equal(one.X, third.X)


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize("n_frauds", [2, 3, 5])
def test_few_anomalies_lower_k(name, n_frauds):
    balanced = balance(name, *rows(n_frauds=n_frauds))
    assert balanced.synthetic.sum() == pytest.approx(300 - 2 * n_frauds, abs=12)
    assert balanced.note


def test_lowered_k_is_said():
    assert balance("smote", *rows(n_frauds=3)).note == "3 anomalies: k_neighbors lowered to 2"


@pytest.mark.parametrize("name", OVER)
def test_a_single_anomaly_is_repeated(name):
    X, y = rows(n_frauds=1)
    balanced = balance(name, X, y)
    assert balanced.synthetic.sum() == 298 and "repeated" in balanced.note
    assert (balanced.X[balanced.synthetic] == X[y == 1]).all()


@pytest.mark.parametrize("name", [*OVER, "under"])
@pytest.mark.parametrize(
    ("n", "n_frauds", "words"),
    [(300, 0, "no anomalies"), (30, 30, "no normal"), (300, 150, "already"), (20, 15, "already")],
)
def test_nothing_to_do_leaves_the_rows_and_says_so(name, n, n_frauds, words):
    X, y = rows(n, 1)
    y = (np.arange(n) < n_frauds).astype(np.int8)
    balanced = balance(name, X, y)
    assert np.array_equal(balanced.X, X) and np.array_equal(balanced.y, y)
    assert not balanced.synthetic.any() and words in balanced.note


@pytest.mark.parametrize("name", ["borderline-smote", "adasyn"])
def test_anomalies_without_normal_neighbours_fall_back_to_smote(name):
    X, y = rows(shift=1000.0)
    balanced = balance(name, X, y)
    assert "plain SMOTE" in balanced.note and balanced.synthetic.sum() == 260


@pytest.mark.parametrize("name", [*OVER, "under", "none"])
def test_no_rows_at_all(name):
    balanced = balance(name, np.empty((0, 3)), np.empty(0, np.int8))
    assert balanced.X.shape == (0, 3)


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["none", "smote"])
def test_bad_ratios_are_refused(name, ratio):
    with pytest.raises(UserError, match="ratio"):
        balance(name, *rows(), ratio=ratio)


def test_bad_neighbours_are_refused():
    with pytest.raises(UserError, match="neighbour"):
        balance("smote", *rows(), k_neighbors=0)


@pytest.mark.parametrize("name", [*OVER, "under"])
@settings(max_examples=25, deadline=None)
@given(y=st.lists(st.integers(0, 1), max_size=40), ratio=st.floats(0.01, 1.0), constant=st.booleans())
def test_any_labels_are_served(name, y, ratio, constant):
    y = np.array(y, dtype=np.int8)
    X = np.zeros((len(y), 2)) if constant else np.random.default_rng(0).normal(size=(len(y), 2))
    balanced = balance(name, X, y, ratio=ratio)
    assert len(balanced.X) == len(balanced.y) == len(balanced.synthetic)
    if name != "under":
        assert np.array_equal(balanced.X[~balanced.synthetic], X)
        assert (balanced.y[balanced.synthetic] == 1).all()
