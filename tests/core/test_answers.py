"""Answers side by side: the two forms hold the same, and nothing that differs is put together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.answers import Answers, Batch
from fedanomaly.core.keyed import Turn

CLIENTS = (0, 1, 2, 3)


def answers(*arrays):
    return Answers.of((Turn(0, 1, 1, client, CLIENTS), {"a": array}) for client, array in enumerate(arrays))


sides = st.integers(0, 3)


@given(st.data(), st.integers(1, 5), st.sampled_from(["<f8", "|u1", "<U3", ">i4"]), st.integers(0, 3))
def test_what_is_put_side_by_side_comes_apart_again(data, size, dtype, ndim):
    tail = tuple(data.draw(sides) for _ in range(ndim - 1))
    each = [
        {
            "a": data.draw(hnp.arrays(dtype, (data.draw(sides), *tail) if ndim else ())),
            "b": np.array([float(number)]),
        }
        for number in range(size)
    ]
    columns = Batch(each).columns
    assert columns is not None
    back = Batch(columns=columns).each
    assert len(back) == size
    for found, wanted in zip(back, each, strict=True):
        assert list(found) == list(wanted)
        for name, array in wanted.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
            assert found[name].shape == array.shape


def test_answers_of_one_shape_are_stacked():
    both = answers(np.array(1.0), np.array(2.0)).stacked({"a": np.float64})
    np.testing.assert_array_equal(both["a"], [1.0, 2.0])
    wide = answers(np.ones((2, 3)), np.zeros((2, 3))).stacked({"a": np.float64})
    assert wide["a"].shape == (2, 2, 3)
    assert answers(np.empty((0, 2)), np.empty((0, 2))).stacks["a"].shape == (2, 0, 2)


@pytest.mark.parametrize(
    "other", [np.ones(2), np.ones(3, np.float32), np.ones((3, 1)), [1.0, 1.0, 1.0], np.float64(1), None]
)
def test_answers_of_other_forms_are_not_stacked(other):
    assert answers(np.ones(3), other).stacked({"a": np.float64}) is None
    assert answers(other, np.ones(3)).stacked({"a": np.float64}) is None


def test_answers_of_other_names_are_not_stacked():
    ones = np.ones(3)
    assert answers(ones).stacked({"a": np.float64, "b": np.float64}) is None
    assert Batch([{"a": ones, "b": ones}, {"a": ones}]).columns is None
    assert Batch([{"a": ones}, {"b": ones}]).columns is None
    assert Batch([{}, {}]).columns is None
    assert Batch([]).columns is None


def test_answers_are_a_sequence_of_turns_and_arrays():
    three = answers(np.array([1.0]), np.array([2.0]), np.array([3.0]))
    assert [turn.client for turn, _ in three] == three.clients == [0, 1, 2]
    assert three[1][0].client == 1
    assert [arrays["a"][0] for _, arrays in three[1:]] == [2.0, 3.0]
    left = three.without({1: "unsound"})
    assert left.clients == [0, 2]
    assert [arrays["a"][0] for _, arrays in left] == [1.0, 3.0]
    assert three.without({}) is three
