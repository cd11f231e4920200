"""What one client does with its rows, in five verbs; every engine runs these and nothing else.

``anomaly.py`` shows them in order on one page.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.detectors import Detector
from fedanomaly.federation.attacks import poisoned, tampered
from fedanomaly.federation.combine import combine
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.layout import layout_key, layout_of
from fedanomaly.federation.plan import Plan, make_plan, scaled
from fedanomaly.federation.protocol import SCALING, Task
from fedanomaly.federation.scores import BALANCED_CLASSES, TEST_CLASSES, client_scores
from fedanomaly.federation.shelf import Shelf
from fedanomaly.prepare import Balanced, ClientRows, balance, client_rows

_SHELF: Shelf[str, int, ClientRows] = Shelf(1 << 30)
"""Rows of clients that are asked again: in an engine with many clients in one process, of all that fit."""


def load_partition(config: RunConfig, client: int) -> ClientRows:
    """Return the rows client number ``client`` holds, split into training, calibration and test.

    Raises
    ------
    UserError
        If the data cannot be read or the client would have no training row.
    """
    split = _split(config)
    if (kept := _SHELF.get(split, client)) is None:
        held = layout_of(layout_key(config))
        kept = client_rows(held.table, held.indices[client], held.folds, client, config.train_on)
        _SHELF.put(
            split, client, kept, sum(part.nbytes for part in (kept.train, kept.calibration, kept.test))
        )
    return poisoned(config, kept, client)


@lru_cache(maxsize=32)
def _split(config: RunConfig) -> str:
    """Return all that decides the clients' rows, as a text: it is hashed once, not for every answer."""
    return repr((layout_key(config), config.train_on))


def forget_rows() -> None:
    """Give the memory of all clients' rows back; whoever is asked again reads them again."""
    _SHELF.clear()


def build(config: RunConfig) -> Plan:
    """Return the detector and the steps by which the clients build it together."""
    return make_plan(config)


def train(config: RunConfig, rows: ClientRows, task: Task, request: Arrays, client: int) -> Arrays:
    """Return the client's contribution to one step: named arrays, never rows unless the step says so.

    Parameters
    ----------
    config : RunConfig
        The run.
    rows : ClientRows
        What :func:`load_partition` returned.
    task : Task
        Which step of which round.
    request : dict of ndarray
        What the server sent for the step.
    client : int
        Partition id.
    """
    plan = build(config)
    turn = task.turn(config.seed, config.rounds, client)
    X, y = rows.train.X, rows.train.y
    if task.phase != SCALING:
        X = scaled(X, request)
        if config.balance != "none" and config.balance_where == "train":
            balanced = _balanced(config, X, y, client, "train")
            X, y = balanced.X, balanced.y
    step = plan.step(task)
    return tampered(config, step, request, step.answer(request, X, y, turn), X, turn)


aggregate = combine


def evaluate(config: RunConfig, rows: ClientRows, model: Detector, request: Arrays, client: int) -> Arrays:
    """Return the histograms of the client's scores on rows that no training step has seen.

    They are all the server needs for the threshold (calibration rows) and for every metric (test
    rows); they add up over clients. The scores of rows balanced by SMOTE come apart from those of real rows.
    """
    calibration, test = rows.calibration, rows.test
    X_calibration = scaled(calibration.X, request)
    scores_calibration = _scores(model, X_calibration)
    scores_test = _scores(model, scaled(test.X, request))
    comparable = _standardiser(scores_calibration) if build(config).aggregation.personal else _as_is
    scores_calibration, scores_test = comparable(scores_calibration), comparable(scores_test)
    scores, classes = [scores_calibration, scores_test], [calibration.y == 1, TEST_CLASSES + (test.y == 1)]
    if config.balance != "none" and config.balance_where == "calibration":
        balanced = _balanced(config, X_calibration, calibration.y, client, "calibration")
        scores.append(comparable(_scores(model, balanced.X)))
        classes.append(BALANCED_CLASSES + (balanced.y == 1))
    return client_scores(scores, classes, None if test.amount is None else np.abs(test.amount))


def _balanced(config: RunConfig, X: Array, y: Array, client: int, where: str) -> Balanced:
    seed = int(keyed_generator(config.seed, "balance", client, where).integers(2**31 - 1))
    return balance(config.balance, X, y, ratio=config.balance_ratio, seed=seed)


def _scores(model: Detector, X: Array) -> Array:
    return model.score_samples(X) if len(X) else np.empty(0)


def _as_is(scores: Array) -> Array:
    return scores


def _standardiser(calibration: Array) -> Callable[[Array], Array]:
    """Return what makes the scores of a client's own model comparable with other clients' scores.

    Median and interquartile range come from the client's own calibration rows; the order of rows
    within a client does not change.
    """
    if not len(calibration):
        return _as_is
    low, middle, high = np.quantile(calibration, [0.25, 0.5, 0.75])
    width = (high - low) or 1.0
    return lambda scores: (scores - middle) / width
