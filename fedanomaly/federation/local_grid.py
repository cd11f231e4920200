"""Flower's messages in one process: what the local engine does for a ClientApp that is not its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedanomaly.federation.config import Value

CLIENT_RAISED = 2  # flwr.common.constant.ErrorCode.CLIENT_APP_RAISED_EXCEPTION


class LocalGrid(Grid):
    """A Flower grid whose nodes are contexts in this process.

    Parameters
    ----------
    client_app : ClientApp
        The app every client runs.
    clients : int
        Number of nodes; node ``i`` has the partition id ``i``.
    run_config : mapping
        What ``Context.run_config`` holds.
    """

    def __init__(self, client_app: ClientApp, clients: int, run_config: Mapping[str, Value]) -> None:
        self._client_app = client_app
        self._contexts = {
            client + 1: Context(
                run_id=1,
                node_id=client + 1,
                node_config={"partition-id": client, "num-partitions": clients},
                state=RecordDict(),
                run_config=dict(run_config),
            )
            for client in range(clients)
        }
        self._replies: dict[str, Message] = {}
        have_identity()

    def set_run(self, run: Run) -> None:
        """Do nothing: there is one run."""

    @property
    def run(self) -> Run:
        """Return the only run."""
        return Run.create_empty(run_id=1)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message (deprecated in Flower itself)."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return all node ids."""
        return list(self._contexts)

    def get_nodes(self) -> list[NodeInfo]:
        """Return all nodes."""
        return [NodeInfo(node_id=node) for node in self._contexts]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Let every addressed client answer at once, in order."""
        ids = []
        for number, message in enumerate(messages):
            message_id = f"{len(self._replies)}.{number}"
            message.metadata.__dict__["_message_id"] = (
                message_id  # Flower hashes the content; not needed here
            )
            self._replies[message_id] = self._answer(message)
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies to ``message_ids``."""
        return [
            self._replies.pop(message_id) for message_id in list(message_ids) if message_id in self._replies
        ]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Push and pull in one call."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        try:
            return self._client_app(message, self._contexts[message.metadata.dst_node_id])
        except Exception as error:  # what Flower's own engines do: a client's failure is a reply
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(code=CLIENT_RAISED, reason=reason), reply_to=message)


def have_identity() -> None:
    """Give this process an identity, as Flower 1.41 demands of whoever makes messages; keep one it has."""
    try:
        _ = TaskIdentity.run_id
    except RuntimeError:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
