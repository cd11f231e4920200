"""One seed, one result: whatever the order of replies, and however the verbs are called."""

from dataclasses import replace

import numpy as np
import pytest

import anomaly
from fedanomaly.core.arrays import digest
from fedanomaly.core.errors import UserError
from fedanomaly.detectors import registered
from fedanomaly.detectors.references import aggregations_of
from fedanomaly.federation.client_app import make_client_app
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.coordinator import Coordinator
from fedanomaly.federation.local_grid import LocalGrid
from fedanomaly.federation.observer import Observer
from fedanomaly.federation.plan import make_plan
from fedanomaly.federation.strategies import registered as strategies

BASE = RunConfig(data="wdbc", clients=4, rounds=3, partition="uneven", references=False)
TIMED = {"seconds", "bytes_up", "bytes_down", "clients"}


class ReversedGrid(LocalGrid):
    """Replies arrive in the opposite order."""

    def pull_messages(self, message_ids):
        return super().pull_messages(list(message_ids)[::-1])


def federate(config, grid_class=LocalGrid):
    grid = grid_class(make_client_app(), config.clients, config.to_run_config())
    coordinator = Coordinator(config, grid, Observer())
    return coordinator, coordinator.run()


def untimed(metrics):
    return {
        client: {name: value for name, value in values.items() if name not in TIMED}
        for client, values in metrics.items()
    }


WAYS = [(name, way) for name, cls in registered().items() for way in aggregations_of(cls)]


@pytest.mark.parametrize(("detector", "aggregation"), WAYS)
def test_every_aggregation_gives_the_same_bits_in_any_order(detector, aggregation):
    if detector == "gradient-boosting":
        pytest.importorskip("xgboost", reason="the extra 'boost' is not installed")
    config = replace(BASE, detector=detector, aggregation=aggregation)
    (one, first), (other, second) = federate(config), federate(config, ReversedGrid)
    assert digest(one.state) == digest(other.state)
    np.testing.assert_equal(untimed(first.evaluate), untimed(second.evaluate))


@pytest.mark.parametrize("strategy", sorted(strategies()))
def test_every_flower_strategy_averages_the_one_class_svm(strategy):
    config = replace(BASE, detector="one-class-svm", aggregation=strategy, clients=5)
    coordinator, record = federate(config)
    assert np.isfinite(record.evaluate["all"]["auroc"])
    again, _ = federate(config, ReversedGrid)
    assert digest(coordinator.state) == digest(again.state)


def test_strategies_differ():
    states = {
        strategy: digest(
            federate(replace(BASE, detector="one-class-svm", aggregation=strategy, clients=5))[0].state
        )
        for strategy in ("fedavg", "fedadam", "fedmedian", "krum", "fedprox")
    }
    assert len(set(states.values())) == len(states)


def test_anomaly_py_by_hand_is_what_the_engine_does():
    _, record = federate(BASE)
    by_hand = anomaly.walk_through(BASE)
    assert set(by_hand) == set(record.evaluate)
    for client, metrics in by_hand.items():
        for name in ("tp", "fp", "tn", "fn", "precision", "recall", "accuracy", "auroc"):
            np.testing.assert_equal(record.evaluate[client][name], metrics[name])


def test_the_seed_decides():
    assert digest(federate(BASE)[0].state) != digest(federate(replace(BASE, seed=7))[0].state)


def test_client_sampling_is_keyed_and_takes_the_share():
    asked = []

    class Witness(Observer):
        def asked(self, server_round, phase, clients):
            if server_round:
                asked.append((server_round, phase, clients))

    config = replace(BASE, clients=8, partition="iid", fraction_train=0.5, fraction_evaluate=0.25)
    for _ in range(2):
        grid = LocalGrid(make_client_app(), config.clients, config.to_run_config())
        Coordinator(config, grid, Witness()).run()
    half = len(asked) // 2
    assert asked[:half] == asked[half:]
    assert {len(clients) for _, phase, clients in asked if phase == "train"} == {4}
    assert {len(clients) for _, phase, clients in asked if phase == "evaluate"} == {2}
    assert len({clients for _, phase, clients in asked if phase == "train"}) > 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"detector": "isolation-tree"},
            "unknown detector 'isolation-tree' .did you mean 'isolation-forest'",
        ),
        (
            {"aggregation": "fedavg"},
            "averages weights, which this detector has none of.*union, .*local, pooled",
        ),
        ({"aggregation": "nystrom-mean"}, "is not known for it.*union"),
        ({"params": "trees=3"}, "isolation-forest has no parameter 'trees'.*n_estimators"),
    ],
)
def test_what_cannot_serve_is_refused_with_what_can(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_plan(replace(BASE, **changes))


def test_bulyan_needs_enough_clients():
    config = replace(BASE, detector="one-class-svm", aggregation="bulyan", clients=5, malicious_clients=1)
    with pytest.raises(UserError, match="at least 7 clients"):
        federate(config)
