"""Who does what: each worker has neighbouring clients, and helps the others when its own queue is empty."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from fedanomaly.federation.asked import block_of
from fedanomaly.privacy.sums import block_size

ROWS_A_CALL = 200
"""What a client costs besides its rows, in rows: clients are shared out evenly by rows and number."""
_NUMBER = struct.Struct("<Q")


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

    def by_worker(self, lots: npt.NDArray[np.int64], workers: int) -> list[npt.NDArray[np.int64]]:
        """Return the numbers of each worker's lots."""
        owners = np.array(self.worker_of_block)[block_of(lots)]
        return [lots[owners == worker] for worker in range(workers)]


class Queue:
    """Numbers that several processes share out: a pipe, which hands each of them out once.

    Create it before the fork. At most some thousand numbers fit (64 kB on Linux).
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)

    def put(self, numbers: npt.ArrayLike) -> None:
        """Append whole numbers."""
        os.write(self._write, np.asarray(numbers, dtype="<u8").tobytes())

    def take(self, most: int = 1) -> list[int]:
        """Return up to ``most`` of the first numbers, which nobody else gets; none if there are none."""
        with suppress(BlockingIOError):
            return [number for (number,) in _NUMBER.iter_unpack(os.read(self._read, most * _NUMBER.size))]
        return []

    def take_half(self) -> list[int]:
        """Return the first half of what is left."""
        waiting = array("i", [0])
        fcntl.ioctl(self._read, termios.FIONREAD, waiting)
        return self.take(max(1, waiting[0] // _NUMBER.size // 2))

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._read)
        os.close(self._write)


def numbers_of(own: Queue, others: Sequence[Queue]) -> Iterator[int]:
    """Take numbers from one's own queue while there are any, then half of what is left in another, and so on.

    Half: neighbours go together in one parcel.
    """
    while numbers := own.take():
        yield from numbers
    for queue in others:
        while numbers := queue.take_half():
            yield from numbers
