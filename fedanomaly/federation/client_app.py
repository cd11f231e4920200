"""The Flower ClientApp: unpack, let the member answer, pack. The same for every engine with messages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedanomaly.federation import client as verbs
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.member import Member
from fedanomaly.federation.protocol import EVALUATE, INTRODUCE, TRAIN, Task, bundle_of, content_of
from fedanomaly.federation.wire import pack, unpack


class VerbsApp(ClientApp):
    """A ClientApp that says which verbs it runs, so that the local engine need not send it messages."""

    def __init__(self, work: Any) -> None:
        super().__init__()
        self.work = work


def make_client_app(work: Any = verbs) -> VerbsApp:
    """Return the app of one organization.

    Parameters
    ----------
    work : module
        Where ``load_partition``, ``build``, ``train`` and ``evaluate`` are defined:
        :mod:`fedanomaly.federation.client`, or a module of one's own that replaces some of them.
    """
    app = VerbsApp(work)

    def reply(kind: str, message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        task = Task.from_content(message.content)
        request = unpack(bundle_of(message.content))
        declared, arrays = Member(work).answer(kind, config_of(context), client, task, request)
        return Message(content_of(declared.facts(), pack(arrays)), reply_to=message)

    @app.query()
    def introduce(message: Message, context: Context) -> Message:
        return reply(INTRODUCE, message, context)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return reply(TRAIN, message, context)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        return reply(EVALUATE, message, context)

    return app


def config_of(context: Context) -> RunConfig:
    """Return the run's configuration as this client sees it: its own data path wins."""
    config = RunConfig.from_mapping(context.run_config, "the run configuration")
    path = context.node_config.get("data-path")
    return replace(config, data_path=str(path)) if path else config
