"""A queue over processes: every number is taken once, in order, and by somebody."""

import os
from collections import Counter

from fedanomaly.federation.queues import Queue, numbers_of


def test_numbers_come_in_order_and_then_there_are_none():
    queue = Queue()
    assert queue.take() == []
    queue.put(range(5))
    assert list(numbers_of(queue, [])) == [0, 1, 2, 3, 4]
    queue.put([7])
    assert (queue.take(), queue.take()) == ([7], [])
    queue.close()


def test_the_next_queue_is_for_those_whose_own_is_empty():
    first, second = Queue(), Queue()
    first.put([1, 2])
    second.put([3])
    numbers = numbers_of(first, [second])
    assert next(numbers) == 1
    assert list(numbers_of(second, [first])) == [3, 2]
    assert list(numbers) == []


def test_whoever_helps_takes_half_of_what_is_left():
    own, other = Queue(), Queue()
    other.put(range(10))
    helped = numbers_of(own, [other])
    assert [next(helped) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert other.take(9) == [5, 6, 7, 8, 9]
    assert list(helped) == []


def test_processes_take_each_number_once():
    queue = Queue()
    queue.put(range(4000))
    read, write = os.pipe()
    children = []
    for _ in range(3):
        if not (child := os.fork()):
            for number in numbers_of(queue, []):
                os.write(write, number.to_bytes(4, "little"))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        seen = file.read()
    numbers = [int.from_bytes(seen[at : at + 4], "little") for at in range(0, len(seen), 4)]
    assert Counter(numbers) == Counter(range(4000))
