"""What stands in a message besides arrays: three kinds, a handful of facts, all checked."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.app import ArrayRecord, ConfigRecord, MessageType, MetricRecord, RecordDict

from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn

INTRODUCE = MessageType.QUERY
TRAIN = MessageType.TRAIN
EVALUATE = MessageType.EVALUATE

SCALING, SETUP, ROUND = "scaling", "setup", "round"


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

    def to_record(self) -> ConfigRecord:
        """Return the form that travels."""
        return ConfigRecord(
            {
                "phase": self.phase,
                "index": self.index,
                "server-round": self.server_round,
                "participants": list(self.participants),
            }
        )

    @classmethod
    def from_record(cls, record: ConfigRecord) -> Task:
        """Read a task back."""
        phase, index, server_round = record["phase"], record["index"], record["server-round"]
        participants = record["participants"]
        if (
            phase not in (SCALING, SETUP, ROUND)
            or not isinstance(index, int)
            or not isinstance(server_round, int)
            or not isinstance(participants, list)
        ):
            raise InvalidArrays("a task needs a phase, an index, a round and participants")
        return cls(str(phase), index, server_round, tuple(int(client) for client in participants))


@dataclass(frozen=True)
class Facts:
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

    def to_record(self) -> MetricRecord:
        """Return the form that travels; ``num-examples`` is the name Flower's strategies weight by."""
        return MetricRecord({"client": self.client, "num-examples": self.rows, "seconds": self.seconds})

    @classmethod
    def from_content(cls, content: RecordDict) -> Facts:
        """Read the facts of a reply, or raise :class:`InvalidArrays`."""
        record = content.get("facts")
        if not isinstance(record, MetricRecord):
            raise InvalidArrays("the reply has no facts (client, num-examples, seconds)")
        client, rows, seconds = (record.get(key) for key in ("client", "num-examples", "seconds"))
        if not isinstance(client, int) or not isinstance(rows, int) or not isinstance(seconds, (int, float)):
            raise InvalidArrays("client and num-examples must be whole numbers, seconds a number")
        if client < 0 or not 1 <= rows < 2**53 or not 0 <= float(seconds) < float("inf"):
            raise InvalidArrays(f"impossible facts: client {client}, {rows} rows, {seconds} seconds")
        return cls(client, rows, float(seconds))


def arrays_of(content: RecordDict) -> ArrayRecord:
    """Return the array record of a message, or raise :class:`InvalidArrays`."""
    record = content.get("arrays")
    if not isinstance(record, ArrayRecord):
        raise InvalidArrays("the message has no arrays")
    return record
