"""What comes back from clients: replies and failures, put together until they are worth looking at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Batch
from fedanomaly.core.arrays import Arrays
from fedanomaly.federation.protocol import Declared

BATCH_CLIENTS, BATCH_BYTES = 512, 1 << 20
"""Replies wait for each other until they are so many: what many small clients send is handled at once."""


class Reply(NamedTuple):
    """A client's answer, readable but not checked.

    Attributes
    ----------
    facts : Declared
        What the client says of itself.
    arrays : dict of ndarray
        Its answer.
    nbytes : int
        Memory that the arrays take.
    bytes_up, bytes_down : int
        Size of the answer and of the request as they travel.
    """

    facts: Declared
    arrays: Arrays
    nbytes: int
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no answer, in words for the events of the run."""

    reason: str


@dataclass(frozen=True, eq=False)
class Replies:
    """What became of a few requests that were sent one after the other.

    Attributes
    ----------
    nodes : list of int
        Those that answered, in the order they were asked.
    clients : list of int
        Partition ids they say they are.
    spent : ndarray of shape (n_answers, 4), float64
        Training rows and seconds as declared, bytes of the answers and of the requests.
    batch : Batch
        Their answers.
    failures : dict of int to str
        By node, why there is no answer.
    """

    nodes: list[int]
    clients: list[int]
    spent: npt.NDArray[np.float64]
    batch: Batch
    failures: dict[int, str]

    def __len__(self) -> int:
        return len(self.nodes) + len(self.failures)


class Gathering:
    """Replies put together until they are many or large: memory holds so much, and large ones go alone.

    Attributes
    ----------
    nodes : list of int
        Those that answered.
    full : bool
        Whether it is time to look at all.
    """

    def __init__(self) -> None:
        self.nodes: list[int] = []
        self.full = False
        self._clients: list[int] = []
        self._spent: list[float] = []
        self._arrays: list[Arrays] = []
        self._failures: dict[int, str] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.nodes) + len(self._failures)

    def put(self, node: int, reply: Reply | Failure) -> None:
        """Add what became of a request."""
        if isinstance(reply, Failure):
            self._failures[node] = reply.reason
            return
        (client, rows, seconds), arrays, nbytes, bytes_up, bytes_down = reply
        self.nodes.append(node)
        self._clients.append(client)
        self._spent += (rows, seconds, bytes_up, bytes_down)
        self._arrays.append(arrays)
        self._bytes += nbytes
        self.full = self._bytes > BATCH_BYTES or len(self._arrays) == BATCH_CLIENTS

    def replies(self) -> Replies:
        """Return what there is."""
        spent = np.array(self._spent, dtype=np.float64).reshape(len(self.nodes), 4)
        return Replies(self.nodes, self._clients, spent, Batch(self._arrays), self._failures)


def gathered(replies: Iterable[tuple[int, Reply | Failure]]) -> Iterator[Replies]:
    """Put replies together, in the order given."""
    gathering = Gathering()
    for node, reply in replies:
        gathering.put(node, reply)
        if gathering.full:
            yield gathering.replies()
            gathering = Gathering()
    if len(rest := gathering.replies()):
        yield rest


def in_order(
    arriving: Iterable[tuple[int, Reply | Failure]], nodes: Iterable[int]
) -> Iterator[tuple[int, Reply | Failure]]:
    """Put replies in the order of ``nodes``, holding back only those that came too early."""
    expected = iter(nodes)
    node = next(expected, None)
    early: dict[int, Reply | Failure] = {}
    for arrived, reply in arriving:
        early[arrived] = reply
        while node is not None and node in early:
            yield node, early.pop(node)
            node = next(expected, None)
