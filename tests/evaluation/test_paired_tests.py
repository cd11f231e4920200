"""Paired tests equal SciPy's, and their correction Holm's published example."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation.paired_tests import compare_paired, holm


def test_a_test_equals_scipy():
    draw = np.random.default_rng(0)
    pairs = {str(n): (draw.normal(0.1 * n, 1, 8), draw.normal(0, 1, 8)) for n in range(4)}
    found = compare_paired(pairs)
    for name, (a, b) in pairs.items():
        assert found[name].p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert [found[name].adjusted for name in pairs] == holm([found[name].p_value for name in pairs])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_correction_never_lowers_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(adjusted)


def test_what_cannot_be_tested_is_undefined_and_not_counted():
    found = compare_paired({"one": ([1.0], [0.5]), "same": ([1.0, 2.0], [1.0, 2.0]), "all": ([2, 3], [1, 2])})
    assert math.isnan(found["one"].p_value) and math.isnan(found["one"].adjusted)
    assert found["same"].p_value == 1.0 and found["all"].p_value == 0.0
    assert holm([math.nan, 0.04])[1] == 0.04
    with pytest.raises(UserError, match="between 0 and 1"):
        holm([2.0])
