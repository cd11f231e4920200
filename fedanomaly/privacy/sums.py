"""The one sum through which everything additive goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays

MOST_BLOCKS = 32


def block_size(clients: int) -> int:
    """Return how many neighbours are summed by themselves, of so many clients of a run.

    It depends on the run alone: floats round alike whoever sums a block, and wherever.
    """
    return max(1, -(-clients // MOST_BLOCKS))


class SecureSum:
    """A sum of answers that share names, shapes and dtypes.

    The plain sum, accumulated in place: memory does not grow with the number of clients. Neighbours are
    summed in blocks, and the blocks' sums in order, so that a process that has all clients of a block
    can sum them for all others. Masked and encrypted sums replace this class, and nothing else.

    Parameters
    ----------
    clients : int
        Clients of the run.
    """

    def __init__(self, clients: int) -> None:
        self._size = block_size(clients)
        self._block = -1
        self._sum: Arrays = {}  # of the block's answers so far
        self._before: Arrays = {}  # of all blocks before

    def add(self, client: int, answer: Arrays) -> None:
        """Add one client's answer, which is not modified; clients come in ascending order."""
        self._enter(client // self._size)
        add_in_place(self._sum, answer)

    def add_all(self, clients: Sequence[int], stacks: Arrays) -> None:
        """Add many answers, each array with one axis more in front: the same bits as one after the other."""
        for block, few in self._blocks(clients):
            self._enter(block)
            for name, stack in stacks.items():
                if (total := self._sum.get(name)) is None:
                    self._sum[name] = _sum_in_order(stack[few])
                else:
                    self._sum[name] = _sum_in_order(np.concatenate([total[None], stack[few]]))

    def add_blocks(self, clients: Sequence[int], stacks: Arrays) -> None:
        """Add the sums of the next blocks that have any answers, as :class:`BlockSums` gives them.

        Parameters
        ----------
        clients : list of int
            Whose answers are in them. Others of the last block may follow by themselves.
        stacks : dict of ndarray
            Every array with one axis more in front.
        """
        for number, (block, _) in enumerate(self._blocks(clients)):
            self._enter(block)
            self._sum = {name: stack[number] for name, stack in stacks.items()}

    @property
    def total(self) -> Arrays:
        """The sum so far; empty before the first answer."""
        total = {name: array.copy() for name, array in self._before.items()}
        if self._sum:
            add_in_place(total, self._sum)
        return total

    def _enter(self, block: int) -> None:
        if block != self._block:
            if self._sum:
                self._leave(self._sum)
            self._block, self._sum = block, {}

    def _leave(self, total: Arrays) -> None:
        add_in_place(self._before, total)

    def _blocks(self, clients: Sequence[int]) -> Iterator[tuple[int, slice]]:
        blocks = np.asarray(clients) // self._size
        edges = (np.flatnonzero(blocks[1:] != blocks[:-1]) + 1).tolist()
        for start, stop in pairwise([0, *edges, len(blocks)]):
            yield int(blocks[start]), slice(start, stop)


class BlockSums(SecureSum):
    """The sums of whole blocks of clients, for somebody else to add up or to average."""

    def __init__(self, clients: int) -> None:
        super().__init__(clients)
        self._blocks_before: list[Arrays] = []

    @property
    def stacks(self) -> Arrays:
        """Every array with one axis more in front: one sum a block that has any answers."""
        self._enter(-1)
        first = self._blocks_before[0]
        return {name: np.stack([block[name] for block in self._blocks_before]) for name in first}

    def _leave(self, total: Arrays) -> None:
        self._blocks_before.append(total)


def add_in_place(total: Arrays, answer: Arrays) -> None:
    """Add an answer to ``total``, which is empty before the first one."""
    if not total:
        total |= {name: np.array(array) for name, array in answer.items()}
        return
    for name, array in answer.items():
        np.add(total[name], array, out=total[name])


def _sum_in_order(stack: Array) -> Array:
    """Return ``stack[0] + stack[1] + ...``, added in this order.

    NumPy adds in pairs along the fastest axis alone (notes of :func:`numpy.sum`): with two values or
    more in a row the first axis is not the fastest, with one ``accumulate`` keeps the order.
    """
    dtype = stack.dtype  # or small integers would grow
    rows = stack.reshape(len(stack), stack[0].size)
    sums = np.add.reduce(rows, 0, dtype) if rows.shape[1] > 1 else np.add.accumulate(rows, 0, dtype)[-1]
    added: Array = sums.reshape(stack.shape[1:])
    return added


def secure_sum(answers: Iterable[Answer], clients: int) -> Arrays:
    """Return the sum of answers that share names, shapes and dtypes; they ascend by client.

    Parameters
    ----------
    clients : int
        Clients of the run.
    """
    added = SecureSum(clients)
    for turn, answer in answers:
        added.add(turn.client, answer)
    return added.total
