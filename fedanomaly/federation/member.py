"""What one client does when it is asked, whoever carries the question: the verbs, timed and declared."""

from __future__ import annotations

import time
from typing import Any

from fedanomaly.core.arrays import Arrays, under_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors import Detector
from fedanomaly.federation import client as verbs
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.layout import layout
from fedanomaly.federation.protocol import EVALUATE, TRAIN, Declared, Task
from fedanomaly.federation.roster import introduction
from fedanomaly.federation.scoring import info_of


class Member:
    """The client side of every engine.

    Parameters
    ----------
    work : module
        Where ``load_partition``, ``build``, ``train`` and ``evaluate`` are defined:
        :mod:`fedanomaly.federation.client`, or a module of one's own that replaces some of them.
    """

    def __init__(self, work: Any = verbs) -> None:
        self.work = work
        self._request: Arrays | None = None
        self._model: Detector | None = None

    def answer(
        self, kind: str, config: RunConfig, client: int, task: Task, request: Arrays
    ) -> tuple[Declared, Arrays]:
        """Return what ``client`` says of itself and the arrays it answers with.

        Clients in one process share ``request`` and the model in it, and do not modify them.

        Raises
        ------
        InvalidArrays
            If the run has no such client, or the request cannot be answered.
        """
        started = time.perf_counter()
        if not 0 <= client < config.clients:
            raise InvalidArrays(f"this is client {client}, but the run has clients 0 to {config.clients - 1}")
        rows = self.work.load_partition(config, client)
        if kind == TRAIN:
            arrays: Arrays = self.work.train(config, rows, task, request, client)
        elif kind == EVALUATE:
            arrays = self.work.evaluate(config, rows, self._loaded(config, request), request, client)
        else:
            table = layout(config).table
            arrays = introduction(info_of(client, rows), table.feature_names, table.fingerprint)
        return Declared(client, len(rows.train.y), time.perf_counter() - started), arrays

    def _loaded(self, config: RunConfig, request: Arrays) -> Detector:
        """Return the model in ``request``; clients that are sent the same one load it once."""
        if request is not self._request or self._model is None:
            self._model = self.work.build(config).load(under_prefix(request, "model"))
            self._request = request
        return self._model
