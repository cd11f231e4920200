"""The leak check of a run: the same data, partition and state, looked at from above."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.core.keyed import Turn
from fedanomaly.detectors import Detector
from fedanomaly.evaluation import leaks
from fedanomaly.federation.client import load_partition
from fedanomaly.federation.combine import combine
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.layout import layout
from fedanomaly.federation.plan import make_plan, scaled
from fedanomaly.prepare import row_hashes


def audit(
    config: RunConfig, state: Arrays, model: Detector | None, threshold_scores: Histogram | None
) -> list[dict[str, Any]]:
    """Return what every leak check found, one dictionary a check.

    Parameters
    ----------
    config : RunConfig
        The run.
    state : dict of ndarray
        The server's state after the last round: all that ever left the clients and was kept.
    model : Detector or None
        The global model; None where every client keeps its own.
    threshold_scores : Histogram or None
        The scores the threshold was chosen on.
    """
    held = layout(config)
    clients = [client for client in range(config.clients) if state["rows"][client]]
    rows = {client: load_partition(config, client) for client in clients}
    everything = row_hashes(held.table.X)
    of_client = [everything[held.indices[client]] for client in clients]
    anomalies = everything[held.table.y == 1]
    of_anomalies = [everything[part[held.table.y[part] == 1]] for part in (held.indices[c] for c in clients)]
    test = [row_hashes(part.test.X) for part in rows.values()]
    findings = [
        leaks.train_in_test([row_hashes(part.train.X) for part in rows.values()], test),
        leaks.shared_rows(of_client, everything),
        leaks.copied_anomalies(of_anomalies, anomalies),
        leaks.synthetic_in_test(test, everything),
    ]
    training = np.concatenate([part.train.X for part in rows.values()])
    if "scaling/center" in state and not (config.dp_epsilon or config.defence):  # else it differs on purpose
        findings.append(_scaler(config, state, training, rows[clients[0]].train.y[:0]))
    if model is not None and threshold_scores is not None:
        folds = {
            name: Histogram.sum(
                [
                    Histogram.of(model.score_samples(scaled(fold.X, state)))
                    for fold in (getattr(part, name) for part in rows.values())
                    if len(fold.y)
                ]
            )
            for name in ("calibration", "test")
        }
        findings.append(leaks.threshold_on_test("calibration", threshold_scores, **folds))
    findings.append(leaks.rows_in_payload(state, scaled(training, state)))
    return [asdict(finding) for finding in findings]


def _scaler(config: RunConfig, state: Arrays, training: Any, no_labels: Any) -> leaks.Finding:
    """Fit the scaling once more, on the training rows in one place, and compare."""
    step = make_plan(config).scaling
    if step is None:
        raise AssertionError("a state with scaling has a scaling step")
    turn = Turn(config.seed, 0, config.rounds, 0, (0,))
    rows = {"rows": np.asarray([len(training)])}
    again = combine(step, rows, [(turn, step.answer(step.request(rows), training, None, turn))])
    names = ("scaling/center", "scaling/scale")
    return leaks.scaler_on_test(
        {name: state[name] for name in names},
        {name: again[name] for name in names},
        fitted_rows=float(state["rows"].sum()),
        training_rows=float(len(training)),
    )
