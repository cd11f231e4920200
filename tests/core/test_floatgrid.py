import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.floatgrid import KEY_MAX, MANTISSA_BITS, Histogram, lower_edges, to_keys

finite = st.floats(allow_nan=False, allow_infinity=False)
values_st = hnp.arrays(np.float64, st.integers(0, 40), elements=finite)


@given(finite, finite)
def test_keys_keep_the_order(a, b):
    if a < b:
        assert to_keys(a) <= to_keys(b)
    if a == b:
        assert to_keys(a) == to_keys(b)


@given(finite, finite)
def test_an_edge_cuts_exactly(value, cut):
    key = to_keys(cut)
    assert (value < lower_edges(key)) == (to_keys(value) < key)


@given(st.floats(1e-300, 1e300))
def test_bins_are_narrow(value):
    edge = float(lower_edges(to_keys(value)))
    assert edge <= value <= edge * (1 + 2.0**-MANTISSA_BITS)


@given(st.lists(values_st, max_size=4))
def test_sums_do_not_depend_on_how_rows_are_split(parts):
    together = Histogram.of(np.concatenate([*parts, np.empty(0)]))
    added = Histogram.sum([Histogram.of(part) for part in parts])
    np.testing.assert_array_equal(added.keys, together.keys)
    np.testing.assert_array_equal(added.counts, together.counts)
    assert added.total == sum(len(part) for part in parts)


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)), st.floats(0, 1))
def test_quantiles_lie_within_a_bin_of_the_data(values, q):
    found = Histogram.of(values).quantile(q)
    below, above = np.quantile(values, q, method="lower"), np.quantile(values, q, method="higher")
    width = 2.0**-MANTISSA_BITS
    assert below - abs(below) * width - 1e-300 <= found <= above + abs(above) * width + 1e-300 or np.isclose(
        found, np.clip(found, values.min(), values.max()), rtol=2 * width
    )


def test_weights_are_added_up():
    histogram = Histogram.of([1.0, 1.0, 2.0], weights=[0.5, 0.25, 3.0])
    assert histogram.counts.tolist() == [0.75, 3.0]
    assert histogram.scaled(2).total == 7.5
    assert histogram.below(int(to_keys(2.0))) == 0.75


def test_an_empty_histogram_has_no_quantile():
    assert np.isnan(Histogram.of([]).quantile(0.5))


@given(values_st)
def test_the_wire_form_comes_back(values):
    histogram = Histogram.of(values)
    back = Histogram.from_arrays(histogram.to_arrays("h"), "h")
    np.testing.assert_array_equal(back.keys, histogram.keys)


@pytest.mark.parametrize(
    ("keys", "counts"),
    [
        ([1, 1], [1, 1]),
        ([2, 1], [1, 1]),
        ([1], [1, 1]),
        ([1], [-1]),
        ([KEY_MAX + 1], [1]),
        ([1.0], [1]),
        ([1], [np.nan]),
    ],
)
def test_a_false_histogram_is_refused(keys, counts):
    with pytest.raises(InvalidArrays):
        Histogram.from_arrays({"h/keys": np.array(keys), "h/counts": np.array(counts)}, "h")
