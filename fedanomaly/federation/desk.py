"""The worker's side of the forked engine: its clients answer, and what they answer is taken on the spot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import groupby
from socket import socket
from typing import NoReturn

from fedanomaly.core.arrays import Arrays, under_prefix
from fedanomaly.federation.intake import INTAKES, Account, Intake, Question
from fedanomaly.federation.local_post import LocalPost
from fedanomaly.federation.parcels import Order, Parcel, receive, send
from fedanomaly.federation.replies import Gathering, Replies, Reply

TICK_SECONDS = 0.05
"""The server hears so often, at the least, who has answered."""


class Desk:
    """Answers orders.

    Parameters
    ----------
    post : LocalPost
        Lets clients answer.
    line : socket
        To the server.
    block_of : callable
        Returns the number of a client's block.
    next_blocks : callable
        Returns the numbers of the blocks that are left for this worker in an order for all workers.
    """

    def __init__(
        self,
        post: LocalPost,
        line: socket,
        block_of: Callable[[int], int],
        next_blocks: Callable[[], Iterable[int]],
    ) -> None:
        self._post = post
        self._line = line
        self._block_of = block_of
        self._next_blocks = next_blocks
        self._context: Arrays = {}
        self._accounts: list[Account] = []  # not sent yet
        self._arrived: list[int] = []
        self._sent = 0.0

    def serve(self) -> NoReturn:
        """Answer until the server is gone: :class:`EOFError`."""
        while True:
            order = Order.from_arrays(receive(self._line), self._context)
            self._context = order.context
            self._obey(order)
            del order  # its request may be large

    def _obey(self, order: Order) -> None:
        state = under_prefix(order.context, "state")
        question = Question(self._post.config, order.task, order.context["sizes"], state)
        blocks = {number: list(block) for number, block in groupby(order.clients, self._block_of)}
        each = order.requests if len(order.requests) > 1 else order.requests * len(order.clients)
        requests = dict(zip(order.clients, each, strict=True))
        for number in self._next_blocks() if order.shared else blocks:
            self._take_block(order, blocks[number], requests, INTAKES[order.intake](question))
        self._pass_on(Parcel(self._arrived, ends_order=True))

    def _take_block(
        self, order: Order, block: list[int], requests: dict[int, Arrays], intake: Intake
    ) -> None:
        gathering, full = Gathering(), False
        for client in block:
            if full:
                self._take(gathering.replies(), intake)
                gathering = Gathering()
                if intake.divisible:  # sums wait for the end of their block
                    self._send(intake)
            if time.monotonic() - self._sent > TICK_SECONDS:
                self._pass_on(Parcel(self._arrived))
            reply = self._post.reply(order.kind, client, order.task, requests[client])
            if isinstance(reply, Reply):
                self._arrived.append(client)
            full = gathering.put(client, reply)
        self._take(gathering.replies(), intake)
        self._send(intake)

    def _take(self, replies: Replies, intake: Intake) -> None:
        self._accounts.append(intake.account(replies.nodes, replies, replies.failures))

    def _send(self, intake: Intake) -> None:
        self._pass_on(Parcel(self._arrived, Account.joined(self._accounts), intake.held()))
        self._accounts = []
        intake.forget()

    def _pass_on(self, parcel: Parcel) -> None:
        send(self._line, parcel.to_arrays())
        self._arrived, self._sent = [], time.monotonic()
