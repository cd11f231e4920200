"""The local engine over several processes: forked workers that share out the clients.

A worker is a copy of this process at the moment of the fork: data, compiled kernels and the verbs are
shared, not sent. It takes the answers of a block of clients itself (see
:mod:`~fedanomaly.federation.intake`), and what the workers made of them is put together in the order of
the blocks: nothing depends on how many workers there are, or on who had which block. Every client has
a worker that keeps its rows in memory; one that has nothing left to do helps the others. When a worker
dies, the clients whose answers it had not sent yet are left out of the step, and the one that was
answering is not asked again.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import selectors
import signal
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, NoReturn

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from fedanomaly.core.arrays import Arrays, with_prefix
from fedanomaly.core.errors import FederationError, UserError
from fedanomaly.federation import client as verbs
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.desk import Desk
from fedanomaly.federation.intake import Account, Intake, Question, Unchecked
from fedanomaly.federation.layout import layout
from fedanomaly.federation.local_post import LocalPost
from fedanomaly.federation.parcels import Order, Parcel, receive, send
from fedanomaly.federation.post import Arrived, Nodes, nobody
from fedanomaly.federation.protocol import Task
from fedanomaly.federation.queues import Queue, numbers_of
from fedanomaly.federation.replies import Replies
from fedanomaly.federation.spent import NOTHING
from fedanomaly.privacy.sums import block_size

PIPE_BYTES = 1 << 20
ROWS_A_CALL = 200
"""What a client costs besides its rows, in rows: clients are shared out evenly by rows and number."""
PIECES_A_BLOCK = 4
"""Neighbours whose answers are not summed are shared out in smaller lots: workers end together."""
GONE = "its worker process is gone"


@dataclass(eq=False)
class _Worker:
    """The server's end of one worker: at most one order is out, and all its parcels are read before the next.

    So neither side ever waits for the other to read what it writes.
    """

    number: int
    process: int
    line: socket.socket
    alive: bool = True
    busy: bool = False
    orders: deque[Order] = field(default_factory=deque)
    known: Arrays = field(default_factory=dict)

    def order_next(self) -> None:
        """Send the next order, if the last one is done."""
        if self.busy or not self.orders or not self.alive:
            return
        order = self.orders.popleft()
        self.busy = True
        with contextlib.suppress(OSError):  # then nothing will come back
            send(self.line, order.to_arrays(self.known))
        self.known = order.context

    def next_parcel(self) -> Parcel:
        """Return the next parcel, waiting for it; from a worker that is gone, that it ends its order."""
        try:
            parcel = Parcel.from_arrays(receive(self.line))
        except (EOFError, OSError):
            self.alive, parcel = False, Parcel(ends_order=True)
        self.busy = not parcel.ends_order
        return parcel

    def end(self) -> None:
        """Kill the worker: nothing of its own is worth saving."""
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
    Numerical libraries use one thread in a worker: the workers fill the cores. With verbs of one's own
    every client keeps to its worker, as its state may be there, unless they say ``stateless = True``.
    """

    def __init__(
        self, config: RunConfig, work: Any = verbs, exact_bytes: bool | None = None, workers: int = 2
    ) -> None:
        if not hasattr(os, "fork"):
            raise UserError("--workers above 1 needs an operating system that can fork: Linux or macOS")
        super().__init__(config, work, exact_bytes)
        held = layout(config)  # read before the fork: shared
        self._shares = Shares([len(part) for part in held.indices], workers)
        self._few = -(-self._shares.size // PIECES_A_BLOCK)
        self._help = work is verbs or getattr(work, "stateless", False)
        self._lost: set[int] = set()
        self._at_work = memoryview(mmap.mmap(-1, 8 * workers)).cast("q")  # by worker: the client that answers
        self._queues = [Queue() for _ in range(workers)]
        self._workers: list[_Worker] = []
        for own in range(workers):
            self._workers.append(self._fork(own))
        self._lines = selectors.DefaultSelector()
        for worker in self._workers:
            self._lines.register(worker.line, selectors.EVENT_READ, worker)

    def nodes(self) -> list[int]:
        """Return the ids of the nodes that workers can still answer for."""
        if not any(worker.alive for worker in self._workers):
            return []
        lost = {client + 1 for client in self._lost}
        return [node for node in super().nodes() if node not in lost] if lost else super().nodes()

    def ask(
        self, kind: str, task: Task, requests: Mapping[int, Arrays], arrived: Arrived = nobody
    ) -> Iterator[Replies]:
        """Let the workers answer at the same time; yield the replies in the given order."""
        nothing = np.zeros((self.config.clients, 6), dtype=np.int64)
        kept = Unchecked(Question(self.config, task, nothing, {}))
        nodes = {node: node - 1 for node in requests}
        for account in self.bring(kind, requests, nodes, kept, arrived):
            answered = [client + 1 for client in account.clients]
            failures = {client + 1: reason for client, reason in account.wrong.items()}
            batch = kept.answers.batch
            kept.forget()
            yield Replies(answered, account.clients, account.spent, batch, failures)

    def bring(
        self, kind: str, requests: Mapping[int, Arrays], nodes: Nodes, intake: Intake, arrived: Arrived
    ) -> Iterator[Account]:
        """Let the workers take the answers at the same time; put together what they took, block by block."""
        if not self._workers:
            raise FederationError("the workers of this run have been dismissed")
        question = intake.question
        context = {"sizes": question.sizes, **with_prefix(question.state, "state")}
        clients = list(nodes.values())
        order = partial(Order, kind, question.task, intake.name, context=context)
        self._order(order, clients, requests, self._shares.size if intake.whole_blocks else self._few)
        arriving, early, at = self._arriving(arrived), dict[int, Parcel](), 0
        try:
            while at < len(clients):
                first = clients[at]
                while first not in early and (parcel := next(arriving, None)) is not None:
                    early[parcel.account.first] = parcel
                if (parcel := early.pop(first, None)) is not None:
                    account = parcel.account
                    if account.clients:
                        intake.add(parcel.held)
                    del parcel
                else:  # and nothing more comes
                    account = Account([], NOTHING.values, {first: GONE})
                at += len(account)
                yield account
            for _ in arriving:  # that orders are done
                pass
        except GeneratorExit:  # unread parcels lie in the pipes
            self.close()
            raise

    def _order(
        self, order: Callable[..., Order], clients: list[int], requests: Mapping[int, Arrays], few: int
    ) -> None:
        """Let all workers share out the clients, a few neighbours at a time, or each have its own blocks.

        The latter where requests differ: nobody is sent what others may answer.
        """
        worker_of = self._shares.worker_of
        if len(set(map(id, requests.values()))) == 1:
            numbers = np.unique(np.array(clients) // few).tolist()
            for own, queue in enumerate(self._queues):
                queue.put([number for number in numbers if worker_of(number * few) == own])
            request = requests[clients[0] + 1]
            for worker in self._workers:
                worker.orders.append(order(clients=clients, requests=[request], shared=few))
        else:
            for _, neighbours in groupby(clients, self._shares.block_of):
                block = list(neighbours)
                each = [requests[client + 1] for client in block]
                self._workers[worker_of(block[0])].orders.append(
                    order(clients=block, requests=each, shared=0)
                )
        self._inherit()
        for worker in self._workers:
            worker.order_next()

    def _mourn(self, worker: _Worker) -> None:
        """Give up the client at whose answer a worker died; or all it had, where others cannot help."""
        if self._help:
            self._lost.add(self._at_work[worker.number])
        else:
            own = (
                number
                for number in range(self.config.clients)
                if self._shares.worker_of(number) == worker.number
            )
            self._lost.update(own)
        self._inherit()

    def _inherit(self) -> None:
        """Hand the orders of workers that are gone to one that lives."""
        heir = next((worker for worker in self._workers if worker.alive), None)
        for worker in self._workers:
            if not worker.alive:
                if heir is not None and self._help:
                    heir.orders.extend(worker.orders)
                worker.orders.clear()
        if heir is not None:
            heir.order_next()

    def _arriving(self, arrived: Arrived) -> Iterator[Parcel]:
        """Yield parcels as they come, until no worker is busy."""
        while any(worker.busy for worker in self._workers):
            for key, _ in self._lines.select():
                worker: _Worker = key.data
                parcel = worker.next_parcel()
                if not worker.alive:
                    self._lines.unregister(worker.line)
                    self._mourn(worker)
                if parcel.ends_order:
                    worker.order_next()
                if parcel.arrived:
                    arrived([client + 1 for client in parcel.arrived])
                if len(parcel.account):
                    yield parcel

    def _fork(self, own: int) -> _Worker:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BYTES)
        process = os.fork()
        if process:
            theirs.close()
            return _Worker(own, process, ours)
        ours.close()
        for other in self._workers:  # an inherited end would hide the server's end from a sister
            other.line.close()
        queues = [*self._queues[own:], *self._queues[:own]] if self._help else [self._queues[own]]
        now = partial(self._at_work.__setitem__, own)
        _serve(Desk(self, theirs, partial(numbers_of, queues), now))

    def close(self) -> None:
        """End the workers."""
        self._lines.close()
        for worker in self._workers:
            worker.end()
        for queue in self._queues:
            queue.close()
        self._workers, self._queues = [], []


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


def _serve(desk: Desk) -> NoReturn:
    """Answer orders until the server is gone; never return into what the fork copied."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the server ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # a collection here would copy every page it looks at
    try:
        with threadpool_limits(limits=1), contextlib.suppress(EOFError, OSError):
            desk.serve()
    except BaseException:
        traceback.print_exc()
    os._exit(0)
