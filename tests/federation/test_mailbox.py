"""Every message ends as an answer, an error, a lost node or a timeout: never as silence."""

import time

import pytest
from flwr.app import Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedanomaly.federation import mailbox as module
from fedanomaly.federation.local_grid import LocalGrid
from fedanomaly.federation.mailbox import ChosenNodes, Mailbox


class ScriptedGrid(ChosenNodes):
    """Nodes that do what their script says: answer, raise, leave, stay silent, refuse."""

    def __init__(self, scripts):
        super().__init__(scripts)
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self.scripts = scripts
        self.online = set(scripts)
        self.outbox = {}

    def get_node_ids(self):
        return sorted(self.online)

    def push_messages(self, messages):
        ids = []
        for number, message in enumerate(messages):
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = str(number)
            script = self.scripts[node]
            if script == "refuse":
                ids.append(None)
                continue
            if script == "answer":
                self.outbox[str(number)] = Message(RecordDict(), reply_to=message)
            if script == "raise":
                self.outbox[str(number)] = Message(
                    Error(code=2, reason="boom\nin the client"), reply_to=message
                )
            if script == "leave":
                self.online.discard(node)
            if script == "answer, leave":
                self.online.discard(node)
                self.late = (str(number), Message(RecordDict(), reply_to=message))
            ids.append(str(number))
        return ids

    def pull_messages(self, message_ids):
        found = [self.outbox.pop(key) for key in list(message_ids) if key in self.outbox]
        if hasattr(self, "late"):
            self.outbox[self.late[0]] = self.late[1]
            del self.late
        return found


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(module, "ROLL_CALL_SECONDS", 0.0)


def ask(scripts, timeout=0.2):
    grid = ScriptedGrid(scripts)
    return dict(Mailbox(grid, timeout).ask("train", {node: RecordDict() for node in scripts}, 1))


def test_each_fate_is_named(fast):
    replies = ask({1: "answer", 2: "raise", 3: "leave", 4: "silent", 5: "refuse"})
    assert sorted(replies) == [1, 2, 3, 4, 5]
    assert replies[1].message is not None and not replies[1].failure
    assert replies[2].failure == "it raised: boom in the client"
    assert "offline" in replies[3].failure
    assert replies[4].failure == "no answer within 0.2 s"
    assert "could not be sent" in replies[5].failure
    assert all(replies[node].message is None for node in (2, 3, 4, 5))


def test_an_answer_given_just_before_leaving_counts(fast):
    assert ask({1: "answer, leave"})[1].message is not None


def test_a_lost_node_does_not_cost_the_timeout(fast):
    began = time.monotonic()
    ask({1: "leave"}, timeout=30)
    assert time.monotonic() - began < 10


def test_flower_strategies_see_only_the_chosen_nodes():
    from flwr.app import ArrayRecord, ConfigRecord
    from flwr.serverapp.strategy import FedAvg

    strategy = FedAvg(min_train_nodes=1, min_evaluate_nodes=1, min_available_nodes=1)
    messages = strategy.configure_train(1, ArrayRecord(), ConfigRecord(), ChosenNodes([7, 3]))
    assert sorted(message.metadata.dst_node_id for message in messages) == [3, 7]
    with pytest.raises(RuntimeError, match="mailbox"):
        ChosenNodes([1]).push_messages([])


def test_the_local_grid_turns_exceptions_into_replies():
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()
    def train(message, context):
        if context.node_config["partition-id"] == 1:
            raise ValueError("no rows")
        return Message(RecordDict(), reply_to=message)

    replies = dict(Mailbox(LocalGrid(app, 2, {}), 5.0).ask("train", {1: RecordDict(), 2: RecordDict()}, 1))
    assert replies[1].message is not None
    assert replies[2].failure == "it raised: ValueError: no rows"
