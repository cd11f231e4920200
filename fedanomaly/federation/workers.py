"""The local engine over several processes: forked workers, each with some of the clients.

A worker is a copy of this process at the moment of the fork: data, compiled kernels and the verbs are
shared, not sent. Requests and answers go through a pipe as plain frames. Every client keeps to one
worker, and the workers' answers are read in the order of the clients, whoever is faster: nothing
depends on how many workers there are, and a worker that runs ahead waits once its pipe is full, so
that unread answers take no memory.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import json
import os
import signal
import socket
import struct
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from itertools import groupby
from typing import Any, NoReturn, cast

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import FederationError, UserError
from fedanomaly.federation import client as verbs
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.frames import frame, unframe
from fedanomaly.federation.layout import layout
from fedanomaly.federation.local_post import LocalPost
from fedanomaly.federation.parcels import Receiver, Sender, exactly
from fedanomaly.federation.post import Arrived, nobody
from fedanomaly.federation.protocol import Task
from fedanomaly.federation.replies import BATCH_CLIENTS, Failure, Replies, gathered

PIPE_BYTES = 1 << 20
ROWS_A_CALL = 200
"""What a client costs besides its rows, in rows: clients are shared out evenly by rows and number."""
BLOCKS_A_WORKER = 8
"""Least number of blocks of clients that a worker has: it waits for the others' last ones at most."""

_LENGTHS = struct.Struct("<QQ")  # of kind, task and clients in JSON; of the request


@dataclass(eq=False)
class _Worker:
    """The server's end of one worker: at most one order is out, and all its replies are read before the next.

    So neither side ever waits for the other to read what it writes.
    """

    process: int
    line: socket.socket
    read: Receiver
    alive: bool = True
    orders: deque[tuple[list[int], Arrays]] = field(default_factory=deque)
    left: int = 0

    def order_next(self, kind: str, task: Task) -> None:
        """Send the next clients and their request, if the last ones have all replied."""
        if self.left or not self.orders:
            return
        clients, request = self.orders.popleft()
        self.left = len(clients)
        facts, body = json.dumps([kind, task.facts(), clients]).encode(), frame(request)
        try:
            self.line.sendall(_LENGTHS.pack(len(facts), len(body)) + facts)
            self.line.sendall(body)
        except OSError:
            self.alive = False

    def next_replies(self, node: int) -> Replies:
        """Read replies, of ``node`` and others; the worker's end is the failure of all its clients."""
        try:
            replies = self.read.next() if self.alive else None
        except (EOFError, OSError):
            replies, self.alive = None, False
        if replies is None:
            (replies,) = gathered([(node, Failure("its worker process is gone"))])
        self.left -= len(replies)
        return replies

    def end(self) -> None:
        """Kill the worker: nothing of its own is worth saving."""
        self.read.close()
        self.line.close()
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


class ForkedPost(LocalPost):
    """The local engine's post, its clients spread over forked processes.

    Use as a context manager, or call :meth:`close`.

    Parameters
    ----------
    config, work, exact_bytes
        As for :class:`~fedanomaly.federation.local_post.LocalPost`.
    workers : int
        Number of processes besides this one, at least 1.

    Raises
    ------
    UserError
        If this system cannot fork.

    Notes
    -----
    Numerical libraries use one thread in a worker: the workers fill the cores.
    """

    def __init__(
        self, config: RunConfig, work: Any = verbs, exact_bytes: bool | None = None, workers: int = 2
    ) -> None:
        if not hasattr(os, "fork"):
            raise UserError("--workers above 1 needs an operating system that can fork: Linux or macOS")
        super().__init__(config, work, exact_bytes)
        held = layout(config)  # read before the fork: shared
        self._shares = Shares([len(part) for part in held.indices], workers)
        self._workers: list[_Worker] = []
        for _ in range(workers):
            self._workers.append(self._fork())

    def nodes(self) -> list[int]:
        """Return the ids of the nodes whose worker lives."""
        return [node for node in super().nodes() if self._of(node).alive]

    def ask(
        self, kind: str, task: Task, requests: Mapping[int, Arrays], arrived: Arrived = nobody
    ) -> Iterator[Replies]:
        """Let the workers answer at the same time; yield the replies in the given order."""
        if not self._workers:
            raise FederationError("the workers of this run have been dismissed")
        for node, request in requests.items():
            orders = self._of(node).orders
            if not orders or orders[-1][1] is not request:
                orders.append(([], request))
            orders[-1][0].append(node - 1)
        for worker in self._workers:
            worker.order_next(kind, task)
        told: set[int] = set()
        try:
            for node in requests:
                if node in told:  # with its neighbours
                    continue
                worker = self._of(node)
                replies = worker.next_replies(node)
                worker.order_next(kind, task)
                for answered in replies.nodes:
                    arrived(answered)
                told.update(replies.nodes, replies.failures)
                yield replies
                del replies
        except GeneratorExit:  # unread replies lie in the pipes
            self.close()
            raise

    def _of(self, node: int) -> _Worker:
        return self._workers[self._shares.worker_of(node - 1)]

    def _fork(self) -> _Worker:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BYTES)
        process = os.fork()
        if process:
            theirs.close()
            return _Worker(process, ours, Receiver(_reader(ours)))
        ours.close()
        for other in self._workers:  # an inherited end would hide the server's end from a sister
            other.read.close()
            other.line.close()
        _serve(theirs, self, self._shares)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.end()
        self._workers = []


def _reader(line: socket.socket) -> BufferedReader:
    return cast(BufferedReader, line.makefile("rb", PIPE_BYTES))


class Shares:
    """Which worker has which clients: a few neighbours each in turn, whose replies travel together.

    All workers have as much to do at any point of the order, up to the largest block.

    Parameters
    ----------
    rows : list of int
        Rows of each client.
    workers : int
        Among so many the clients are shared out.
    """

    def __init__(self, rows: list[int], workers: int) -> None:
        self.size = min(BATCH_CLIENTS, max(1, len(rows) // (workers * BLOCKS_A_WORKER)))
        busy = [(0, worker) for worker in range(workers)]
        self._worker_of_block = []
        for first in range(0, len(rows), self.size):
            block = rows[first : first + self.size]
            load, worker = heapq.heappop(busy)
            heapq.heappush(busy, (load + sum(block) + ROWS_A_CALL * len(block), worker))
            self._worker_of_block.append(worker)

    def block_of(self, client: int) -> int:
        """Return the number of the client's block."""
        return client // self.size

    def worker_of(self, client: int) -> int:
        """Return the number of the client's worker."""
        return self._worker_of_block[self.block_of(client)]


# -- in the worker --------------------------------------------------------------------------------


def _serve(line: socket.socket, post: LocalPost, shares: Shares) -> NoReturn:
    """Answer orders until the server is gone; never return into what the fork copied."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the server ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # a collection here would copy every page it looks at
    try:
        with threadpool_limits(limits=1), contextlib.suppress(EOFError, OSError):
            _answer_orders(_reader(line), Sender(line), post, shares)
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def _answer_orders(read: BufferedReader, send: Sender, post: LocalPost, shares: Shares) -> NoReturn:
    while True:
        facts, body = _LENGTHS.unpack(exactly(read, _LENGTHS.size))
        kind, task_facts, clients = json.loads(exactly(read, facts))
        task, request = Task.from_facts(task_facts), unframe(exactly(read, body))
        for _, block in groupby(clients, shares.block_of):  # between two blocks come others' replies
            for client in block:
                send.put(client + 1, post.reply(kind, client, task, request))
            send.send()
