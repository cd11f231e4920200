"""One worker, from the server's side: a forked process, an order at a time, parcels back."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn, Self

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from fedanomaly.core.arrays import Arrays
from fedanomaly.federation.parcels import Order, Parcel, receive, send

PIPE_BYTES = 1 << 20


@dataclass(eq=False)
class Worker:
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

    @classmethod
    def forked(cls, number: int, serve: Callable[[socket.socket], object], sisters: Iterable[Worker]) -> Self:
        """Return worker ``number``, which serves at the other end of its line until that is closed."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BYTES)
        if process := os.fork():
            theirs.close()
            return cls(number, process, ours)
        ours.close()
        for sister in sisters:  # an inherited end would hide the server's end from a sister
            sister.line.close()
        _serve(serve, theirs)

    def order_next(self) -> None:
        """Send the next order, if the last one is done."""
        if self.busy or not self.orders or not self.alive:
            return
        order = self.orders.popleft()
        self.busy = True
        with contextlib.suppress(OSError):  # then nothing will come back
            send(self.line, order.framed(self.known))
        self.known = order.lasting

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


def _serve(serve: Callable[[socket.socket], object], line: socket.socket) -> NoReturn:
    """Answer orders until the server is gone; never return into what the fork copied."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the server ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # a collection here would copy every page it looks at
    try:
        with threadpool_limits(limits=1), contextlib.suppress(EOFError, OSError):
            serve(line)
    except BaseException:
        traceback.print_exc()
    os._exit(0)
