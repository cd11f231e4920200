"""Ensembles: members in their own best way inside one aggregation, and their scores on one scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.utils.estimator_checks import parametrize_with_checks

from fedanomaly.core.arrays import Arrays, digest, load_arrays, save_arrays, under_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.core.steps import AdditiveStep, CollectStep
from fedanomaly.detectors import DETECTORS, Ensemble, Stacking
from fedanomaly.detectors._members import MEMBERS, names_of
from fedanomaly.detectors._prefixed import Part
from fedanomaly.detectors._score_statistics import ScoreMoments, ScoreTable, ScoreTables
from fedanomaly.detectors.contract import run_steps

PAIR = "isolation-forest+one-class-svm"
RULES = ["z-mean", "rank-mean", "vote", "weighted"]


def rows(n: int = 300, key: str = "rows") -> np.ndarray:
    X = keyed_generator(0, key).normal(size=(n, 3))
    X[: n // 30] *= 6
    return X


def built(parts: Any, **params: Any) -> Ensemble:
    way = Ensemble.aggregations["members"](Ensemble(**params))
    return Ensemble(**params).load(way.model(run_steps(way, parts)))


@parametrize_with_checks([Ensemble(), Ensemble(members=PAIR, rule="vote")])
def test_scikit_learns_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


# -- members ---------------------------------------------------------------------------------------


def test_the_default_members_are_registered() -> None:
    assert names_of(MEMBERS) == ("isolation-forest", "hbos", "one-class-svm", "lof")


@pytest.mark.parametrize("members", [PAIR, PAIR.replace("+", ", "), PAIR.split("+"), tuple(PAIR.split("+"))])
def test_members_come_as_text_or_sequence(members: Any) -> None:
    assert list(Ensemble(members=members).fit(rows(60)).members_) == PAIR.split("+")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("lof", "two or more"),
        ("lof+lof", "two or more"),
        ("lof+no-such", "unknown detector"),
        ("lof+logistic-regression", "logistic-regression cannot be a member: it needs labels"),
        ("lof+ensemble", "it has members itself"),
        (3, "names of detectors"),
        (["lof", 3], "names of detectors"),
    ],
)
def test_impossible_members_are_named(members: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble(members=members).fit(rows(60))


def test_a_member_that_only_averages_weights_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    svm = DETECTORS.get("one-class-svm")
    monkeypatch.setattr(svm, "aggregations", {k: way for k, way in svm.aggregations.items() if way.weights})
    with pytest.raises(
        ValueError, match="one-class-svm cannot be a member: clients build it by averaged weights only"
    ):
        Ensemble(members=PAIR).fit(rows(60))


@pytest.mark.parametrize(
    "bad",
    [{"rule": "best"}, {"weights": "1+2+3"}, {"weights": (0, 0)}, {"weights": "x"}, {"contamination": 0.7}],
)
def test_parameters_out_of_range_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Ensemble(members=PAIR, **bad).fit(rows(60))


# -- one aggregation inside another ----------------------------------------------------------------


def test_a_member_is_what_its_own_aggregation_builds() -> None:
    parts = np.array_split(rows(), 3)
    way = Ensemble.aggregations["members"](Ensemble(members=PAIR))
    state = run_steps(way, parts)
    for part in way.parts:
        alone = part.way.model(run_steps(part.way, parts))
        assert digest(alone) == digest(part.model(state)), part.prefix


def test_steps_stay_of_their_kind_under_names_of_their_own() -> None:
    way = Ensemble.aggregations["members"](Ensemble())
    steps = [*way.setup(), *way.round(1, 2)]
    for part in way.parts:
        own = [*part.way.setup(), *part.way.round(1, 2)]
        inside = [step for step in steps if step.name.startswith(part.prefix)]
        assert [step.name for step in inside] == [f"{part.prefix}/{step.name}" for step in own]
        for outer, inner in zip(inside, own, strict=True):
            assert isinstance(outer, AdditiveStep) == isinstance(inner, AdditiveStep)
            assert isinstance(outer, CollectStep) == isinstance(inner, CollectStep)


def test_weights_cannot_run_inside() -> None:
    svm = DETECTORS.get("one-class-svm")
    way = next(way for way in svm.aggregations.values() if way.weights)
    with pytest.raises(TypeError, match="averages weights"):
        Part("member/x", way(svm())).round(1, 1)


def test_a_round_without_members_steps_has_none() -> None:
    way = Ensemble.aggregations["members"](Ensemble(members="lof+one-class-svm"))
    assert way.round(1, 3) and not way.round(2, 3)


# -- scores ----------------------------------------------------------------------------------------


def test_each_rule_is_its_formula() -> None:
    X, new = rows(), rows(40, "new") * 2
    fitted = {rule: Ensemble(members=PAIR, rule=rule, weights=(3, 1)).fit(X) for rule in RULES}
    members = fitted["vote"].members_.values()
    train, test = (np.stack([-m.score_samples(part) for m in members], axis=1) for part in (X, new))
    z = np.clip((test - train.mean(axis=0)) / train.std(axis=0), -3, 8)
    np.testing.assert_allclose(fitted["z-mean"].member_scores(new), z, atol=1e-9)
    np.testing.assert_allclose(-fitted["z-mean"].score_samples(new), z.mean(axis=1), atol=1e-9)
    np.testing.assert_allclose(-fitted["weighted"].score_samples(new), z @ [0.75, 0.25], atol=1e-9)
    votes = (z >= 3).sum(axis=1)
    assert set(votes) == {0, 1, 2}
    np.testing.assert_array_equal(np.floor(-fitted["vote"].score_samples(new) * 3 - 1e-9), votes)
    exact = np.stack([[(train[:, m] < v).mean() for v in test[:, m]] for m in (0, 1)], axis=1)
    np.testing.assert_allclose(-fitted["rank-mean"].score_samples(new), exact.mean(axis=1), atol=0.02)


def test_ranks_of_the_training_rows_are_their_ranks() -> None:
    raw = keyed_generator(3, "raw").standard_cauchy(size=(2000, 1))
    ranks = ScoreTable.of(raw).ranks(raw)[:, 0]
    np.testing.assert_allclose(ranks, (rankdata(raw[:, 0]) - 0.5) / 2000, atol=0.03)
    assert bool((np.diff(ranks[np.argsort(raw[:, 0])]) >= 0).all())


def test_disagreement_is_zero_among_like_minded_and_largest_where_members_differ() -> None:
    detector = Ensemble(members=PAIR).fit(rows())
    X = rows(50, "new")
    expected = detector.table_.ranks(detector._raw(X)).std(axis=1)
    np.testing.assert_array_equal(detector.disagreement(X), expected)
    assert expected.min() >= 0 and expected.max() <= 0.5
    assert detector.mean_disagreement(X) == pytest.approx(expected.mean())
    table = detector.table_
    detector.table_ = replace(table, location=np.array([-1e6, 1e6]))  # one alarmed, the other content
    assert detector.disagreement(X) == pytest.approx(np.full(50, 0.5))
    detector.table_ = replace(table, location=np.array([1e6, 1e6]))
    assert detector.disagreement(X) == pytest.approx(np.zeros(50))


def test_agreement_is_the_correlation_over_training_rows() -> None:
    X = rows()
    detector = Ensemble(members=PAIR).fit(X)
    np.testing.assert_allclose(detector.agreement(), np.corrcoef(detector.member_scores(X).T), atol=1e-9)


def test_a_member_that_contradicts_the_others_weighs_nothing() -> None:
    z = keyed_generator(1, "z").normal(size=(500, 1))
    detector = Ensemble(members="isolation-forest+one-class-svm+hbos", rule="weighted").fit(rows(60))
    detector.table_ = ScoreTable.of(np.hstack([z, z, -z]))
    np.testing.assert_allclose(detector.member_weights(), [0.5, 0.5, 0.0], atol=1e-9)


def test_where_nobody_agrees_all_weigh_alike() -> None:
    z = keyed_generator(1, "z").normal(size=(500, 1))
    detector = Ensemble(members=PAIR, rule="weighted").fit(rows(60))
    detector.table_ = ScoreTable.of(np.hstack([z, -z]))
    np.testing.assert_array_equal(detector.member_weights(), [0.5, 0.5])


# -- built by clients ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_statistics_are_those_of_all_rows_whoever_holds_them(rule: str) -> None:
    X = rows()
    detector = built([X[:250], X[250:251], X[251:]], members="hbos+one-class-svm", rule=rule)
    raw = np.stack([-m.score_samples(X) for m in detector.members_.values()], axis=1)
    pooled = ScoreTable.of(raw)
    np.testing.assert_allclose(detector.table_.location, pooled.location, rtol=1e-9)
    np.testing.assert_allclose(detector.table_.spread, pooled.spread, rtol=1e-9)
    assert int(np.abs(detector.table_.counts - pooled.counts).sum()) <= 4  # a value on the edge of a bin
    np.testing.assert_allclose(detector.table_.products, pooled.products, rtol=1e-9, atol=1e-9)
    assert detector.score_samples(X[:10]).mean() < np.quantile(detector.score_samples(X), 0.1)


def test_a_saved_model_scores_the_same_to_the_bit(tmp_path: Any) -> None:
    detector = built(np.array_split(rows(), 2), members=PAIR)
    save_arrays(tmp_path / "model.npz", detector.to_arrays())
    loaded = Ensemble(members=PAIR).load(load_arrays(tmp_path / "model.npz"))
    np.testing.assert_array_equal(loaded.score_samples(rows()), detector.score_samples(rows()))


def test_a_model_of_other_members_is_refused() -> None:
    arrays = Ensemble(members=PAIR).fit(rows(60)).to_arrays()
    with pytest.raises(InvalidArrays):
        Ensemble(members=PAIR + "+hbos").load(arrays)
    wide = Ensemble(members=PAIR).fit(np.hstack([rows(60), rows(60)])).to_arrays()
    mixed = {name: wide.get(name) if "svm" in name else array for name, array in arrays.items()}
    with pytest.raises(InvalidArrays, match="number of features"):
        Ensemble(members=PAIR).load(mixed)


TURN = Turn(7, 1, 1, 0, (0, 1))


@pytest.mark.parametrize("change", [
    {"count": np.array([99])}, {"count": np.array([-1])}, {"count": np.array([1], np.int32)},
    {"squares": np.array([1.0, 1e-9])}, {"sum": np.array([1e40, 0.0])}, {"sum": np.zeros(3)},
])  # fmt: skip
def test_moments_no_scores_can_have_are_refused(change: Arrays) -> None:
    way = Ensemble.aggregations["members"](Ensemble(members=PAIR))
    step, state = ScoreMoments(way.unfitted, way.parts), {"rows": np.array([40, 9])}
    good = {"count": np.array([40]), "sum": np.array([4.0, 8.0]), "squares": np.array([2.0, 2.0])}
    step.check(state, good, TURN)
    with pytest.raises(InvalidArrays):
        step.check(state, good | change, TURN)


def test_tables_that_count_other_rows_are_refused() -> None:
    way = Ensemble.aggregations["members"](Ensemble(members=PAIR))
    state = run_steps(way, np.array_split(rows(), 2))
    step = ScoreTables(way.unfitted, way.parts)
    good = step.answer(step.request(state), rows()[:150], None, TURN)
    step.check(state, good, TURN)
    more = good["counts"].copy()
    more[0, 7] += 1
    lopsided = good["products"].copy()
    lopsided[0, 1] += 1.0
    for change in ({"counts": more}, {"counts": good["counts"] * 3}, {"products": lopsided},
                   {"products": good["products"] * 1e3}):  # fmt: skip
        with pytest.raises(InvalidArrays):
            step.check(state, good | change, TURN)


def test_state_of_a_member_is_its_own() -> None:
    way = Ensemble.aggregations["members"](Ensemble(members=PAIR))
    state = run_steps(way, np.array_split(rows(), 2))
    for part in way.parts:
        inner = part.state(state)
        assert not any(name.startswith("member/") for name in inner)
        assert set(under_prefix(state, part.prefix)) | {"rows", "features"} == set(inner)


@pytest.mark.parametrize("kind", [Ensemble, Stacking])
def test_an_ensemble_whose_member_holds_rows_says_so(kind: Any) -> None:
    assert kind(members="isolation-forest+lof").holds_rows
    assert not kind(members="isolation-forest+hbos").holds_rows
