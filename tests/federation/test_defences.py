"""Defences restore what attacks took, name whom they leave out, and leave honest federations alone."""

from dataclasses import replace

import numpy as np
import pytest
from test_attacks import HONEST, Events, attacked, auroc

from fedanomaly.core.arrays import digest
from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.experiment.references import run_local
from fedanomaly.federation.attacks import hostile_clients
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.defences import Bound, Defences, registered
from fedanomaly.federation.observer import Observer


@pytest.mark.parametrize(
    ("attack", "defence", "options"),
    [
        ("inverted-trees", "screen", {}),
        ("flood:1+inflate", "bound+screen", {}),
        ("scale+inflate", "bound", {"detector": "one-class-svm", "aggregation": "nystrom-hinge"}),
        ("flood:1+inflate", "screen", {"detector": "one-class-svm", "aggregation": "nystrom-mean"}),
        ("flood:1+inflate", "screen", {"detector": "mahalanobis"}),
    ],
)
def test_defences_restore(attack, defence, options):
    honest, _ = auroc(replace(HONEST, **options))
    hurt, _ = auroc(attacked(attack, **options))
    restored, events = auroc(attacked(attack, defence=defence, **options))
    assert restored > honest - 0.06 and restored > hurt + 0.5 * (honest - hurt)
    assert {int(event.client) for event in events} == set(hostile_clients(attacked(attack)))


def test_flowers_median_restores_weights():
    options = {"detector": "one-class-svm", "rounds": 2}
    hurt, _ = auroc(attacked("scale+inflate", aggregation="fedavg", **options))
    restored, _ = auroc(attacked("scale+inflate", aggregation="fedmedian", **options))
    assert restored > 0.9 > hurt + 0.15


def test_bounded_histograms_still_count_the_same_rows_in_every_feature():
    config = attacked("noise+inflate:7.3", detector="ecod", defence="bound")
    value, events = auroc(config)
    assert value > 0.9 and len(events) == len(hostile_clients(config))


@pytest.mark.parametrize("detector", ["isolation-forest", "mahalanobis", "hbos"])
def test_an_honest_federation_is_left_alone(detector):
    config = replace(HONEST, detector=detector)
    watch = Events()
    plain, _ = run_local(config, Observer())
    defended, _ = run_local(replace(config, defence="bound+screen"), watch)
    assert watch.events == []
    states = [
        {name: array for name, array in one.state.items() if name != "shares"} for one in (plain, defended)
    ]
    assert digest(states[0]) == digest(states[1])


def test_everybody_left_out_is_an_event_with_a_reason():
    _, events = auroc(attacked("inverted-trees", defence="screen"))
    assert [event.phase for event in events] == ["train"] * 2
    assert all("its trees are unlike the other clients'" in event.what for event in events)
    assert all("modified z-score" in event.what for event in events)
    assert {event.action for event in events} == {"its answer was left out"}


def test_screening_keeps_as_many_answers_as_a_run_needs():
    _, events = auroc(attacked("inverted-trees", defence="screen", min_clients=7))
    assert [event.action for event in events] == [
        "its answer was left out",
        "kept: too few answers would remain",
    ]


def test_the_screen_remembers_the_trees_of_earlier_rounds():
    _, events = auroc(attacked("inverted-trees", defence="screen", rounds=4, params="n_estimators=160"))
    assert {event.server_round for event in events} >= {3, 4}
    assert {int(event.client) for event in events} == set(hostile_clients(attacked("noise")))


def test_shares_are_bounded_by_the_median_client():
    rows = np.array([100, 0, 120, 80, 5000])
    assert Bound(2.0).shares(rows).tolist() == [100, 0, 120, 80, 220]
    assert Bound(1.0).shares(np.zeros(3, np.int64)).tolist() == [0, 0, 0]


def test_a_bounded_sum_is_scaled_down_and_stays_whole():
    defences = Defences(RunConfig(defence="bound"))
    rows = np.array([10, 10, 10, 200])
    answers = [
        (Turn(1, 1, 1, client, (0, 1, 2, 3)), {"count": np.array([n]), "sum": np.array([n * 3.0])})
        for client, n in enumerate(rows)
    ]
    *small, (_, large) = defences.weighed(rows, answers)
    assert [int(answer["count"][0]) for _, answer in small] == [10, 10, 10]
    assert large["count"].tolist() == [20] and large["count"].dtype == np.int64
    assert large["sum"] == pytest.approx([60.0])


def test_bounds_are_told():
    config = attacked("inflate", defence="bound")
    _, events = auroc(config)
    assert {int(event.client) for event in events} == set(hostile_clients(config))
    assert all("many times the median client's" in event.what for event in events)
    assert all("weighs as if it had" in event.action for event in events)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"defence": "scren"}, "unknown defence 'scren' .did you mean 'screen'"),
        ({"defence": "bound:0.5"}, "times the median number of rows must be at least 1"),
        ({"defence": "screen", "clients": 3}, "compares at least 4 clients, got 3"),
    ],
)
def test_impossible_defences_are_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        Defences(replace(HONEST, **options))


def test_every_defence_says_what_it_is_and_that_it_sees_answers():
    assert {"bound", "screen"} <= set(registered())
    assert all(cls.title and cls.strength_is and cls.sees_answers for cls in registered().values())
