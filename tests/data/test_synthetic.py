import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest, load_table
from fedanomaly.data.creditcard_figures import FEATURES, published_ranges, standard_deviations
from fedanomaly.data.synthetic import Synthetic, generate

SHIFTS = {"V14": -7.0, "V3": -7.0, "V17": -6.7, "V12": -6.3, "V10": -5.7, "V7": -5.6, "V1": -4.8, "V4": 4.5}
SHIFTS |= {"V16": -4.1, "V11": 3.8, "V2": 3.6}
SAY_NOTHING = ("V13", "V15", "V22", "V23", "V24", "V25", "V26")
HEAVY_TAILS = ("V2", "V8", "V20", "V21", "V23", "V27", "V28", "Amount")


@pytest.fixture(scope="module")
def rows():
    X, y, time = generate(150_000, 5)
    return X, y.astype(bool), time


def of(X, name):
    return X[:, FEATURES.index(name)]


def test_schema():
    table = Synthetic().load(DataRequest(rows=5_000, seed=1))
    assert table.feature_names == FEATURES == (*(f"V{i}" for i in range(1, 29)), "Amount")
    assert table.synthetic and table.warnings
    assert table.n_anomalies == round(0.001727 * 5_000)
    assert (np.diff(table.time) >= 0).all() and (table.time % 1 == 0).all()
    assert table.time[0] >= 0 and table.time[-1] <= 172_792
    assert np.array_equal(table.amount, table.X[:, -1])


def test_whole_size_by_default(cache_dir):
    table = load_table("synthetic")
    assert table.X.shape == (284_807, 29) and table.n_anomalies == 492


def test_same_table_on_every_machine():
    # Reference results rest on these rows; if this fails, they must be computed anew.
    table = Synthetic().load(DataRequest(rows=5_000, seed=1))
    assert table.fingerprint.startswith("e268dd138df5")


@settings(max_examples=15, deadline=None)
@given(rows=st.integers(100, 20_000), seed=st.integers(0, 2**31))
def test_any_number_of_rows(rows, seed):
    X, y, time = generate(rows, seed)
    low, high = published_ranges()
    assert X.shape == (rows, 29) and y.sum() == max(1, round(0.001727 * rows))
    assert np.allclose(X, np.clip(X, low, high), rtol=0, atol=1e-6)
    cents = X[:, -1] * 100
    assert np.abs(cents - np.rint(cents)).max() < 1e-6
    again = generate(rows, seed)
    assert all(np.array_equal(a, b) for a, b in zip((X, y, time), again, strict=True))


def test_seeds_differ():
    assert not np.array_equal(generate(1_000, 1)[0], generate(1_000, 2)[0])


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match="at least 100"):
        Synthetic().load(DataRequest(rows=99))


def test_legitimate_moments_and_tails(rows):
    X, fraud, _ = rows
    legitimate = X[~fraud]
    assert np.abs(legitimate[:, :28].mean(axis=0)).max() < 0.1
    ratio = legitimate[:, :28].std(axis=0) / standard_deviations()
    assert np.abs(np.log(ratio)).max() < 0.15
    for name in HEAVY_TAILS:
        assert kurtosis(of(legitimate, name)) >= 50, name
    r = np.corrcoef(legitimate[:, :28].T)[np.triu_indices(28, 1)]
    assert 0.015 < np.abs(r).mean() < 0.03


def test_fraud_moments_and_correlation(rows):
    X, fraud, _ = rows
    for name, mean in SHIFTS.items():
        assert of(X[fraud], name).mean() == pytest.approx(mean, abs=0.8), name
        assert 1.5 < of(X[fraud], name).std() / of(X[~fraud], name).std() < 11, name
    for name in SAY_NOTHING:
        auroc = roc_auc_score(fraud, of(X, name))
        assert max(auroc, 1 - auroc) < 0.62, name
    r = np.corrcoef(X[fraud][:, :28].T)
    assert 0.25 < np.abs(r[np.triu_indices(28, 1)]).mean() < 0.36
    assert 0.64 < np.linalg.eigvalsh(r)[-5:].sum() / 28 < 0.78
    v = [FEATURES.index(name) for name in ("V16", "V17", "V18")]
    assert r[np.ix_(v, v)].min() > 0.85


def test_amounts(rows):
    X, fraud, _ = rows
    amount = X[:, -1][~fraud]
    assert np.quantile(amount, [0.5, 0.75, 0.95, 0.99]) == pytest.approx([22, 76, 353, 1000], rel=0.12)
    assert (amount == 1).mean() == pytest.approx(0.048, abs=0.006)
    assert (amount % 1 == 0).mean() == pytest.approx(0.25, abs=0.02)
    assert 5_000 < amount.max() <= 25_691.16
    amount = X[:, -1][fraud]
    assert np.quantile(amount, [0.5, 0.75, 0.95]) == pytest.approx([9.25, 106, 641], rel=0.3)
    for value, share in ((1.0, 0.23), (0.0, 0.055), (99.99, 0.055)):
        assert (amount == value).mean() == pytest.approx(share, abs=0.025), value
    assert amount.max() <= 2_126


def test_daily_rhythm_and_bursts(rows):
    _, fraud, time = rows
    hour = (time // 3600 % 24).astype(int)
    legitimate = np.bincount(hour[~fraud], minlength=24) / (~fraud).sum()
    frauds = np.bincount(hour[fraud], minlength=24) / fraud.sum()
    assert legitimate[4] == pytest.approx(0.0083, abs=0.002)
    assert legitimate[21] == pytest.approx(0.0608, abs=0.003)
    assert frauds[2] == pytest.approx(0.116, abs=0.02)
    assert frauds[11] == pytest.approx(0.108, abs=0.02)
    gaps = np.diff(time[fraud])
    assert gaps.std() / gaps.mean() > 1.2  # 1 would be no bursts at all


def test_frauds_clump_and_some_hide(rows):
    X, fraud, _ = rows
    scaler = StandardScaler().fit(X[~fraud])
    legitimate, frauds = scaler.transform(X[~fraud][::8]), scaler.transform(X[fraud])
    index = NearestNeighbors(n_neighbors=2).fit(legitimate)
    among = index.kneighbors(legitimate[:2_000])[0][:, 1]
    away = index.kneighbors(frauds, 1)[0][:, 0]
    together = NearestNeighbors(n_neighbors=2).fit(frauds).kneighbors(frauds)[0][:, 1]
    assert 0.10 < (away < np.quantile(among, 0.95)).mean() < 0.20
    assert 8 < np.median(away) < 16
    assert 2.5 < np.median(together) < 6.5


def test_as_hard_as_the_real_data():
    forest, logistic = [], []
    for seed in (1, 2, 3):
        X, y, _ = generate(60_000, seed)
        for train, test in StratifiedKFold(2, shuffle=True, random_state=seed).split(X, y):
            scaler = StandardScaler().fit(X[train])
            A, B = scaler.transform(X[train]), scaler.transform(X[test])
            some = np.concatenate([np.flatnonzero(y[test] == 1), np.flatnonzero(y[test] == 0)[::5]])
            trees = IsolationForest(n_estimators=200, random_state=seed).fit(A)
            forest.append(roc_auc_score(y[test][some], -trees.score_samples(B[some])))
            linear = LogisticRegression(max_iter=200).fit(A, y[train])
            logistic.append(roc_auc_score(y[test][some], linear.decision_function(B[some])))
    dirty = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(A)  # its training rows hold frauds
    lof = roc_auc_score(y[test][some], -dirty.score_samples(B[some]))
    assert 0.93 <= np.mean(forest) <= 0.965
    assert 0.96 <= np.mean(logistic) <= 0.985
    assert lof <= 0.85
