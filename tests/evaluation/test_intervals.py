"""Intervals equal SciPy's, and equivalence is claimed only where the interval lies inside the margin."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation.intervals import equivalence, mean_interval, paired_difference

several = st.lists(st.floats(0, 1).map(lambda v: round(v, 3)), min_size=2, max_size=30)


@given(several, st.sampled_from([0.8, 0.95]))
def test_mean_interval_equals_scipy(values, confidence):
    ours = mean_interval(values, confidence)
    assert ours.mean == pytest.approx(np.mean(values), abs=1e-12)
    if np.std(values) > 0:
        low, high = stats.t.interval(confidence, len(values) - 1, np.mean(values), stats.sem(values))
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=1e-9)


@given(several, st.floats(0.01, 0.5), st.integers(0, 2**32))
def test_equivalence_is_the_interval_inside_the_margin(values, margin, seed):
    other = np.array(values) + np.random.default_rng(seed).normal(0, 0.05, len(values))
    result = equivalence(values, other, margin)
    inside = -margin < result.difference.low and result.difference.high < margin
    assert result.equivalent == inside
    lower = stats.ttest_1samp(np.array(values) - other, -margin, alternative="greater").pvalue
    upper = stats.ttest_1samp(np.array(values) - other, margin, alternative="less").pvalue
    assert result.p_value == pytest.approx(max(lower, upper), abs=1e-9)


def test_undefined_values_are_left_out():
    assert mean_interval([0.5, math.nan, 0.7]).n == 2
    assert paired_difference([1.0, math.nan, 3.0], [0.0, 0.0, math.nan]).n == 1
    one, none = mean_interval([0.5]), mean_interval([math.nan])
    assert one.mean == 0.5 and math.isnan(one.low) and "one value" in str(one)
    assert math.isnan(none.mean) and str(none) == "undefined"
    assert str(mean_interval([0.5, 0.5])) == "0.5000 [0.5000, 0.5000]"


def test_equal_values_and_too_few():
    assert equivalence([0.5, 0.6], [0.5, 0.6], 0.01).equivalent
    assert not equivalence([0.7, 0.8], [0.5, 0.6], 0.2 - 1e-3).equivalent
    single = equivalence([0.5], [0.5], 0.01)
    assert not single.equivalent and math.isnan(single.p_value)


def test_bad_input_is_one_sentence():
    with pytest.raises(UserError, match="same seeds"):
        paired_difference([1.0], [1.0, 2.0])
    with pytest.raises(UserError, match="margin"):
        equivalence([1.0], [1.0], 0.0)
    with pytest.raises(UserError, match="confidence"):
        mean_interval([1.0], 95)
    with pytest.raises(UserError, match="alpha"):
        equivalence([1.0], [1.0], 0.1, alpha=0.5)
