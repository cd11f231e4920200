"""Queues of several processes: every number is taken once, from either end, and by somebody."""

import os
import signal
from array import array
from collections import Counter
from contextlib import closing
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.federation.queues import SECONDS_AT_ONCE, Hand, Queues


def held(*rows):
    queues = Queues(len(rows), 4000)
    queues.put([array("q", numbers) for numbers in rows])
    return closing(queues)


def all_of(hand):
    return [list(haul) for haul in hand.hauls()]


def test_numbers_come_in_order_and_then_there_are_none():
    with held(range(5)) as queues:
        assert all_of(Hand(queues, 0)) == [[0, 1, 2, 3, 4]]
        assert (queues.take(0), queues.take_over(0)) == ([], [])


def test_new_numbers_replace_those_that_nobody_took():
    with held(range(5)) as queues:
        queues.put([array("q", [7, 8])])
        assert (queues.take(0), queues.take(0, 9)) == ([7], [8])


def test_whose_queue_is_empty_takes_over_the_last_half_of_the_longest():
    with held([], [1, 2, 3], range(10, 20)) as queues:
        assert queues.take_over(0) == [15]
        assert [queues.take(own, 10) for own in range(3)] == [
            [16, 17, 18, 19],
            [1, 2, 3],
            [10, 11, 12, 13, 14],
        ]


def test_what_was_taken_over_can_be_taken_back():
    with held([], range(8)) as queues:
        assert (queues.take_over(0), queues.take(1, 4)) == ([4], [0, 1, 2, 3])
        assert (queues.take_over(1), queues.take(0, 9)) == ([6], [5])
        assert queues.take(1, 9) == [7]


def test_owners_with_something_else_to_do_are_left_with_less():
    for ahead, left in ((0, 5), (4, 3), (9, 0), (100, 0)):
        with held([], range(10)) as queues:
            assert queues.take_over(0, ahead) == [left]
            assert len(queues.take(1, 10)) == left


def test_those_who_do_not_help_end_with_their_own():
    with held([1], range(10)) as queues:
        assert all_of(Hand(queues, 0, helps=False)) == [[1]]
        none, *hauls = all_of(Hand(queues, 0))
        assert none == []
        assert sorted(chain(*hauls)) == list(range(10))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 8), st.integers(0, 3))), st.integers(0, 40))
def test_nothing_is_taken_twice_or_lost(takes, length):
    with held(range(length), range(100, 100 + length), []) as queues:
        taken = []
        for own, most, ahead in takes:
            taken += queues.take(own, most) or queues.take_over(own, ahead)
        left = [queues.take(own, 100) for own in range(3)]
        assert sorted(chain(taken, *left)) == [*range(length), *range(100, 100 + length)]
        assert all(numbers == sorted(numbers) for numbers in left)


def test_quick_numbers_are_taken_several_at_once_and_slow_ones_alone(monkeypatch):
    for seconds_each, taken_next in ((1.0, 1), (SECONDS_AT_ONCE / 4, 5)):
        now = iter([0.0, 0.0, seconds_each])
        monkeypatch.setattr("fedanomaly.federation.queues.time.monotonic", lambda now=now: next(now))
        with held(range(10)) as queues:
            numbers = next(Hand(queues, 0).hauls())
            assert [next(numbers), next(numbers)] == [0, 1]
            assert len(queues.take(0, 10)) == 9 - taken_next


def test_what_is_done_between_own_numbers_and_others_is_expected_of_these_too(monkeypatch):
    now = 0.0
    monkeypatch.setattr("fedanomaly.federation.queues.time.monotonic", lambda: now)
    with held(range(4), range(10, 20)) as queues:
        hauls = Hand(queues, 0).hauls()
        for _ in next(hauls):
            now += 1
        now += 6  # as long as six numbers take
        assert list(next(hauls)) == [12, 13, 14, 15, 16, 17, 18, 19]


def test_processes_take_each_number_once():
    with held(range(4000), range(4000, 8000), []) as queues:
        read, write = os.pipe()
        children = []
        for own in range(3):
            if not (child := os.fork()):
                for haul in Hand(queues, own).hauls():
                    for number in haul:
                        os.write(write, number.to_bytes(4, "little"))
                os._exit(0)
            children.append(child)
        os.close(write)
        with os.fdopen(read, "rb") as file:
            seen = file.read()
        for child in children:
            os.waitpid(child, 0)
    numbers = [int.from_bytes(seen[at : at + 4], "little") for at in range(0, len(seen), 4)]
    assert Counter(numbers) == Counter(range(8000))


def test_a_process_killed_while_it_takes_holds_nobody_up():
    with held(range(4)) as queues:
        read, write = os.pipe()
        if not (child := os.fork()):
            with queues._alone:
                os.write(write, b"x")
                signal.pause()
        os.read(read, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)
        assert queues.take(0, 9) == [0, 1, 2, 3]
