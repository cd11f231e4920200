"""The Flower ClientApp: unpack, let the five verbs work, pack. The same for every engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedanomaly.core.arrays import Arrays, under_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.federation import client as verbs
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.layout import layout
from fedanomaly.federation.protocol import Declared, Task, bundle_of, content_of
from fedanomaly.federation.roster import introduction
from fedanomaly.federation.scoring import info_of
from fedanomaly.federation.wire import pack, unpack


def make_client_app(work: Any = verbs) -> ClientApp:
    """Return the app of one organization.

    Parameters
    ----------
    work : module
        Where ``load_partition``, ``build``, ``train`` and ``evaluate`` are defined:
        :mod:`fedanomaly.federation.client`, or a module of one's own that replaces some of them.
    """
    app = ClientApp()

    @app.query()
    def introduce(message: Message, context: Context) -> Message:
        def answer(config: RunConfig, client: int, task: Task) -> Arrays:
            rows = work.load_partition(config, client)
            table = layout(config).table
            return introduction(info_of(client, rows), table.feature_names, table.fingerprint)

        return _reply(work, message, context, answer)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        def answer(config: RunConfig, client: int, task: Task) -> Arrays:
            request = unpack(bundle_of(message.content))
            return dict(work.train(config, work.load_partition(config, client), task, request, client))

        return _reply(work, message, context, answer)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        def answer(config: RunConfig, client: int, task: Task) -> Arrays:
            request = unpack(bundle_of(message.content))
            model = work.build(config).load(under_prefix(request, "model"))
            return dict(work.evaluate(config, work.load_partition(config, client), model, request, client))

        return _reply(work, message, context, answer)

    return app


def config_of(context: Context) -> RunConfig:
    """Return the run's configuration as this client sees it: its own data path wins."""
    config = RunConfig.from_mapping(context.run_config, "the run configuration")
    path = context.node_config.get("data-path")
    return replace(config, data_path=str(path)) if path else config


def _reply(
    work: Any, message: Message, context: Context, answer: Callable[[RunConfig, int, Task], Arrays]
) -> Message:
    started = time.perf_counter()
    config = config_of(context)
    client = int(context.node_config["partition-id"])
    if not 0 <= client < config.clients:
        raise InvalidArrays(f"this is client {client}, but the run has clients 0 to {config.clients - 1}")
    arrays = answer(config, client, Task.from_content(message.content))
    rows = len(work.load_partition(config, client).train.y)
    declared = Declared(client, rows, time.perf_counter() - started)
    return Message(content_of(declared.facts(), pack(arrays)), reply_to=message)
