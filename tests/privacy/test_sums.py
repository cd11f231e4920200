"""The one sum: many answers at once are added in the order of one after the other, to the bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.arrays import digest
from fedanomaly.core.keyed import Turn
from fedanomaly.privacy.sums import BlockSums, SecureSum, block_size, secure_sum

shapes = st.sampled_from(
    [(), (1,), (2,), (3,), (7,), (8,), (33,), (1, 1), (1, 5), (5, 1), (2, 9), (0,), (0, 3)]
)
values = st.floats(-1e9, 1e9)


def turn(client):
    return Turn(0, 1, 1, client, ())


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
    clients = sorted(data.draw(st.sets(st.integers(0, 2 * size), min_size=size, max_size=size)))
    added, at = SecureSum(2 * size + 1), 0
    while at < size:
        many = data.draw(st.integers(1, size - at))
        stacks = {name: np.stack([answer[name] for answer in answers[at : at + many]]) for name in answers[0]}
        before = digest(stacks)
        added.add_all(clients[at : at + many], stacks)
        assert digest(stacks) == before
        at += many
    one_by_one = secure_sum(zip(map(turn, clients), answers, strict=True), 2 * size + 1)
    assert digest(added.total) == digest(one_by_one)


@given(st.data(), st.integers(1, 300), st.integers(0, 2**32))
def test_blocks_summed_apart_give_the_same_bits(data, clients, seed):
    came = sorted(data.draw(st.sets(st.integers(0, clients - 1), min_size=1)))
    generator = np.random.default_rng(seed)
    answers = [(turn(client), {"a": generator.normal(size=3)}) for client in came]
    apart, size = SecureSum(clients), block_size(clients)
    edge = data.draw(st.integers(0, clients))
    for start, stop in ((0, edge), (edge, -(-edge // size) * size), (-(-edge // size) * size, clients)):
        part = [(who, answer) for who, answer in answers if start <= who.client < stop]
        if start % size:  # others summed the block's first answers
            for who, answer in part:
                apart.add(who.client, answer)
        elif part:
            blocks = BlockSums(clients)
            for who, answer in part:
                blocks.add(who.client, answer)
            apart.add_blocks([who.client for who, _ in part], blocks.stacks)
    assert digest(apart.total) == digest(secure_sum(answers, clients))
    assert apart.total["a"] == pytest.approx(np.sum([answer["a"] for _, answer in answers], axis=0))


def test_the_sum_so_far_can_be_looked_at():
    looked, alone = SecureSum(100), SecureSum(100)
    for client in range(100):
        answer = {"a": np.array([0.1 * client, 1.0])}
        looked.add(client, answer)
        alone.add(client, answer)
        np.testing.assert_allclose(looked.total["a"], [0.05 * client * (client + 1), client + 1])
    assert digest(looked.total) == digest(alone.total)


@given(hnp.arrays(np.float64, (40, 3), elements=values))
def test_the_first_answer_is_not_modified(stack):
    added, before = SecureSum(40), stack.copy()
    added.add(0, {"a": stack[0]})
    added.add_all(range(1, 40), {"a": stack[1:]})
    np.testing.assert_array_equal(stack, before)
