"""Replies of a worker's clients on their way to the server, side by side in parcels, read where they lie."""

from __future__ import annotations

import json
import struct
import time
from io import BufferedReader
from socket import socket

import numpy as np

from fedanomaly.core.answers import Batch, Column
from fedanomaly.core.arrays import Arrays
from fedanomaly.federation.frames import frame, unframe
from fedanomaly.federation.replies import Failure, Gathering, Replies, Reply

PARCEL_SECONDS = 0.05
"""A parcel is sent when it is so old, or as large as replies become that are put together."""

_LENGTH = struct.Struct("<Q")
_FACTS = ("nodes", "clients", "spent", "failures")
_VALUES, _LENGTHS = "values/", "lengths/"


class Sender:
    """The worker's end.

    Parameters
    ----------
    line : socket
        To the server.
    """

    def __init__(self, line: socket) -> None:
        self._line = line
        self._gathering = Gathering()
        self._sent = time.monotonic()

    def put(self, node: int, reply: Reply | Failure) -> None:
        """Add a reply."""
        if self._gathering.put(node, reply) or time.monotonic() - self._sent > PARCEL_SECONDS:
            self.send()

    def send(self) -> None:
        """Send what there is: replies that are not alike in parcels of their own."""
        replies, self._gathering = self._gathering.replies(), Gathering()
        for part in [replies] if replies.batch.columns is not None else replies.one_by_one():
            body = frame(_framed(part))
            self._line.sendall(_LENGTH.pack(len(body)))
            self._line.sendall(body)
        self._sent = time.monotonic()


class Receiver:
    """The server's end: replies in the order they were put.

    Parameters
    ----------
    line : buffered reader
        From the worker.
    """

    def __init__(self, line: BufferedReader) -> None:
        self._line = line

    def next(self) -> Replies:
        """Return the next replies, waiting for them; :class:`EOFError` if there will be none."""
        (length,) = _LENGTH.unpack(exactly(self._line, _LENGTH.size))
        return _unframed(unframe(exactly(self._line, length)))

    def close(self) -> None:
        """Read no more."""
        self._line.close()


def _framed(replies: Replies) -> Arrays:
    arrays: Arrays = {
        "nodes": np.array(replies.nodes, dtype=np.int64),
        "clients": np.array(replies.clients, dtype=np.int64),
        "spent": replies.spent,
        "failures": np.frombuffer(json.dumps(list(replies.failures.items())).encode(), dtype=np.uint8),
    }
    for name, (values, lengths) in (replies.batch.columns or {}).items():
        arrays[_VALUES + name] = values
        if lengths is not None:
            arrays[_LENGTHS + name] = lengths
    return arrays


def _unframed(arrays: Arrays) -> Replies:
    nodes, clients, spent, failures = (arrays.pop(name) for name in _FACTS)
    columns = {
        name.removeprefix(_VALUES): Column(values, arrays.get(_LENGTHS + name.removeprefix(_VALUES)))
        for name, values in arrays.items()
        if name.startswith(_VALUES)
    }
    batch = Batch(columns=columns) if columns else Batch([{} for _ in nodes])
    return Replies(nodes.tolist(), clients.tolist(), spent, batch, dict(json.loads(failures.tobytes())))


def exactly(line: BufferedReader, count: int) -> bytearray:
    """Read ``count`` bytes, or raise :class:`EOFError`."""
    data = bytearray(count)
    if line.readinto(data) < count:
        raise EOFError
    return data
