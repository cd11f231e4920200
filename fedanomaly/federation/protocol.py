"""What stands in a message: one of three kinds, a handful of facts, a bundle of arrays; all checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from flwr.app import Array, ArrayRecord, ConfigRecord, MessageType, RecordDict

from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn

INTRODUCE = MessageType.QUERY
TRAIN = MessageType.TRAIN
EVALUATE = MessageType.EVALUATE

SCALING, SETUP, ROUND = "scaling", "setup", "round"
FACTS, BUNDLE = "facts", "bundle"
STYPE = "fedanomaly.bundle"
INLINE_BYTES = 1 << 20

Fact = int | float | str | list[int]


@dataclass(frozen=True)
class Task:
    """Which step of which round a client is asked for.

    Attributes
    ----------
    phase : str
        ``scaling``, ``setup`` or ``round``.
    index : int
        Position of the step among the steps of its phase.
    server_round : int
        0 before the first round.
    participants : tuple of int
        Partition ids of all clients asked.
    """

    phase: str
    index: int
    server_round: int
    participants: tuple[int, ...]

    def turn(self, seed: int, rounds: int, client: int) -> Turn:
        """Return the key of ``client``'s randomness in this task."""
        return Turn(seed, self.server_round, rounds, client, self.participants)

    def facts(self) -> dict[str, Fact]:
        """Return the form that travels."""
        return {
            "phase": self.phase,
            "index": self.index,
            "server-round": self.server_round,
            "participants": list(self.participants),
        }

    @classmethod
    def from_content(cls, content: RecordDict) -> Task:
        """Read the task of a message, or raise :class:`InvalidArrays`."""
        return cls.from_facts(_facts_of(content))

    @classmethod
    def from_facts(cls, record: Mapping[str, object]) -> Task:
        """Read the form that travels, or raise :class:`InvalidArrays`."""
        phase, index, server_round = record.get("phase"), record.get("index"), record.get("server-round")
        participants = record.get("participants")
        if (
            phase not in (SCALING, SETUP, ROUND)
            or not isinstance(index, int)
            or not isinstance(server_round, int)
            or not isinstance(participants, list)
        ):
            raise InvalidArrays("a task needs a phase, an index, a round and participants")
        return cls(str(phase), index, server_round, tuple(int(client) for client in participants))


class Declared(NamedTuple):
    """What a client says of itself with every answer.

    Attributes
    ----------
    client : int
        Its partition id.
    rows : int
        Its training rows: the weight of its answer.
    seconds : float
        Time it computed.
    """

    client: int
    rows: int
    seconds: float

    def facts(self) -> dict[str, Fact]:
        """Return the form that travels."""
        return {"client": self.client, "rows": self.rows, "seconds": self.seconds}

    @classmethod
    def from_content(cls, content: RecordDict) -> Declared:
        """Read what a reply declares, or raise :class:`InvalidArrays`."""
        record = _facts_of(content)
        client, rows, seconds = (record.get(key) for key in ("client", "rows", "seconds"))
        if not isinstance(client, int) or not isinstance(rows, int) or not isinstance(seconds, (int, float)):
            raise InvalidArrays("client and rows must be whole numbers, seconds a number")
        if client < 0 or not 1 <= rows < 2**53 or not 0 <= float(seconds) < float("inf"):
            raise InvalidArrays(f"impossible facts: client {client}, {rows} rows, {seconds} seconds")
        return cls(client, rows, float(seconds))


def content_of(facts: Mapping[str, Fact], bundle: bytes) -> RecordDict:
    """Return a message's content: some facts and a bundle of arrays.

    Flower moves every record, array and chunk as an object of its own, at several requests each. A
    small bundle therefore stands among the facts, in one record; a large one is an array, which
    Flower moves in chunks.
    """
    if len(bundle) <= INLINE_BYTES:
        return RecordDict({FACTS: ConfigRecord({**facts, BUNDLE: bundle})})
    array = Array(dtype="uint8", shape=(len(bundle),), stype=STYPE, data=bundle)
    return RecordDict({FACTS: ConfigRecord(dict(facts)), BUNDLE: ArrayRecord({BUNDLE: array})})


def bundle_of(content: RecordDict) -> bytes:
    """Return the bundle of a message, or raise :class:`InvalidArrays`."""
    inline = _facts_of(content).get(BUNDLE)
    if isinstance(inline, bytes):
        return inline
    record = content.get(BUNDLE)
    if not isinstance(record, ArrayRecord) or list(record) != [BUNDLE] or record[BUNDLE].stype != STYPE:
        raise InvalidArrays("the message holds no bundle of arrays")
    return record[BUNDLE].data


def _facts_of(content: RecordDict) -> ConfigRecord:
    record = content.get(FACTS)
    if not isinstance(record, ConfigRecord):
        raise InvalidArrays("the message holds no facts")
    return record
