"""Looking at many answers at once: what it vouches for, each check accepts; and sound answers do pass."""

from dataclasses import astuple, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.core.answers import Answers, Batch
from fedanomaly.core.arrays import digest
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.core.histograms import Histograms
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import WeightsStep
from fedanomaly.detectors._forest_arrays import forest_from_arrays, forest_to_arrays
from fedanomaly.detectors._forest_join import _MOST_PLACES, joined_arrays, joined_forest
from fedanomaly.detectors._trees import Forest
from fedanomaly.federation import RunConfig
from fedanomaly.federation import client as verbs
from fedanomaly.federation.combine import combine
from fedanomaly.federation.observer import ClientInfo
from fedanomaly.federation.protocol import ROUND, SCALING, SETUP, Task
from fedanomaly.federation.scores import ClientScores, ScoreBatch, client_scores
from fedanomaly.federation.scoring import info_of
from fedanomaly.prepare.standard import MomentsScaling

CLIENTS = tuple(range(6))
SUMS = RunConfig(
    data="wdbc", clients=6, rounds=1, detector="one-class-svm", aggregation="nystrom-mean", scaling="standard"
)
TREES = RunConfig(data="wdbc", clients=6, rounds=1, partition="uneven", params="n_estimators=40")
NOBODYS = RunConfig(data="wdbc", clients=6, rounds=1, params="n_estimators=3")  # some clients grow no tree
BINS = RunConfig(data="wdbc", clients=6, rounds=1, detector="hbos")
WEIGHTS = replace(SUMS, aggregation="nystrom-hinge")
LEAVES, BOXES = (replace(TREES, aggregation=name) for name in ("recount", "count"))
WHOLE = [SUMS, TREES, NOBODYS, BINS]  # every step of which looks at all answers at once


@cache
def exchanges(config):
    """Return step, state and answers of every exchange of a run, and the last state."""
    rows = [verbs.load_partition(config, client) for client in CLIENTS]
    plan, seen = verbs.build(config), []
    state = {
        "rows": np.array([len(part.train) for part in rows]),
        "features": np.array(rows[0].train.X.shape[1]),
    }
    for phase, number in ((SCALING, 0), (SETUP, 0), (ROUND, 1)):
        for index, step in enumerate(plan.steps(phase, number)):
            task = Task(phase, index, number, CLIENTS)
            request = plan.request(step, state)
            answers = [
                (task.turn(config.seed, 1, client), verbs.train(config, rows[client], task, request, client))
                for client in CLIENTS
            ]
            seen.append((step, state, Answers.of(answers)))
            if isinstance(step, WeightsStep):
                state = {**state, **step.finish(state, answers[0][1])}
            else:
                state = combine(step, state, answers)
    return seen, state, rows


@pytest.mark.parametrize("config", [*WHOLE, WEIGHTS, LEAVES, BOXES])
def test_sound_answers_pass_at_once(config):
    seen = exchanges(config)[0]
    for step, state, answers in seen if config in WHOLE else seen[-1:]:
        assert step.all_sound(state, answers), step.name
        assert step.all_sound(state, answers[:1]), step.name


def damaged(arrays, draw):
    """Return arrays with one thing changed, at random: a value, dtype, length or name."""
    name = draw(st.sampled_from(sorted(arrays)))
    array = arrays[name].copy()
    how = draw(
        st.sampled_from(["value", "value", "value", "value", "dtype", "shorter", "axis", "gone", "more"])
    )
    if how == "value" and array.size:
        at = draw(st.integers(0, array.size - 1))
        extremes = [0, 1, 2, 255, -1, 10**6, -(10**6), 2**53 + 2, 1e200, -1e-300, np.nan, np.inf]
        with np.errstate(all="ignore"):
            if draw(st.booleans()):
                wanted = np.float64(draw(st.sampled_from(extremes)))
                array.reshape(-1)[at : at + 1] = np.array([wanted]).astype(array.dtype)
            else:
                raw = array.reshape(-1).view(np.uint8)
                raw[draw(st.integers(0, len(raw) - 1))] ^= 1 << draw(st.integers(0, 7))
    elif how == "dtype":
        array = array.astype(draw(st.sampled_from(["f8", "f4", "i8", "i4", "u2", ">f8", ">f4", ">i8", "S8"])))
    elif how == "shorter" and array.ndim:
        array = array[:-1]
    elif how == "axis":
        array = array[None]
    elif how == "gone":
        return {other: arrays[other] for other in arrays if other != name}
    elif how == "more":
        return {**arrays, "stranger": array}
    return {**arrays, name: array}


def refusal(check):
    try:
        check()
    except InvalidArrays as error:
        return str(error)
    return None


@settings(deadline=None, max_examples=400)
@given(st.data(), st.sampled_from([*WHOLE, WEIGHTS, LEAVES, BOXES]))
def test_no_answer_is_vouched_for_that_its_check_refuses(data, config):
    step, state, answers = data.draw(st.sampled_from(exchanges(config)[0]))
    client = data.draw(st.sampled_from(CLIENTS))
    turn, arrays = answers[client]
    broken = damaged(arrays, data.draw)
    refused = refusal(lambda: step.check(state, broken, turn))
    together = [*answers[:client], (turn, broken), *answers[client + 1 :]]
    assert not (step.all_sound(state, Answers.of(together)) and refused), refused
    assert not (step.all_sound(state, Answers.of([(turn, broken)])) and refused), refused


def test_a_subclass_with_a_check_of_its_own_is_not_vouched_for_by_its_parent():
    class Strict(MomentsScaling):
        name = "strict"

        def check(self, state, answer, turn):
            raise InvalidArrays("never")

    (_, state, answers), *_ = exchanges(SUMS)[0]
    assert MomentsScaling().all_sound(state, answers)
    assert not Strict().all_sound(state, answers)


@pytest.mark.parametrize("config", [TREES, NOBODYS])
def test_trees_of_all_clients_are_joined_as_one_by_one(config):
    step, _, answers = exchanges(config)[0][-1]
    parts = [arrays for _, arrays in answers]
    joined = joined_forest(Batch(parts).columns)
    apart = Forest.join([forest_from_arrays(part, min_trees=0) for part in parts])
    assert step.name == "grow-trees"
    assert digest(forest_to_arrays(joined)) == digest(forest_to_arrays(apart))
    assert joined.counts.dtype == apart.counts.dtype
    assert digest(joined_arrays(Batch(parts).columns)) == digest(forest_to_arrays(apart))
    assert joined_forest(Batch([parts[0], {**parts[1], "n_features": np.array(7)}]).columns) is None
    assert joined_forest(Batch(parts * (_MOST_PLACES // max(1, joined.nodes.size) + 1)).columns) is None


# -- scores -------------------------------------------------------------------------------------------


@cache
def scored(balance):
    config = RunConfig(
        data="synthetic", rows=6_000, clients=6, rounds=1, params="n_estimators=24", **dict(balance)
    )
    _, state, rows = exchanges(config)
    plan = verbs.build(config)
    model = plan.load(plan.aggregation.model(state))
    answers = [
        (Turn(1, 1, 1, client, CLIENTS), verbs.evaluate(config, rows[client], model, state, client))
        for client in CLIENTS
    ]
    infos = {client: info_of(client, rows[client]) for client in CLIENTS}
    return Answers.of(answers), infos, np.array([astuple(info)[1:] for info in infos.values()])


BALANCES = [(), (("balance", "smote"), ("balance_where", "calibration"))]


def same(one, other):
    assert one.clients == other.clients
    assert one.knows_amounts == other.knows_amounts
    for name in other.parts:
        for got, wanted in zip(one.parts[name].each(), other.parts[name].each(), strict=True):
            np.testing.assert_array_equal(got.keys, wanted.keys)
            np.testing.assert_array_equal(got.counts, wanted.counts)
    np.testing.assert_array_equal(one.amounts.counts, other.amounts.counts)


@pytest.mark.parametrize("balance", BALANCES)
def test_scores_read_at_once_are_those_read_one_by_one(balance):
    answers, infos, sizes = scored(balance)
    each = {turn.client: ClientScores.from_arrays(arrays, infos[turn.client]) for turn, arrays in answers}
    batch = ScoreBatch.read(answers, sizes)
    assert batch is not None
    assert batch.knows_amounts == [True] * 6
    same(batch, ScoreBatch.of(each))
    halves = [ScoreBatch.read(answers[:2], sizes), ScoreBatch.read(answers[2:], sizes)]
    same(ScoreBatch.joined(halves), batch)


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(BALANCES))
def test_no_scores_are_read_that_one_by_one_are_refused(data, balance):
    answers, infos, sizes = scored(balance)
    client = data.draw(st.sampled_from(CLIENTS))
    turn, arrays = answers[client]
    broken = damaged(arrays, data.draw)
    refused = refusal(lambda: ClientScores.from_arrays(broken, infos[client]))
    together = [*answers[:client], (turn, broken), *answers[client + 1 :]]
    batch = ScoreBatch.read(Answers.of(together), sizes)
    assert batch is None or refused is None, refused
    if batch is not None:
        same(
            batch,
            ScoreBatch.of({t.client: ClientScores.from_arrays(a, infos[t.client]) for t, a in together}),
        )


def test_histograms_side_by_side_take_empty_ones():
    parts = [Histogram.of(values) for values in ([], [1.0, 1.0, 2.0], [], [0.5], [])]
    beside = Histograms.of(parts)
    assert len(beside) == 5
    np.testing.assert_array_equal(beside.totals, [0, 3, 0, 1, 0])
    assert [part.counts.tolist() for part in beside.each()] == [part.counts.tolist() for part in parts]
    assert beside.rising
    assert not Histograms(beside.keys[[1, 0, 2]], beside.counts, beside.bins).rising
    assert len(Histograms.joined([])) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-np.inf, -2.5, -0.0, 0.0, 1e-300, 7.0]))))
def test_classes_are_counted_apart(drawn):
    classes = np.array([number for number, _ in drawn], dtype=np.int64)
    values = np.array([value for _, value in drawn])
    together = Histograms.of_classes(values, classes, 6)
    assert together.rising
    for number, found in enumerate(together.each()):
        wanted = Histogram.of(values[classes == number])
        assert found.keys.tolist() == wanted.keys.tolist()
        assert found.counts.tolist() == wanted.counts.tolist()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([-2.0, -1.0, 3.5]), st.floats(0, 1e6)), max_size=20))
def test_money_lies_in_the_bins_of_the_frauds(drawn):
    fraud, scores, amounts = (
        (np.array(column) for column in zip(*drawn, strict=True)) if drawn else [np.empty(0)] * 3
    )
    fraud = fraud.astype(bool)
    answer = client_scores([np.array([0.5]), scores], [np.array([False]), 2 + fraud], amounts)
    info = ClientInfo(0, 1, 0, 1, 0, len(scores), int(fraud.sum()))
    read = ClientScores.from_arrays(answer, info)
    wanted = Histogram.of(scores[fraud], weights=amounts[fraud])
    assert read.amount.keys.tolist() == wanted.keys.tolist()
    assert read.amount.counts.tolist() == wanted.counts.tolist()
