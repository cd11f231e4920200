"""Where a federated result stands: between what a client reaches alone and what pooling all rows gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from flwr.clientapp import ClientApp

from fedanomaly.evaluation import metrics_of, paysim_rule
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.coordinator import Coordinator
from fedanomaly.federation.layout import layout
from fedanomaly.federation.local_engine import local_engine
from fedanomaly.federation.observer import Metrics, Observer, RoundRecord, Scores
from fedanomaly.federation.plan import make_plan
from fedanomaly.prepare import TEST

NAMES = ("local", "pooled")


@dataclass(frozen=True)
class Reference:
    """One reference on the same test rows.

    Attributes
    ----------
    metrics : dict of str to dict of str to float
        By client and ``"all"``.
    scores : Scores
        For curves.
    """

    metrics: Mapping[str, Metrics]
    scores: Scores


def one_rule(config: RunConfig) -> Metrics | None:
    """Return what PaySim's one rule reaches on the test rows, or None for other data."""
    held = layout(config)
    names = held.table.feature_names
    if not {"type_TRANSFER", "type_CASH_OUT", "oldbalanceOrg", "newbalanceOrig"} <= set(names):
        return None
    test = np.unique(np.concatenate([part[held.folds[part] == TEST] for part in held.indices]))
    columns = {name: held.table.X[test, names.index(name)] for name in names}
    return metrics_of(paysim_rule(columns), held.table.y[test])


def run_local(
    config: RunConfig,
    observer: Observer,
    client_app: ClientApp | None = None,
    workers: int = 1,
    exact_bytes: bool | None = None,
) -> tuple[Coordinator, RoundRecord]:
    """Run a federation on the local engine and return its coordinator and last round."""
    with local_engine(config, client_app, workers=workers, exact_bytes=exact_bytes) as post:
        coordinator = Coordinator(config, post, observer)
        return coordinator, coordinator.run()


def reference(
    config: RunConfig, name: str, client_app: ClientApp | None = None, workers: int = 1
) -> Reference:
    """Compute ``local`` or ``pooled`` for a run, on the local engine and the same rows.

    An aggregation may name the way in which its rows are pooled: that of ``exact`` gives the same
    forest to the bit. Without attack, defence and private noise: what could be reached. Where the
    run's aggregation is itself that reference, this repeats it.
    """
    way = make_plan(config).aggregation.pooled_by if name == "pooled" else name
    alone = replace(
        config,
        aggregation=way,
        rounds=1,
        references=False,
        fraction_train=1.0,
        fraction_evaluate=1.0,
        min_clients=0,
        attack="",
        defence="",
        dp_epsilon=0.0,
    )
    _, record = run_local(alone, Observer(), client_app, workers)
    return Reference(record.evaluate, record.scores)
