import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.core.keyed import Turn, keyed_generator, shared_words

key = st.lists(st.one_of(st.integers(0, 50), st.sampled_from(["train", "evaluate", "x"])), max_size=3)


@given(seed=st.integers(0, 2**63 - 1), one=key, other=key)
def test_a_key_decides_the_numbers(seed, one, other):
    first = keyed_generator(seed, *one).integers(2**62, size=4)
    assert (first == keyed_generator(seed, *one).integers(2**62, size=4)).all()
    assert (one == other) == bool((first == keyed_generator(seed, *other).integers(2**62, size=4)).all())


def test_the_numbers_stay_what_they_were():
    assert keyed_generator(42, "pinned", 1).integers(1000, size=5).tolist() == [654, 995, 130, 997, 453]


def test_clients_and_rounds_draw_apart_and_share_what_is_shared():
    turns = [Turn(1, server_round, 5, client, (0, 1)) for server_round in (1, 2) for client in (0, 1)]
    own = {int(turn.generator("trees").integers(2**62)) for turn in turns}
    shared = {int(turn.shared_generator("landmarks").integers(2**62)) for turn in turns}
    assert len(own) == 4 and len(shared) == 1


def test_shared_words_are_what_the_shared_generator_draws_and_nobody_can_change_them():
    for seed in (3, 4):
        words = shared_words(seed, "trees", 5)
        generator = Turn(seed, 2, 5, 1, (0, 1)).shared_generator("trees")
        assert (words == generator.integers(0, 2**64, size=5, dtype=np.uint64)).all()
        with pytest.raises(ValueError, match="read-only"):
            words[0] = 0


def test_the_global_generator_is_left_alone():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    keyed_generator(1, "a").normal(size=10)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
