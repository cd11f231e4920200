"""Hostile clients do harm, in the right format, keyed; whoever is not hostile is left alone."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.data import register_memory_table
from fedanomaly.detectors import IsolationForest
from fedanomaly.detectors._forest_union import GrowTrees
from fedanomaly.experiment.references import run_local
from fedanomaly.federation import attacks
from fedanomaly.federation.attacks import (
    ATTACKS,
    check_attack,
    hostile_clients,
    make_attacks,
    registered,
)
from fedanomaly.federation.client import load_partition
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.observer import Observer
from fedanomaly.federation.plan import make_plan


def toy():
    """Return 2,400 rows around zero and 80 frauds that cluster not far from them."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(2400, 6)), rng.normal(2.5, 0.6, size=(80, 6))])
    return X, np.repeat([0, 1], [2400, 80])


HONEST = RunConfig(
    data=register_memory_table(*toy()), clients=8, rounds=1, partition="iid", references=False, seed=3
)


class Events(Observer):
    def __init__(self):
        self.events = []

    def event(self, event):
        self.events.append(event)


def auroc(config):
    watch = Events()
    _, record = run_local(config, watch)
    return record.evaluate["all"]["auroc"], watch.events


def attacked(attack, share=0.25, **options):
    return replace(HONEST, attack=attack, attackers=share, **options)


def test_who_is_hostile_depends_on_the_seed_and_grows_with_the_share():
    config = replace(HONEST, clients=20, attack="noise")
    sets = [set(hostile_clients(replace(config, attackers=share))) for share in (0.0, 0.1, 0.25, 0.5)]
    assert [len(one) for one in sets] == [0, 2, 5, 10]
    assert all(small <= large for small, large in pairwise(sets))
    assert len({hostile_clients(replace(config, seed=seed)) for seed in range(6)}) > 1
    assert hostile_clients(HONEST) == ()


@pytest.mark.parametrize("attack", ["noise", "flood", "inflate", "flood:0.2+inflate:3"])
def test_only_training_rows_of_hostile_clients_change_and_always_alike(attack):
    config = attacked(attack)
    for client in range(config.clients):
        honest, now = load_partition(HONEST, client), load_partition(config, client)
        assert now.test is honest.test and now.calibration is honest.calibration
        if client in hostile_clients(config):
            assert not np.array_equal(now.train.X, honest.train.X) and np.isfinite(now.train.X).all()
            attacks._poisoned.cache_clear()
            assert np.array_equal(load_partition(config, client).train.X, now.train.X)
        else:
            assert now is honest


def test_strength_is_the_share_or_the_factor():
    client = hostile_clients(attacked("noise"))[0]
    honest = load_partition(HONEST, client).train
    assert len(load_partition(attacked("inflate:4"), client).train) == 4 * len(honest)
    half = load_partition(attacked("noise:0.5"), client).train
    kept = (half.X == honest.X).all(axis=1).mean()
    assert 0.2 < kept < 0.8
    assert np.array_equal(load_partition(attacked("noise:0"), client).train.X, honest.X)


def test_flooding_copies_frauds_of_the_training_fold():
    config = attacked("flood:1", 0.5)
    hostile = hostile_clients(config)
    known = np.concatenate(
        [part.X[part.y == 1] for part in (load_partition(HONEST, c).train for c in hostile)]
    )
    poisoned = load_partition(config, hostile[0]).train
    scale = load_partition(HONEST, hostile[0]).train.X.std(axis=0)
    nearest = [np.abs((known - row) / scale).max(axis=1).min() for row in poisoned.X]
    assert max(nearest) < 0.06 and not poisoned.y.any()


@pytest.mark.parametrize("n_features", [3, 300])
@pytest.mark.parametrize("n_rows", [1, 2, 5, 40, 700])
@pytest.mark.parametrize("name", ["forged-trees", "inverted-trees"])
@pytest.mark.parametrize("known", [0, 4])
def test_forged_trees_pass_the_server_s_check(name, n_rows, n_features, known):
    rng = np.random.default_rng(n_rows)
    X, frauds = rng.normal(size=(n_rows, n_features)), rng.normal(4, 1, size=(known, n_features))
    step = GrowTrees(IsolationForest(n_estimators=6))
    state = {"rows": np.array([n_rows, 20]), "features": np.array(n_features)}
    turn = Turn(1, 1, 1, 0, (0, 1))
    answer = step.answer(step.request(state), X, None, turn)
    forged = ATTACKS.get(name)(1.0).answer(step, answer, X, frauds, turn)
    step.check(state, forged, turn)
    assert len(forged["psi"]) == len(answer["psi"])
    honest = ATTACKS.get(name)(0.0).answer(step, answer, X, frauds, turn)
    assert all(np.array_equal(honest[array], answer[array]) for array in answer)


def test_always_normal_trees_say_the_same_of_every_row_and_inverted_ones_spare_the_frauds():
    rng = np.random.default_rng(0)
    X, frauds = rng.normal(size=(500, 4)), rng.normal(6, 1, size=(20, 4))
    step = GrowTrees(IsolationForest(n_estimators=50))
    state, turn = {"rows": np.array([500]), "features": np.array(4)}, Turn(1, 1, 1, 0, (0,))
    answer = step.answer(step.request(state), X, None, turn)

    def scores(name):
        forged = ATTACKS.get(name)(1.0).answer(step, answer, X, frauds, turn)
        detector = IsolationForest().load(forged)
        return detector.score_samples(X), detector.score_samples(frauds)

    own, hidden = scores("forged-trees")
    assert np.ptp(np.concatenate([own, hidden])) < 1e-6 and own[0] > -0.35
    own, hidden = scores("inverted-trees")
    assert hidden.min() > np.median(own) + 0.3


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        ("inverted-trees", {}),
        ("flood:1+inflate", {}),
        ("scale+inflate", {"detector": "one-class-svm", "aggregation": "nystrom-hinge"}),
        ("flood:1+inflate", {"detector": "one-class-svm", "aggregation": "nystrom-mean"}),
    ],
)
def test_attacks_hurt(attack, options):
    honest, _ = auroc(replace(HONEST, **options))
    hurt, _ = auroc(attacked(attack, **options))
    assert honest > 0.9 and hurt < honest - 0.15


def test_weights_out_of_bounds_are_refused_by_name():
    config = attacked("scale:50", detector="one-class-svm", aggregation="nystrom-hinge")
    value, events = auroc(config)
    assert {int(event.client) for event in events} == set(hostile_clients(config))
    assert all("'w' holds values" in event.what or "norm of w" in event.what for event in events)
    assert value > 0.9


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attack": "nosie"}, "unknown attack 'nosie' .did you mean 'noise'"),
        ({"attack": "noise:-1"}, "share of the rows replaced must be at least 0"),
        ({"attack": "scale"}, "--attack scale would change nothing: isolation-forest built by union"),
        ({"attack": "inverted-trees", "detector": "lof"}, "would change nothing: lof"),
        ({"attack": "noise+forged-trees", "aggregation": "pooled"}, "forged-trees would change nothing"),
    ],
)
def test_impossible_attacks_are_refused(options, sentence):
    config = replace(HONEST, **options)
    with pytest.raises(UserError, match=sentence):
        check_attack(config, make_plan(config))


def test_flooding_without_a_fraud_is_refused():
    attack = make_attacks("flood")[0][1]
    train = load_partition(HONEST, 0).train
    with pytest.raises(UserError, match="hold none among their training rows"):
        attack.rows(train, np.empty((0, train.X.shape[1])), np.random.default_rng(0))


def test_every_attack_says_what_it_is():
    assert {"noise", "flood", "forged-trees", "inverted-trees", "inflate", "scale"} <= set(registered())
    assert all(cls.title and cls.strength_is for cls in registered().values())
