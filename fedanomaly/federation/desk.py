"""The worker's side of the forked engine: its clients answer, and what they answer is taken on the spot."""

from __future__ import annotations

import time
from collections.abc import Callable
from socket import socket
from typing import NoReturn

from fedanomaly.core.arrays import Arrays, under_prefix
from fedanomaly.federation.asked import Asked
from fedanomaly.federation.frames import frame
from fedanomaly.federation.intake import Intake
from fedanomaly.federation.intake_kept import Kept, Scored, Unchecked
from fedanomaly.federation.intake_sums import Means, Sums
from fedanomaly.federation.local_post import TICK_SECONDS, LocalPost
from fedanomaly.federation.parcels import Order, Parcel, receive, send
from fedanomaly.federation.question import Account, Question
from fedanomaly.federation.queues import Hand
from fedanomaly.federation.replies import Gathering, Reply

NOBODY = -1
INTAKES = {intake.name: intake for intake in (Sums, Means, Kept, Unchecked, Scored)}


class Desk:
    """Answers orders.

    Parameters
    ----------
    post : LocalPost
        Lets clients answer.
    line : socket
        To the server.
    hand : Hand
        Takes the numbers of lots of clients, in an order for all workers.
    now : callable
        Told which client is about to answer; :data:`NOBODY` at the end.
    """

    def __init__(
        self,
        post: LocalPost,
        line: socket,
        hand: Hand,
        now: Callable[[int], None],
    ) -> None:
        self._post = post
        self._line = line
        self._hand = hand
        self._now = now
        self._known: Arrays = {}  # of the last order
        self._asked: Asked | None = None
        self._gathering = Gathering()
        self._accounts: list[Account] = []  # not sent yet
        self._arrived: list[int] = []
        self._large = False  # a lot's answers fill a batch: their sums do not wait for others'
        self._tell_at = self._send_at = 0.0  # when the server is to hear anything, and of what was taken

    def serve(self) -> NoReturn:
        """Answer until the server is gone: :class:`EOFError`."""
        while True:
            order = Order.from_arrays(receive(self._line), self._known, self._asked)
            self._known, self._asked = order.lasting, order.asked
            self._obey(order)
            del order  # its request may be large

    def _obey(self, order: Order) -> None:
        state = under_prefix(order.context, "state")
        question = Question(self._post.config, order.task, order.context["sizes"], state)
        whole, loose = INTAKES[order.intake](question, passes_on=True), Kept(question)
        asked, requests = order.asked, order.request_of()
        self._tell_at = self._send_at = time.monotonic() + TICK_SECONDS
        intake, expected = whole, None
        for haul in self._hand.hauls() if order.shared else [asked.neighbours]:
            for number in haul:
                begins = number in asked.heads or not whole.whole_blocks
                if number != expected or (begins and (intake is loose or self._should_send())):
                    self._send(intake)  # neighbours alone go together
                    intake = whole if begins else loose  # to a block's middle only the server can add
                elif self._gathering.full and intake.whole_blocks:
                    self._take(intake)
                self._let_answer(order, asked.neighbours[number], requests, intake)
                expected = asked.after.get(number)
            self._now(NOBODY)
            self._take(intake)  # before anything is taken over: it would wait
        self._send(intake, ends_order=True)

    def _let_answer(
        self, order: Order, clients: list[int], requests: dict[int, Arrays], intake: Intake
    ) -> None:
        for answered, client in enumerate(clients):
            if self._gathering.full or time.monotonic() > self._tell_at:
                self._report(intake, answered)
            self._now(client)
            reply = self._post.reply(order.kind, client, order.task, requests[client])
            if isinstance(reply, Reply):
                self._arrived.append(client)
            self._gathering.put(client, reply)

    def _report(self, intake: Intake, answered: int) -> None:
        """Look at a batch, or tell the server who has answered."""
        if not intake.whole_blocks:
            self._send(intake)
        elif self._gathering.full:
            self._large = len(self._gathering) <= answered
            self._take(intake)
        else:
            self._pass_on(Parcel(self._arrived))

    def _should_send(self) -> bool:
        return self._large or time.monotonic() > self._send_at

    def _take(self, intake: Intake) -> None:
        replies, self._gathering = self._gathering.replies(), Gathering()
        if len(replies):
            self._accounts.append(intake.account(replies.nodes, replies, replies.failures))

    def _send(self, intake: Intake, ends_order: bool = False) -> None:
        """Send what there is: neighbours' answers, in the case of sums of whole blocks."""
        self._take(intake)
        if self._accounts or ends_order:
            account = Account.joined(self._accounts)
            self._pass_on(Parcel(self._arrived, account, intake.name, intake.held(), ends_order))
            self._accounts = []
            intake.forget()
        self._large, self._send_at = False, time.monotonic() + TICK_SECONDS

    def _pass_on(self, parcel: Parcel) -> None:
        send(self._line, frame(parcel.to_arrays()))
        self._arrived, self._tell_at = [], time.monotonic() + TICK_SECONDS
