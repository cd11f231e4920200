"""The heterogeneity summary against figures computed another way."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from fedanomaly.data.base import Table
from fedanomaly.partition import PartitionRequest, split, summarise

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 3))
Y = (rng.random(600) < 0.2).astype(np.int8)
TABLE = Table("t", X, Y, ("a", "b", "c"), "test", "0" * 64)


def test_counts_and_label_distances():
    parts = split("uneven", TABLE, PartitionRequest(4))
    summary = summarise(TABLE, parts)
    pooled = Y.mean()
    assert summary.rows.sum() == 600 and summary.anomalies.sum() == Y.sum()
    for client, part in enumerate(parts):
        rate = Y[part].mean()
        assert summary.anomaly_rate[client] == pytest.approx(rate)
        assert summary.label_tv[client] == pytest.approx(abs(rate - pooled))
        assert summary.label_js[client] == pytest.approx(
            jensenshannon([rate, 1 - rate], [pooled, 1 - pooled], base=2), abs=1e-9
        )
    assert summary.share.sum() == pytest.approx(1) and summary.anomaly_share.sum() == pytest.approx(1)


def test_feature_distance_is_kolmogorov_smirnov():
    table = Table("t", np.round(X, 1), Y, ("a", "b", "c"), "test", "0" * 64)  # with ties
    parts = [np.arange(100), np.arange(100, 600)]
    summary = summarise(table, parts)
    for client, part in enumerate(parts):
        expected = np.mean([ks_2samp(table.X[part, j], table.X[:, j]).statistic for j in range(3)])
        assert summary.feature_ks[client] == pytest.approx(expected)


def test_feature_distance_without_skew_is_what_is_expected():
    big = np.random.default_rng(1).normal(size=(20_000, 5))
    table = Table("t", big, np.zeros(20_000, np.int8), tuple("abcde"), "test", "0" * 64)
    summary = summarise(table, split("iid", table, PartitionRequest(10)))
    assert summary.feature_ks.mean() == pytest.approx(summary.feature_ks_expected.mean(), rel=0.15)


def test_extremes_of_the_overall_figures():
    frauds, normal = np.flatnonzero(Y == 1), np.flatnonzero(Y == 0)
    apart = summarise(TABLE, [frauds, normal])
    assert apart.label_skew == pytest.approx(1 - Y.mean())
    equal = summarise(TABLE, [np.arange(300), np.arange(300, 600)])
    assert equal.quantity_skew == 0 and equal.n_unheld == equal.n_shared == 0
    one_has_most = summarise(TABLE, [np.arange(1), np.arange(1, 2), np.arange(2, 600)])
    assert one_has_most.quantity_skew == pytest.approx(2 / 3, abs=0.01)


def test_shared_and_unheld_rows_are_counted():
    summary = summarise(TABLE, [np.arange(0, 300), np.arange(290, 590)])
    assert (summary.n_shared, summary.n_unheld) == (10, 10)


def test_no_anomalies_at_all():
    table = Table("t", X, np.zeros(600, np.int8), ("a", "b", "c"), "test", "0" * 64)
    summary = summarise(table, split("iid", table, PartitionRequest(3)))
    assert summary.label_skew == 0 and not summary.label_tv.any() and not summary.label_js.any()


def test_forms_of_the_result():
    summary = summarise(TABLE, split("iid", TABLE, PartitionRequest(3)))
    records = summary.records()
    assert [record["client"] for record in records] == [0, 1, 2]
    assert all(isinstance(record["rows"], int) and isinstance(record["share"], float) for record in records)
    frame = summary.to_frame()
    assert list(frame.columns) == list(records[0]) and len(frame) == 3
    assert set(summary.overall()) == {"label_skew", "quantity_skew", "feature_skew", "n_unheld", "n_shared"}


def test_same_seed_same_sample():
    parts = split("iid", TABLE, PartitionRequest(1, seed=3))
    one, other = summarise(TABLE, parts, seed=5), summarise(TABLE, parts, seed=5)
    assert np.array_equal(one.feature_ks, other.feature_ks)
