"""What goes between the server and a worker: orders there, parcels back, as plain frames."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from functools import cached_property
from socket import MSG_WAITALL, socket
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Arrays, under_prefix, with_prefix
from fedanomaly.federation.asked import Asked
from fedanomaly.federation.frames import frame, unframe
from fedanomaly.federation.protocol import Task
from fedanomaly.federation.question import Account

_LENGTH = struct.Struct("<Q")
_ASKED = "asked"


@dataclass(eq=False)
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
    asked : Asked
        Who they are.
    requests : list of dict of ndarray
        What they are sent: one for all of them, or one each.
    shared : bool
        Whether all workers have this order, and whichever is free lets the next lot of clients answer.
    context : dict of ndarray
        What decides how answers are taken: ``sizes``, ``state/...``.
    """

    kind: str
    task: Task
    intake: str
    asked: Asked
    requests: list[Arrays]
    shared: bool
    context: Arrays
    _framed: tuple[Arrays, bytes] | None = field(default=None, init=False, repr=False)

    @cached_property
    def lasting(self) -> Arrays:
        """What the next order may have too: it travels once."""
        return {**self.context, **with_prefix(self.asked.arrays, _ASKED)}

    def request_of(self) -> dict[int, Arrays]:
        """Return what each client is sent."""
        clients = self.asked.clients
        if len(self.requests) == 1:
            return dict.fromkeys(clients, self.requests[0])
        return dict(zip(clients, self.requests, strict=True))

    def framed(self, known: Arrays) -> bytes:
        """Return the frame of :meth:`to_arrays`, made once for workers that have the same ``known``."""
        if self._framed is None or self._framed[0] is not known:
            self._framed = known, frame(self.to_arrays(known))
        return self._framed[1]

    def to_arrays(self, known: Arrays) -> Arrays:
        """Return the form that travels to a worker that has ``known`` from its last order."""
        same = [name for name, array in self.lasting.items() if known.get(name) is array]
        task = self.task
        step = (task.phase, task.index, task.server_round)
        arrays = {"facts": text([self.kind, step, self.intake, len(self.requests), self.shared, same])}
        for number, request in enumerate(self.requests):
            arrays |= with_prefix(request, f"request{number}")
        news = {name: array for name, array in self.lasting.items() if name not in same}
        return arrays | with_prefix(news, "lasting")

    @classmethod
    def from_arrays(cls, arrays: Arrays, known: Arrays, last: Asked | None) -> Order:
        """Read the form that travels, given what lasts of the last order and whom it asked."""
        kind, (phase, index, server_round), intake, n_requests, shared, same = plain(arrays["facts"])
        requests = [under_prefix(arrays, f"request{number}") for number in range(n_requests)]
        lasting = {name: known[name] for name in same}
        for name, array in under_prefix(arrays, "lasting").items():
            lasting[name] = array.copy()  # or the whole order would stay in memory with it
        asked = Asked.from_arrays(under_prefix(lasting, _ASKED), last)
        context = {name: array for name, array in lasting.items() if not name.startswith(f"{_ASKED}/")}
        task = Task(phase, index, server_round, asked.participants)
        return cls(kind, task, intake, asked, requests, shared, context)


@dataclass(frozen=True, eq=False)
class Parcel:
    """Part of the reply to an order.

    Attributes
    ----------
    arrived : list of int
        Clients that have answered since the last parcel.
    account : Account
        What became of some clients that were asked one after the other.
    intake : str
        Name of the intake that took their answers.
    held : dict of ndarray
        What it took.
    ends_order : bool
        Nothing more comes.
    """

    arrived: list[int] = field(default_factory=list)
    account: Account = field(default_factory=lambda: Account.joined([]))
    intake: str = ""
    held: Arrays = field(default_factory=dict)
    ends_order: bool = False

    def to_arrays(self) -> Arrays:
        """Return the form that travels."""
        account = self.account
        return {
            "arrived": np.array(self.arrived, dtype=np.int64),
            "clients": np.array(account.clients, dtype=np.int64),
            "spent": account.spent,
            "facts": text([self.intake, self.ends_order, list(account.wrong.items())]),
            **with_prefix(self.held, "held"),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Parcel:
        """Read the form that travels."""
        intake, ends_order, wrong = plain(arrays["facts"])
        account = Account(arrays["clients"].tolist(), arrays["spent"], dict(wrong))
        return cls(arrays["arrived"].tolist(), account, intake, under_prefix(arrays, "held"), ends_order)


def send(line: socket, framed: bytes) -> None:
    """Send a frame to the process at the other end, which is woken up once."""
    length = _LENGTH.pack(len(framed))
    sent = line.sendmsg([length, framed])
    if sent < len(length) + len(framed):  # a signal came
        line.sendall(memoryview(length + framed)[sent:])


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
