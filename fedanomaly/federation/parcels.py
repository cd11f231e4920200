"""Replies of a worker's clients on their way to the server: several in one parcel, read where they lie."""

from __future__ import annotations

import struct
import time
from io import BufferedReader
from socket import socket

from fedanomaly.federation.frames import ALIGNMENT, frame, unframe
from fedanomaly.federation.post import Failure, Reply
from fedanomaly.federation.protocol import Declared

PARCEL_BYTES, PARCEL_SECONDS = 1 << 17, 0.05
"""A parcel is sent when it is so large or so old."""

_LENGTH = struct.Struct("<Q")
_KIND = struct.Struct("<qQ")  # answer or failure; length of what follows, without what fills it up
_FACTS = struct.Struct("<qqddd")  # client, rows, seconds, bytes up, bytes down
_ANSWER, _FAILURE = 0, 1


class Sender:
    """The worker's end.

    Parameters
    ----------
    line : socket
        To the server.
    """

    def __init__(self, line: socket) -> None:
        self._line = line
        self._parts: list[bytes] = []
        self._size = 0
        self._sent = time.monotonic()

    def put(self, reply: Reply | Failure) -> None:
        """Add a reply, whose arrays may change afterwards."""
        if isinstance(reply, Failure):
            text = reply.reason.encode(errors="replace")
            parts = [_KIND.pack(_FAILURE, len(text)), text, bytes(-len(text) % ALIGNMENT)]
        else:
            facts, body = reply.facts, frame(reply.arrays)
            told = _FACTS.pack(facts.client, facts.rows, facts.seconds, reply.bytes_up, reply.bytes_down)
            parts = [_KIND.pack(_ANSWER, len(told) + len(body)), told, body]
        self._parts += parts
        self._size += sum([len(part) for part in parts])
        if self._size >= PARCEL_BYTES or time.monotonic() - self._sent > PARCEL_SECONDS:
            self.send()

    def send(self) -> None:
        """Send what there is."""
        if self._parts:
            self._line.sendall(b"".join([_LENGTH.pack(self._size), *self._parts]))
        self._parts, self._size, self._sent = [], 0, time.monotonic()


class Receiver:
    """The server's end: replies in the order they were put.

    Parameters
    ----------
    line : buffered reader
        From the worker.
    """

    def __init__(self, line: BufferedReader) -> None:
        self._line = line
        self._parcel = bytearray()
        self._at = 0

    def next(self) -> Reply | Failure:
        """Return the next reply, waiting for it; :class:`EOFError` if there will be none."""
        if self._at == len(self._parcel):
            (length,) = _LENGTH.unpack(exactly(self._line, _LENGTH.size))
            self._parcel, self._at = exactly(self._line, length), 0
        kind, length = _KIND.unpack_from(self._parcel, self._at)
        begin = self._at + _KIND.size
        self._at = begin + length + -length % ALIGNMENT
        if kind == _FAILURE:
            return Failure(self._parcel[begin : begin + length].decode())
        client, rows, seconds, bytes_up, bytes_down = _FACTS.unpack_from(self._parcel, begin)
        arrays = unframe(self._parcel, begin + _FACTS.size)
        return Reply(Declared(client, rows, seconds), arrays, bytes_up, bytes_down)

    def close(self) -> None:
        """Read no more."""
        self._line.close()


def exactly(line: BufferedReader, count: int) -> bytearray:
    """Read ``count`` bytes, or raise :class:`EOFError`."""
    data = bytearray(count)
    if line.readinto(data) < count:
        raise EOFError
    return data
