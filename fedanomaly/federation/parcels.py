"""What goes between the server and a worker: orders there, parcels back, as plain frames."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from socket import MSG_WAITALL, socket
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Arrays, under_prefix, with_prefix
from fedanomaly.federation.frames import frame, unframe
from fedanomaly.federation.protocol import Task
from fedanomaly.federation.question import Account

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, eq=False)
class Order:
    """What some clients are asked.

    Attributes
    ----------
    kind : str
        Of message.
    task : Task
        Which step of which round.
    intake : str
        Name of the intake that takes their answers.
    clients : list of int
        Partition ids, ascending.
    requests : list of dict of ndarray
        What they are sent: one for all of them, or one each.
    shared : int
        If not 0, all workers have this order, and whichever is free lets the next so many neighbours answer.
    context : dict of ndarray
        What decides how answers are taken: ``sizes``, ``state/...``.
    """

    kind: str
    task: Task
    intake: str
    clients: list[int]
    requests: list[Arrays]
    shared: int
    context: Arrays

    def neighbours(self) -> dict[int, list[int]]:
        """Return the clients that answer together, by number; all, where the order is not shared."""
        if not self.shared:
            return {0: self.clients}
        numbers, firsts = np.unique(np.array(self.clients) // self.shared, return_index=True)
        edges = [*firsts.tolist(), len(self.clients)]
        return {n: self.clients[a:b] for n, (a, b) in zip(numbers.tolist(), pairwise(edges), strict=True)}

    def to_arrays(self, known: Arrays) -> Arrays:
        """Return the form that travels to a worker whose last order came with the context ``known``."""
        same = [name for name, array in self.context.items() if known.get(name) is array]
        task = self.task
        step = (task.phase, task.index, task.server_round)
        arrays = {
            "facts": text([self.kind, step, self.intake, len(self.requests), self.shared, same]),
            **self._who_and_what,
        }
        news = {name: array for name, array in self.context.items() if name not in same}
        return arrays | with_prefix(news, "context")

    @cached_property
    def _who_and_what(self) -> Arrays:
        """What every worker with this order is sent."""
        arrays: Arrays = {
            "participants": np.array(self.task.participants, dtype=np.int64),
            "clients": np.array(self.clients, dtype=np.int64),
        }
        for number, request in enumerate(self.requests):
            arrays |= with_prefix(request, f"request{number}")
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, known: Arrays) -> Order:
        """Read the form that travels; ``known`` is the context of the last order."""
        kind, (phase, index, server_round), intake, n_requests, shared, same = plain(arrays["facts"])
        task = Task(phase, index, server_round, tuple(arrays["participants"].tolist()))
        requests = [under_prefix(arrays, f"request{number}") for number in range(n_requests)]
        context = {name: known[name] for name in same}
        for name, array in under_prefix(arrays, "context").items():
            context[name] = array.copy()  # or the whole order would stay in memory with it
        return cls(kind, task, intake, arrays["clients"].tolist(), requests, shared, context)


@dataclass(frozen=True, eq=False)
class Parcel:
    """Part of the reply to an order.

    Attributes
    ----------
    arrived : list of int
        Clients that have answered since the last parcel.
    account : Account
        What became of some clients that were asked one after the other.
    held : dict of ndarray
        What an intake took from them.
    ends_order : bool
        Nothing more comes.
    """

    arrived: list[int] = field(default_factory=list)
    account: Account = field(default_factory=lambda: Account.joined([]))
    held: Arrays = field(default_factory=dict)
    ends_order: bool = False

    def to_arrays(self) -> Arrays:
        """Return the form that travels."""
        account = self.account
        return {
            "ends_order": np.array(self.ends_order),
            "arrived": np.array(self.arrived, dtype=np.int64),
            "clients": np.array(account.clients, dtype=np.int64),
            "spent": account.spent,
            "wrong": text(list(account.wrong.items())),
            **with_prefix(self.held, "held"),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Parcel:
        """Read the form that travels."""
        wrong = dict(plain(arrays["wrong"]))
        account = Account(arrays["clients"].tolist(), arrays["spent"], wrong)
        held, ends_order = under_prefix(arrays, "held"), bool(arrays["ends_order"])
        return cls(arrays["arrived"].tolist(), account, held, ends_order)


def send(line: socket, arrays: Arrays) -> None:
    """Send arrays to the process at the other end."""
    body = frame(arrays)
    line.sendall(_LENGTH.pack(len(body)))
    line.sendall(body)


def receive(line: socket) -> Arrays:
    """Return the next arrays, waiting for them; :class:`EOFError` if there will be none."""
    (length,) = _LENGTH.unpack(_exactly(line, _LENGTH.size))
    return unframe(_exactly(line, length))


def text(facts: object) -> npt.NDArray[np.uint8]:
    """Return plain facts as an array of bytes."""
    return np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)


def plain(array: npt.NDArray[np.uint8]) -> Any:
    """Return what :func:`text` was given."""
    return json.loads(array.tobytes())


def _exactly(line: socket, count: int) -> bytearray:
    data = bytearray(count)
    view, at = memoryview(data), 0
    while at < count:
        if not (read := line.recv_into(view[at:], 0, MSG_WAITALL)):
            raise EOFError
        at += read
    return data
