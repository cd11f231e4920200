"""One round of weights: a Flower strategy plans it and averages what the clients answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.errors import FederationError
from fedanomaly.federation.exchange import Exchange
from fedanomaly.federation.mailbox import ChosenNodes
from fedanomaly.federation.protocol import TRAIN, Task
from fedanomaly.federation.spent import Spent
from fedanomaly.federation.strategies import WeightsStrategy, averages


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the notes Flower's strategies log; the observer is told all that matters."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def average_weights(
    exchange: Exchange,
    strategy: WeightsStrategy,
    task: Task,
    weights: Arrays,
    request: Arrays,
    state: Arrays,
) -> tuple[Arrays, Spent]:
    """Let a Flower strategy plan the round and average the clients' weights.

    Parameters
    ----------
    weights : dict of ndarray
        The current weights, float64.
    request : dict of ndarray
        What the step sends besides.

    Returns
    -------
    dict of ndarray
        The new weights.
    Spent
        What every client spent.
    """
    mean_only = averages(strategy)
    asked = task.participants[:1] if mean_only else task.participants  # it sends all the same
    nodes = ChosenNodes([exchange.roster.nodes[client] for client in asked])
    with _quiet():
        planned = list(strategy.configure_train(task.server_round, _plain(weights), ConfigRecord(), nodes))
    told = planned[0].content.config_records["config"]  # FedProx tells clients its proximal term here
    extra = {"proximal_mu": np.asarray(told["proximal-mu"])} if "proximal-mu" in told else {}
    common = {**request, **weights, **extra}
    requests = dict.fromkeys(task.participants, common)
    if mean_only:
        weighed, spent = exchange.means(task, requests, state)
    else:
        answers, spent = exchange.answers(task, requests, state)
        rows = spent.values[:, 0].astype(int).tolist()
        weighed = [(turn.client, arrays, n) for (turn, arrays), n in zip(answers, rows, strict=True)]
    replies = [_for_strategy(exchange.roster.nodes[client], arrays, n) for client, arrays, n in weighed]
    with _quiet():
        averaged, _ = strategy.aggregate_train(task.server_round, replies)
    if averaged is None:
        raise FederationError(f"round {task.server_round}: the strategy gave no weights for these clients")
    return {name: array.numpy() for name, array in averaged.items()}, spent


def _for_strategy(node: int, arrays: Arrays, rows: int) -> Message:
    """Return a reply that holds what Flower's strategies expect: one array record, one metric record."""
    content = RecordDict({"arrays": _plain(arrays), "metrics": MetricRecord({"num-examples": rows})})
    return Message(content, dst_node_id=node, message_type=TRAIN)


def _plain(arrays: Arrays) -> ArrayRecord:
    """Return arrays as Flower's strategies take them."""
    record = ArrayRecord()
    for name, array in arrays.items():  # one by one: given a dictionary, Flower copies each from its bytes
        record[name] = _Held(np.asarray(array))
    return record


_name = cache(str)  # of a dtype


class _Held(FlowerArray):
    """An array that a strategy in this process averages: to bytes and back would take longer than the sum."""

    _array: Array

    def __init__(self, array: Array) -> None:
        # at once: Flower looks at every attribute that is set by itself
        self.__dict__.update(
            dtype=_name(array.dtype), shape=array.shape, stype="numpy.ndarray", data=b"", _array=array
        )

    def numpy(self) -> Array:
        """Return a copy, as from bytes."""
        return self._array.copy()
