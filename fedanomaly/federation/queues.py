"""Blocks of clients that wait for a worker: each has a queue, and helps the others when its own is empty."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

_NUMBER = struct.Struct("<Q")


class Queue:
    """Numbers that several processes take one by one: a pipe, which hands each of them out once.

    Create it before the fork. At most some thousand numbers fit (64 kB on Linux).
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def put(self, numbers: Iterable[int]) -> None:
        """Append numbers."""
        os.write(self._write, b"".join(map(_NUMBER.pack, numbers)))

    def take(self) -> int | None:
        """Return the first number, which nobody else gets; None if there is none."""
        with suppress(BlockingIOError):
            if number := os.read(self._read, _NUMBER.size):
                return int(_NUMBER.unpack(number)[0])
        return None

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._read)
        os.close(self._write)


def numbers_of(queues: Sequence[Queue]) -> Iterator[int]:
    """Take numbers from the first queue while there are any, then from the next."""
    for queue in queues:
        while (number := queue.take()) is not None:
            yield number
