import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest, check_dataset
from fedanomaly.data.payments import FEATURES, FRAUD_TYPES, SITES, TypedPayments, generate


def test_table():
    table = check_dataset("payments", DataRequest(rows=5_000, seed=3))
    assert table.feature_names == FEATURES and table.synthetic
    assert set(table.groups) == {"site"} and set(np.unique(table.groups["site"])) == set(range(5))
    assert (np.diff(table.time) >= 0).all()
    assert (table.amount > 0).all()


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(500, 5_000), seed=st.integers(0, 1_000))
def test_every_site_meets_fraud(rows, seed):
    payments = generate(rows, seed)
    assert payments.X.shape == (rows, len(FEATURES)) and np.isfinite(payments.X).all()
    assert np.array_equal(payments.y == 1, payments.fraud_type >= 0)
    sizes = np.bincount(payments.site, minlength=len(SITES))
    assert np.abs(sizes - np.array(SITES) * rows).max() <= 1
    assert (np.bincount(payments.site, weights=payments.y) >= len(FRAUD_TYPES)).all()


def test_sites_meet_different_types():
    payments = generate(50_000, 1)
    counts = np.zeros((5, 4))
    np.add.at(counts, (payments.site[payments.y == 1], payments.fraud_type[payments.y == 1]), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert (shares[range(4), range(4)] > 0.8).all()
    assert shares[4] == pytest.approx(np.full(4, 0.25), abs=0.01)
    assert payments.y.mean() == pytest.approx(0.02, abs=0.001)


def test_a_site_alone_misses_the_frauds_of_others():
    train, test = generate(20_000, 1), generate(20_000, 2)

    def f1(rows):
        model = HistGradientBoostingClassifier(max_iter=50, random_state=0)
        return f1_score(test.y, model.fit(train.X[rows], train.y[rows]).predict(test.X))

    pooled = f1(np.arange(20_000))
    alone = np.mean([f1(np.flatnonzero(train.site == site)) for site in range(5)])
    assert 0.8 < pooled < 0.99
    assert alone < pooled - 0.15


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match="at least 500"):
        TypedPayments().load(DataRequest(rows=100))
