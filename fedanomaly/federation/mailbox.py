"""Send, wait, and account for every message: a missing reply is never silent.

Flower itself drops a reply that never came without a word, and its own ``send_and_receive`` looks
for replies every three seconds; both are why messages go through here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

CLIENT_APP_RAISED = 2  # flwr.common.constant.ErrorCode
NODE_UNAVAILABLE = 5
_FLOWER_REASON = re.compile(r"<class '(?P<kind>[^']*)'>:<'(?P<text>.*)'>")
_MOST_REASON = 300  # characters
POLL_SECONDS = 0.1
ROLL_CALL_SECONDS = 2.0


@dataclass(frozen=True)
class Letter:
    """What became of one message.

    Attributes
    ----------
    message : Message or None
        The reply; None if there is none to use.
    failure : str
        Why there is none: empty if there is one.
    """

    message: Message | None
    failure: str = ""


class Mailbox:
    """The only place that talks to Flower's grid.

    Parameters
    ----------
    grid : Grid
        Any of the engines' grids.
    timeout : float
        Seconds a client may take to answer.
    """

    def __init__(self, grid: Grid, timeout: float) -> None:
        self.grid = grid
        self.timeout = timeout

    def nodes(self) -> list[int]:
        """Return the ids of the nodes that are online, ascending."""
        return sorted(self.grid.get_node_ids())

    def ask(
        self, kind: str, contents: Mapping[int, RecordDict], server_round: int
    ) -> Iterator[tuple[int, Letter]]:
        """Send ``contents`` (by node id) and yield every node with its :class:`Letter`, as they come.

        A node that raises, goes offline or stays silent beyond the timeout is reported as such.
        """
        messages = [
            Message(content, node, kind, group_id=str(server_round), ttl=self.timeout + 60.0)
            for node, content in contents.items()
        ]
        waiting: dict[str, int] = {}
        sent = self.grid.push_messages(messages)
        for node, message_id in zip(contents, sent, strict=False):
            if message_id:
                waiting[message_id] = node
        for node in contents.keys() - waiting.values():
            yield node, Letter(None, "the message could not be sent")

        deadline = time.monotonic() + self.timeout
        next_roll_call = time.monotonic() + ROLL_CALL_SECONDS
        while waiting:
            yield from self._arrived(list(waiting), waiting)
            if not waiting:
                break
            now = time.monotonic()
            if now >= deadline:
                yield from self._arrived(list(waiting), waiting)  # a slow look may have outlasted it
                for node in waiting.values():
                    yield node, Letter(None, f"no answer within {self.timeout:g} s")
                break
            if now >= next_roll_call:
                next_roll_call = now + ROLL_CALL_SECONDS
                yield from self._lost(waiting)
            time.sleep(POLL_SECONDS)

    def _arrived(self, wanted: list[str], waiting: dict[str, int]) -> Iterator[tuple[int, Letter]]:
        for message in self.grid.pull_messages(wanted):
            if (message_id := message.metadata.reply_to_message_id) in waiting:
                yield waiting.pop(message_id), _opened(message)

    def _lost(self, waiting: dict[str, int]) -> Iterator[tuple[int, Letter]]:
        online = set(self.nodes())
        if lost := [message_id for message_id, node in waiting.items() if node not in online]:
            yield from self._arrived(lost, waiting)  # it may have answered, then left
        for message_id in lost:
            if (gone := waiting.pop(message_id, None)) is not None:
                yield gone, Letter(None, "its process is gone (the node went offline)")


class ChosenNodes(Grid):
    """A grid that knows only the clients chosen for a round.

    Flower's strategies sample nodes themselves, from a global generator; given this grid and a
    fraction of 1 they "sample" exactly the participants that the run's seed decided.
    """

    def __init__(self, nodes: Iterable[int]) -> None:
        self._nodes = list(nodes)

    def get_node_ids(self) -> list[int]:
        """Return the chosen nodes."""
        return list(self._nodes)

    def _refuse(self, *args: object, **kwargs: object) -> None:
        raise RuntimeError("a strategy plans messages; the mailbox alone sends them")

    set_run = run = create_message = get_nodes = push_messages = pull_messages = send_and_receive = _refuse  # type: ignore[assignment]


def _opened(message: Message) -> Letter:
    if not message.has_error():
        return Letter(message)
    reason = " ".join(str(message.error.reason).split())[:_MOST_REASON]
    if message.error.code == NODE_UNAVAILABLE:
        return Letter(None, "its process is gone (no heartbeat)")
    if message.error.code != CLIENT_APP_RAISED:
        return Letter(None, f"its task failed: {reason or f'error code {message.error.code}'}")
    if flower := _FLOWER_REASON.fullmatch(reason):
        reason = f"{flower['kind'].rsplit('.', 1)[-1]}: {flower['text']}"
    return Letter(None, f"it raised: {reason}")


def raised(error: Exception) -> str:
    """Return what the events say of a client that raised ``error``."""
    return "it raised: " + " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_REASON]
