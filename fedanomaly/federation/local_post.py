"""The local engine: clients in this process answer function calls; nothing is packed, nothing is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from fedanomaly.core.arrays import Arrays, nbytes
from fedanomaly.federation import client as verbs
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.local_grid import have_identity
from fedanomaly.federation.mailbox import raised
from fedanomaly.federation.member import Member
from fedanomaly.federation.post import Arrived, Post, nobody
from fedanomaly.federation.protocol import Task
from fedanomaly.federation.replies import Failure, Gathering, Replies, Reply
from fedanomaly.federation.wire import pack, plain_copies

TICK_SECONDS = 0.2
"""Whoever watches hears so often, at the least, who has answered."""
EXACT_UP_TO = 100
"""Most clients for which sizes on the wire are measured by packing, unless one asks for it."""


class LocalPost(Post):
    """Clients in this process: node ``i + 1`` is client ``i``.

    They share the arrays of a request, which no client may modify, and their answers are handed to
    the server as they are, copied once: the same bits as over a wire, at next to no cost over a
    loop that calls the verbs.

    Parameters
    ----------
    config : RunConfig
        The run.
    work : module
        The verbs of the clients; see :func:`~fedanomaly.federation.client_app.make_client_app`.
    exact_bytes : bool, optional
        Whether ``bytes_up`` and ``bytes_down`` are what the wire would carry, for which everything is
        packed and compressed; otherwise they are the bytes of the arrays. Default: up to
        :data:`EXACT_UP_TO` clients.
    """

    def __init__(self, config: RunConfig, work: Any = verbs, exact_bytes: bool | None = None) -> None:
        have_identity()  # Flower's strategies make messages
        self.config = config
        self.member = Member(work)
        self.exact_bytes = config.clients <= EXACT_UP_TO if exact_bytes is None else exact_bytes
        self._request: Arrays | None = None
        self._bytes_down = 0

    def nodes(self) -> list[int]:
        """Return the ids of all clients' nodes."""
        return list(range(1, self.config.clients + 1))

    def ask(
        self, kind: str, task: Task, requests: Mapping[int, Arrays], arrived: Arrived = nobody
    ) -> Iterator[Replies]:
        """Let one client after the other answer, in the given order."""
        gathering, told, tick = Gathering(), 0, time.monotonic() + TICK_SECONDS
        for node, request in requests.items():
            gathering.put(node, self.reply(kind, node - 1, task, request))
            if gathering.full or time.monotonic() > tick:
                arrived(gathering.nodes[told:])
                told, tick = len(gathering.nodes), time.monotonic() + TICK_SECONDS
            if gathering.full:
                yield gathering.replies()
                gathering, told = Gathering(), 0
        if len(gathering):
            arrived(gathering.nodes[told:])
            yield gathering.replies()

    def reply(self, kind: str, client: int, task: Task, request: Arrays) -> Reply | Failure:
        """Return a client's reply; whatever it raises is a failure of the client alone."""
        try:
            facts, arrays = self.member.answer(kind, self.config, client, task, request)
            copies, size = plain_copies(arrays)  # what a client does next cannot change what it has said
        except Exception as error:
            return Failure(raised(error))
        if request is not self._request:  # clients that are sent the same one
            self._request, self._bytes_down = request, self._on_the_wire(request, nbytes(request))
        return Reply(facts, copies, size, self._on_the_wire(copies, size), self._bytes_down)

    def _on_the_wire(self, arrays: Arrays, size: int) -> int:
        return len(pack(arrays)) if self.exact_bytes else size
