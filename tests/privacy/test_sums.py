"""The one sum: many answers at once are added in the order of one after the other, to the bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.arrays import digest
from fedanomaly.privacy.sums import SecureSum, secure_sum

shapes = st.sampled_from(
    [(), (1,), (2,), (3,), (7,), (8,), (33,), (1, 1), (1, 5), (5, 1), (2, 9), (0,), (0, 3)]
)
values = st.floats(-1e9, 1e9)


@given(st.data(), shapes, st.integers(1, 300), st.integers(0, 2**32))
def test_many_at_once_are_the_same_bits_as_one_by_one(data, shape, size, seed):
    generator = np.random.default_rng(seed)
    answers = [
        {
            "real": np.asarray(generator.normal(size=shape) * 10.0 ** generator.integers(-9, 9)),
            "whole": np.asarray(generator.integers(-9, 9, size=shape)),
            "small": np.asarray(generator.integers(0, 99, size=shape), dtype=np.uint8),
        }
        for _ in range(size)
    ]
    added, at = SecureSum(), 0
    while at < size:
        many = data.draw(st.integers(1, size - at))
        stacks = {name: np.stack([answer[name] for answer in answers[at : at + many]]) for name in answers[0]}
        before = digest(stacks)
        added.add_all(stacks)
        assert digest(stacks) == before
        at += many
    assert digest(added.total) == digest(secure_sum(answers))


@given(hnp.arrays(np.float64, (40, 3), elements=values))
def test_the_first_answer_is_not_modified(stack):
    added, before = SecureSum(), stack.copy()
    added.add({"a": stack[0]})
    added.add_all({"a": stack[1:]})
    np.testing.assert_array_equal(stack, before)
