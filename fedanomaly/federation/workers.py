"""The local engine over several processes: forked workers that share out the clients.

A worker is a copy of this process at the moment of the fork: data, compiled kernels and the verbs are
shared, not sent. It takes the answers of its clients itself (see :mod:`~fedanomaly.federation.intake`),
and what the workers made of them is put together in the order of the clients: nothing depends on how many
workers there are, or on who had which clients. Every client has a worker that keeps its rows in memory;
one that has nothing left to do helps the others. Where it begins in the middle of a block of clients that
are summed together, it passes answers on as they came. When a worker dies, the clients whose answers it
had not sent yet are left out of the step, and the one that was answering is not asked again.
"""

from __future__ import annotations

import os
import selectors
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, repeat
from operator import is_
from typing import Any

import numpy as np

from fedanomaly.core.arrays import Arrays, with_prefix
from fedanomaly.core.errors import FederationError, UserError
from fedanomaly.federation import client as verbs
from fedanomaly.federation.asked import LOTS_A_BLOCK, Asked
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.desk import Desk
from fedanomaly.federation.intake import Intake
from fedanomaly.federation.intake_kept import Unchecked, take_over
from fedanomaly.federation.layout import layout
from fedanomaly.federation.local_post import LocalPost
from fedanomaly.federation.parcels import Order, Parcel
from fedanomaly.federation.post import Arrived, Nodes, nobody
from fedanomaly.federation.protocol import Task
from fedanomaly.federation.question import Account, Question
from fedanomaly.federation.queues import Hand, Queues, Shares, shared_numbers
from fedanomaly.federation.replies import Replies
from fedanomaly.federation.spent import NOTHING
from fedanomaly.federation.worker_process import Worker
from fedanomaly.privacy.sums import MOST_BLOCKS

GONE = "its worker process is gone"


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
        self._asked: Asked | None = None
        self._lots: list[array[int]] = []  # of whom is asked, by worker
        self._help = work is verbs or getattr(work, "stateless", False)
        self._lost: set[int] = set()
        self._at_work = shared_numbers(workers)  # by worker: the client that answers
        self._queues = Queues(workers, MOST_BLOCKS * LOTS_A_BLOCK)
        self._workers: list[Worker] = []
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
        by_client = {node - 1: request for node, request in requests.items()}

        def answered(clients: Sequence[int]) -> None:
            arrived([client + 1 for client in clients])

        for account in self.bring(kind, by_client, {}, kept, answered):
            nodes = [client + 1 for client in account.clients]
            failures = {client + 1: reason for client, reason in account.wrong.items()}
            batch = kept.answers.batch
            kept.forget()
            yield Replies(nodes, account.clients, account.spent, batch, failures)

    def bring(
        self, kind: str, requests: Mapping[int, Arrays], nodes: Nodes, intake: Intake, arrived: Arrived
    ) -> Iterator[Account]:
        """Let the workers take the answers at the same time; put together what they took, block by block."""
        if not self._workers:
            raise FederationError("the workers of this run have been dismissed")
        clients = list(requests)
        if clients:
            self._order(kind, requests, clients, intake)
        arriving, early, at = self._arriving(arrived), dict[int, Parcel](), 0
        try:
            while at < len(clients):
                first = clients[at]
                while first not in early and (parcel := next(arriving, None)) is not None:
                    early[parcel.account.first] = parcel
                if (parcel := early.pop(first, None)) is not None:
                    account = parcel.account
                    if account.clients:
                        take_over(intake, parcel.intake, parcel.held)
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

    def _order(self, kind: str, requests: Mapping[int, Arrays], clients: list[int], intake: Intake) -> None:
        """Let all workers share out the clients, a lot at a time, or each have its own blocks.

        The latter where requests differ: nobody is sent what others may answer.
        """
        question = intake.question
        context = {"sizes": question.sizes, **with_prefix(question.state, "state")}
        order = partial(Order, kind, question.task, intake.name, context=context)
        asked = self._who(clients, question.task.participants)
        first = requests[clients[0]]
        if all(map(is_, requests.values(), repeat(first))):
            self._queues.put(self._lots)
            for_all = order(asked=asked, requests=[first], shared=True)
            for worker in self._workers:
                worker.orders.append(for_all)
        else:
            for _, neighbours in groupby(clients, self._shares.block_of):
                block = list(neighbours)
                each = [requests[client] for client in block]
                worker = self._workers[self._shares.worker_of(block[0])]
                few = Asked(block, asked.participants, self._shares.size)
                worker.orders.append(order(asked=few, requests=each, shared=False))
        self._inherit()
        for worker in self._workers:
            worker.order_next()

    def _who(self, clients: list[int], participants: tuple[int, ...]) -> Asked:
        """Return who is asked; the same object as long as they are the same."""
        if self._asked is not None and self._asked.clients == clients:
            self._asked = self._asked.among(participants)
        else:
            self._asked = Asked(clients, participants, self._shares.size)
            self._lots = self._shares.by_worker(self._asked.lots, len(self._workers))
        return self._asked

    def _mourn(self, worker: Worker) -> None:
        """Give up the client at whose answer a worker died; or all it had, where others cannot help."""
        if self._help:
            self._lost.add(self._at_work[worker.number])
        else:
            everybody = range(self.config.clients)
            self._lost.update(c for c in everybody if self._shares.worker_of(c) == worker.number)
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
                worker: Worker = key.data
                parcel = worker.next_parcel()
                if not worker.alive:
                    self._lines.unregister(worker.line)
                    self._mourn(worker)
                if parcel.ends_order:
                    worker.order_next()
                if parcel.arrived:
                    arrived(parcel.arrived)
                if len(parcel.account):
                    yield parcel

    def _fork(self, own: int) -> Worker:
        hand, now = Hand(self._queues, own, self._help), partial(self._at_work.__setitem__, own)
        return Worker.forked(own, lambda line: Desk(self, line, hand, now).serve(), self._workers)

    def close(self) -> None:
        """End the workers."""
        self._lines.close()
        for worker in self._workers:
            worker.end()
        self._queues.close()
        self._workers = []
