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
from fedanomaly.federation.post import Failure, Reply
from fedanomaly.federation.protocol import Task

PIPE_BYTES = 1 << 20
ROWS_A_CALL = 200
"""What a client costs besides its rows, in rows: clients are shared out evenly by rows and number."""

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

    def next_reply(self) -> Reply | Failure:
        """Read one reply; the worker's end is the failure of all its clients."""
        self.left -= 1
        try:
            if self.alive:
                return self.read.next()
        except (EOFError, OSError):
            self.alive = False
        return Failure("its worker process is gone")

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
        self._worker_of = _shared_out([len(part) for part in held.indices], workers)
        self._workers: list[_Worker] = []
        for _ in range(workers):
            self._workers.append(self._fork())

    def nodes(self) -> list[int]:
        """Return the ids of the nodes whose worker lives."""
        return [node for node in super().nodes() if self._of(node).alive]

    def ask(
        self, kind: str, task: Task, requests: Mapping[int, Arrays]
    ) -> Iterator[tuple[int, Reply | Failure]]:
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
        try:
            for node in requests:
                worker = self._of(node)
                reply = worker.next_reply()
                worker.order_next(kind, task)
                yield node, reply
        except GeneratorExit:  # unread replies lie in the pipes
            self.close()
            raise

    def _kept(self, arrays: Arrays) -> Arrays:
        """Return the arrays themselves: a worker copies them into a parcel."""
        return arrays

    def _of(self, node: int) -> _Worker:
        return self._workers[self._worker_of[node - 1]]

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
        _serve(theirs, self)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.end()
        self._workers = []


def _reader(line: socket.socket) -> BufferedReader:
    return cast(BufferedReader, line.makefile("rb", PIPE_BYTES))


def _shared_out(rows: list[int], workers: int) -> list[int]:
    """Return a worker for each client, so that all have as much to do at any point of the order."""
    busy = [(0, worker) for worker in range(workers)]
    chosen = []
    for count in rows:
        load, worker = heapq.heappop(busy)
        heapq.heappush(busy, (load + count + ROWS_A_CALL, worker))
        chosen.append(worker)
    return chosen


# -- in the worker --------------------------------------------------------------------------------


def _serve(line: socket.socket, post: LocalPost) -> NoReturn:
    """Answer orders until the server is gone; never return into what the fork copied."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the server ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # a collection here would copy every page it looks at
    try:
        with threadpool_limits(limits=1), contextlib.suppress(EOFError, OSError):
            _answer_orders(_reader(line), Sender(line), post)
    except BaseException:
        traceback.print_exc()
    os._exit(0)


def _answer_orders(read: BufferedReader, send: Sender, post: LocalPost) -> NoReturn:
    while True:
        facts, body = _LENGTHS.unpack(exactly(read, _LENGTHS.size))
        kind, task_facts, clients = json.loads(exactly(read, facts))
        task, request = Task.from_facts(task_facts), unframe(exactly(read, body))
        for client in clients:
            send.put(post.reply(kind, client, task, request))
        send.send()
