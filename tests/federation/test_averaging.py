"""Neighbours' weights are averaged before a strategy sees them, where it only wants their mean."""

from dataclasses import replace

import numpy as np
import pytest

from fedanomaly.core.arrays import digest
from fedanomaly.federation import RunConfig, averaging
from fedanomaly.federation.coordinator import Coordinator
from fedanomaly.federation.local_engine import local_engine
from fedanomaly.federation.observer import Observer
from fedanomaly.federation.strategies import averages, make_strategy
from fedanomaly.privacy.sums import MOST_BLOCKS

FEW = RunConfig(
    data="wdbc",
    clients=6,
    rounds=2,
    partition="uneven",
    detector="one-class-svm",
    params="n_components=8",
    scaling="standard",
    references=False,
    join_timeout=0.5,
)
MANY = replace(FEW, clients=70, data="synthetic", rows=3500, partition="quantity")
AVERAGING = ("fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad")


def state_after(config, workers=1):
    with local_engine(config, workers=workers) as post:
        coordinator = Coordinator(config, post, Observer())
        coordinator.run()
    return coordinator.state


@pytest.fixture
def seen(monkeypatch):
    """Return a list of what the strategy sees of each client: node, weights, rows."""
    replies, make = [], averaging._for_strategy

    def look(node, arrays, rows):
        replies.append((node, arrays, rows))
        return make(node, arrays, rows)

    monkeypatch.setattr(averaging, "_for_strategy", look)
    return replies


@pytest.mark.parametrize("aggregation", AVERAGING)
def test_few_clients_are_what_flower_alone_makes_of_them_to_the_bit(aggregation, monkeypatch):
    config = replace(FEW, aggregation=aggregation)
    ours = state_after(config)
    assert averages(make_strategy(aggregation, config, config.clients))
    monkeypatch.setattr(averaging, "averages", lambda strategy: False)
    assert digest(ours) == digest(state_after(config))


@pytest.mark.parametrize("aggregation", AVERAGING)
def test_many_clients_are_what_flower_alone_makes_of_them_within_rounding(aggregation, monkeypatch):
    config = replace(MANY, aggregation=aggregation)
    ours = state_after(config)
    assert digest(ours) == digest(state_after(config, workers=2))
    monkeypatch.setattr(averaging, "averages", lambda strategy: False)
    alone = state_after(config)
    for name, array in ours.items():
        np.testing.assert_allclose(array, alone[name], rtol=1e-7, atol=1e-9, err_msg=name)


def test_blocks_weigh_as_much_as_their_clients_together(seen):
    state = state_after(replace(MANY, aggregation="fedavg", rounds=1))
    assert 1 < len(seen) <= MOST_BLOCKS
    assert sum(rows for _, _, rows in seen) == state["rows"].sum()
    assert max(rows for _, _, rows in seen) > max(state["rows"])
    assert [node for node, _, _ in seen] == sorted({node for node, _, _ in seen})


@pytest.mark.parametrize(
    "special",
    [
        {"aggregation": "fedmedian"},
        {"aggregation": "krum"},
        {"aggregation": "fedavg", "defence": "bound"},
        {"aggregation": "fedavg", "scaling": "grid", "dp_epsilon": 5.0},
    ],
)
def test_who_looks_at_each_client_sees_each(seen, special):
    state_after(replace(MANY, rounds=1, **special))
    assert len(seen) == MANY.clients
