"""Requests to clients and their replies, as named arrays: what every engine offers the server's side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Self

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedanomaly.core.arrays import Arrays, nbytes
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.federation.intake import Intake
from fedanomaly.federation.mailbox import Mailbox
from fedanomaly.federation.protocol import INTRODUCE, Declared, Task, bundle_of, content_of
from fedanomaly.federation.question import Account
from fedanomaly.federation.replies import Failure, Replies, Reply, gathered, in_order
from fedanomaly.federation.wire import MAX_BYTES, pack, unpack

Arrived = Callable[[Sequence[int]], None]
Nodes = Mapping[int, int]
"""By partition id."""
INTRODUCTION_BYTES = 1 << 20


def nobody(nodes: Sequence[int]) -> None:
    """Tell nobody that nodes answered."""


class Post(ABC):
    """Carries requests to nodes and brings back one reply or failure each; a context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027
        """Let go of processes, if there are any."""

    @abstractmethod
    def nodes(self) -> list[int]:
        """Return the ids of the nodes that are online, ascending."""

    @abstractmethod
    def ask(
        self, kind: str, task: Task, requests: Mapping[int, Arrays], arrived: Arrived = nobody
    ) -> Iterator[Replies]:
        """Send ``requests`` (by node id) and yield what becomes of all, in the order given.

        Nodes that are sent the same dictionary should get the same object: it is packed once.
        ``arrived`` is told of every node that answers, soon after it does.
        """

    def bring(
        self, kind: str, requests: Mapping[int, Arrays], nodes: Nodes, intake: Intake, arrived: Arrived
    ) -> Iterator[Account]:
        """Send ``requests`` and let ``intake`` take the answers; yield what became of them, client by client.

        Answers are taken in the order of the clients, whatever the order of arrival, and forgotten:
        nothing is kept but what the intake keeps. A post may take them where the clients are.

        Parameters
        ----------
        kind : str
            Of message.
        requests : mapping of int to dict of ndarray
            By partition id, ascending.
        nodes : mapping of int to int
            Node of each client.
        intake : Intake
            Knows the question.
        arrived : callable
            Told of every client that answers, soon after it does.
        """
        clients = {nodes[client]: client for client in requests}
        by_node = {node: requests[client] for node, client in clients.items()}

        def came(from_nodes: Sequence[int]) -> None:
            arrived([clients[node] for node in from_nodes])

        for replies in self.ask(kind, intake.question.task, by_node, came):
            asked = [clients[node] for node in replies.nodes]
            failures = {clients[node]: reason for node, reason in replies.failures.items()}
            account = intake.account(asked, replies, failures)
            del replies  # before the next ones come: never two batches in memory
            yield account


class FlowerPost(Post):
    """Messages over Flower's grid.

    Parameters
    ----------
    grid : Grid
        Any of Flower's engines' grids.
    timeout : float
        Seconds a client may take to answer.
    """

    def __init__(self, grid: Grid, timeout: float) -> None:
        self.mailbox = Mailbox(grid, timeout)

    def nodes(self) -> list[int]:
        """Return the ids of the nodes that are online, ascending."""
        return self.mailbox.nodes()

    def ask(
        self, kind: str, task: Task, requests: Mapping[int, Arrays], arrived: Arrived = nobody
    ) -> Iterator[Replies]:
        """Pack, send, wait and unpack."""
        return gathered(in_order(self._arriving(kind, task, requests, arrived), requests))

    def _arriving(
        self, kind: str, task: Task, requests: Mapping[int, Arrays], arrived: Arrived
    ) -> Iterator[tuple[int, Reply | Failure]]:
        packed: dict[int, tuple[RecordDict, int]] = {}
        for request in requests.values():
            if id(request) not in packed:
                bundle = pack(request)
                packed[id(request)] = content_of(task.facts(), bundle), len(bundle)
        contents = {node: packed[id(request)][0] for node, request in requests.items()}
        limit = INTRODUCTION_BYTES if kind == INTRODUCE else MAX_BYTES
        for node, letter in self.mailbox.ask(kind, contents, task.server_round):
            if letter.message is None:
                yield node, Failure(letter.failure)
                continue
            reply = _opened(letter.message, packed[id(requests[node])][1], limit)
            if isinstance(reply, Reply):
                arrived([node])
            yield node, reply


def _opened(message: Message, bytes_down: int, limit: int) -> Reply | Failure:
    try:
        facts = Declared.from_content(message.content)
        bundle = bundle_of(message.content)
        arrays = unpack(bundle, limit)
        return Reply(facts, arrays, nbytes(arrays), len(bundle), bytes_down)
    except InvalidArrays as error:
        return Failure(str(error))
