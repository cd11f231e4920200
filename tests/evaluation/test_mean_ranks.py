"""Ranks over tables against SciPy and against the worked example of Demšar (2006)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation import bootstrap_interval, compare_ranks, mean_interval
from fedanomaly.evaluation.mean_ranks import critical_difference, ranks

# Demšar 2006, table 6: AUC of C4.5 and three variants on 14 data sets
C45 = [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.94, 0.619, 0.972, 0.957]
C45_M = [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978]
C45_CF = [0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.0, 0.965, 0.614, 0.9751, 0.946]
C45_M_CF = [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.0, 0.962, 0.669, 0.975, 0.970]


def test_the_worked_example():
    found = compare_ranks({"C4.5": C45, "C4.5+m": C45_M, "C4.5+cf": C45_CF, "C4.5+m+cf": C45_M_CF}, alpha=0.1)
    by_name = dict(zip(found.methods, found.mean_ranks, strict=True))
    published = {"C4.5": 3.143, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}
    assert by_name == pytest.approx(published, abs=5e-4)
    assert found.critical_difference == pytest.approx(1.12, abs=5e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    # as published: C4.5 is worse than the best two, C4.5+cf cannot be told from anything
    assert [tuple(found.methods[place] for place in group) for group in found.groups] == [
        ("C4.5+m+cf", "C4.5+cf"),
        ("C4.5+cf", "C4.5"),
    ]


@given(st.integers(3, 6), st.integers(2, 12), st.integers(0, 10**6))
def test_friedman_agrees_with_scipy(k, n, seed):
    values = np.random.default_rng(seed).integers(0, 5, size=(n, k))
    if (values == values[:, :1]).all():
        return
    found = compare_ranks({str(i): values[:, i] for i in range(k)})
    expected = friedmanchisquare(*values.T)
    assert found.statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)


def test_an_undefined_value_ranks_last_and_an_undefined_table_is_left_out():
    nan = float("nan")
    assert ranks([[0.5, nan, 0.7], [nan, nan, 0.1]]).tolist() == [[2, 3, 1], [2.5, 2.5, 1]]
    found = compare_ranks({"a": [0.5, nan, nan], "b": [0.4, 0.2, nan]})
    assert found.n_tables == 2 and found.mean_ranks == (1.5, 1.5)


def test_all_equal_is_one_group():
    found = compare_ranks({"a": [0.5, 0.5], "b": [0.5, 0.5], "c": [0.5, 0.5]})
    assert (found.statistic, found.p_value, found.groups) == (0.0, 1.0, ((0, 2),))


def test_far_apart_are_no_group():
    values = {str(method): np.full(40, method) for method in range(3)}
    found = compare_ranks(values)
    assert found.methods == ("2", "1", "0") and found.groups == () and found.p_value < 1e-9


@pytest.mark.parametrize(
    ("values", "alpha", "sentence"),
    [
        ({"a": [1.0]}, 0.05, "at least two"),
        ({"a": [1.0], "b": [1.0, 2.0]}, 0.05, "a value for each table"),
        ({"a": [np.nan], "b": [np.nan]}, 0.05, "no table"),
        ({"a": [1.0], "b": [2.0]}, 0.7, "alpha"),
    ],
)
def test_what_cannot_be_compared(values, alpha, sentence):
    with pytest.raises(UserError, match=sentence):
        compare_ranks(values, alpha)


def test_bootstrap_of_a_mean_is_near_the_t_interval_and_repeats_itself():
    values = np.random.default_rng(0).normal(3, 1, 200)
    found, t = bootstrap_interval(values), mean_interval(values)
    assert found == bootstrap_interval(values) and found.mean == t.mean
    assert (found.low, found.high) == pytest.approx((t.low, t.high), abs=0.02)


def test_bootstrap_of_a_ratio_drops_undefined_rows():
    pairs = np.array([[1.0, 2.0], [2.0, 4.0], [np.nan, 1.0]])
    found = bootstrap_interval(pairs, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))
    assert (found.mean, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 2)
    assert np.isnan(bootstrap_interval([1.0]).low) and bootstrap_interval([np.nan]).n == 0
