"""Who does what: each worker has neighbouring clients, and helps the others when its own queue is empty."""

from __future__ import annotations

import fcntl
import mmap
import time
from array import array
from collections.abc import Iterator, Sequence
from tempfile import TemporaryFile

import numpy as np
import numpy.typing as npt

from fedanomaly.federation.asked import block_of
from fedanomaly.privacy.sums import block_size

ROWS_A_CALL = 200
"""What a client costs besides its rows, in rows: clients are shared out evenly by rows and number."""
SECONDS_AT_ONCE = 0.0005
"""Taking is no work of its own, nor is waiting for who took that much last."""


class Shares:
    """Which worker has which clients: neighbours, in blocks that are summed together.

    All workers have as much to do, up to a block.

    Parameters
    ----------
    rows : list of int
        Rows of each client.
    workers : int
        Among so many the clients are shared out.

    Attributes
    ----------
    size : int
        Clients a block.
    worker_of_block : list of int
        Number of each block's worker.
    """

    def __init__(self, rows: list[int], workers: int) -> None:
        self.size = block_size(len(rows))
        work = np.add.reduceat(np.array(rows) + ROWS_A_CALL, np.arange(0, len(rows), self.size))
        middle = np.cumsum(work) - work / 2
        self.worker_of_block: list[int] = (middle * workers // work.sum()).astype(int).tolist()

    def block_of(self, client: int) -> int:
        """Return the number of the client's block."""
        return client // self.size

    def worker_of(self, client: int) -> int:
        """Return the number of the client's worker."""
        return self.worker_of_block[self.block_of(client)]

    def by_worker(self, lots: npt.NDArray[np.int64], workers: int) -> list[array[int]]:
        """Return the numbers of each worker's lots."""
        owners = np.array(self.worker_of_block)[block_of(lots)]
        return [array("q", lots[owners == worker].tolist()) for worker in range(workers)]


class Queues:
    """Numbers that processes share out: each has a queue, and takes the first; others take the last ones.

    Create them before the fork. A process that dies in the middle of taking holds nobody up.

    Parameters
    ----------
    processes : int
        How many they are.
    most : int
        Numbers that a queue can hold.
    """

    def __init__(self, processes: int, most: int) -> None:
        self._first = shared_numbers(processes)  # of what is left in each queue: a place in its numbers
        self._end = shared_numbers(processes)
        self._numbers = [shared_numbers(most) for _ in range(processes)]
        self._alone = _Lock()

    def put(self, numbers: Sequence[array[int]]) -> None:
        """Let each queue hold these numbers, and no others."""
        with self._alone:
            for own, few in enumerate(numbers):
                self._fill(own, few)

    def take(self, own: int, most: int = 1) -> list[int]:
        """Return up to ``most`` of a queue's first numbers, which nobody else gets."""
        with self._alone:
            return self._take(own, most)

    def take_over(self, own: int, ahead: int = 0) -> list[int]:
        """Fill an empty queue with the last half of the longest one; return the first number, if any.

        Parameters
        ----------
        ahead : int
            As many numbers more for this one: so much else its former owner still has to do.
        """
        with self._alone:
            left = [end - first for first, end in zip(self._first, self._end, strict=True)]
            longest = left.index(max(left))
            stays = self._first[longest] + max(0, left[longest] - ahead) // 2
            moves = self._numbers[longest][stays : self._end[longest]]
            self._end[longest] = stays
            self._fill(own, moves)
            return self._take(own, 1)

    def close(self) -> None:
        """Let go of the lock."""
        self._alone.file.close()

    def _fill(self, own: int, numbers: memoryview | array[int]) -> None:
        self._end[own] = 0
        self._numbers[own][: len(numbers)] = numbers
        self._first[own], self._end[own] = 0, len(numbers)

    def _take(self, own: int, most: int) -> list[int]:
        first = self._first[own]
        self._first[own] = until = min(first + most, self._end[own])
        return self._numbers[own][first:until].tolist()


class _Lock:
    """Keeps other processes out; the system opens it when the one that has it dies."""

    def __init__(self) -> None:
        self.file = TemporaryFile(buffering=0)  # noqa: SIM115
        self._number = self.file.fileno()

    def __enter__(self) -> None:
        fcntl.lockf(self._number, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        fcntl.lockf(self._number, fcntl.LOCK_UN)


class Hand:
    """Takes from the queues what one process does.

    Parameters
    ----------
    queues : Queues
        Of all processes.
    own : int
        Which queue is this one's.
    helps : bool
        Whether it takes over what others have left.
    """

    def __init__(self, queues: Queues, own: int, helps: bool = True) -> None:
        self._queues = queues
        self._own = own
        self._helps = helps

    def hauls(self) -> Iterator[Iterator[int]]:
        """Yield all of one's own numbers; then, again and again, a share of what the busiest has left.

        Whoever has something else to do when its own numbers are done does it between the first two hauls:
        nothing waits for it then, and others, who have yet to do the same, are left with less.
        """
        self._done, self._seconds, self._now = 0, 0.0, time.monotonic()
        yield self._haul(self._queues.take(self._own))
        else_to_do = time.monotonic() - self._now
        while self._helps and (numbers := self._queues.take_over(self._own, self._within(else_to_do))):
            yield self._haul(numbers)

    def _haul(self, numbers: list[int]) -> Iterator[int]:
        """Take one number at a time; several where they take next to no time."""
        self._now = time.monotonic()
        while numbers:
            yield from numbers
            before, self._now = self._now, time.monotonic()
            self._seconds += self._now - before
            self._done += len(numbers)
            numbers = self._queues.take(self._own, 1 + self._within(SECONDS_AT_ONCE))

    def _within(self, seconds: float) -> int:
        """Return how many numbers could be done in so many seconds."""
        return int(seconds * self._done / self._seconds) if self._seconds else 0


def shared_numbers(length: int) -> memoryview:
    """Return whole numbers, 0 at first, that are the same ones in processes forked later."""
    return memoryview(mmap.mmap(-1, 8 * length)).cast("q")
