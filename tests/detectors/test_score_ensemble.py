"""`score-mean` and `score-min`: the clients' own models side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from fedanomaly.core.arrays import Arrays, digest
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.detectors import IsolationForest, LocalOutlierFactor, OneClassSVM, aggregations_of
from fedanomaly.detectors._score_ensemble import ScoreEnsemble, Standard
from fedanomaly.detectors._score_mean import SCORED_ROWS, ScoreMean, ScoreMin
from fedanomaly.detectors.base import Aggregation, Detector
from fedanomaly.detectors.contract import check_arrays, run_steps
from fedanomaly.detectors.references import Local

FOREST = IsolationForest(n_estimators=10, random_state=0)
LOF = LocalOutlierFactor(n_neighbors=5)


def parts(sizes: tuple[int, ...] = (40, 70, 25)) -> list[np.ndarray]:
    generator = keyed_generator(8, "parts")
    return [generator.normal(loc=3.0 * client, size=(size, 3)) for client, size in enumerate(sizes)]


def built(way: Aggregation, rows: list[np.ndarray], **options: Any) -> Detector:
    return way.blank().load(way.model(run_steps(way, rows, **options)))


@parametrize_with_checks([ScoreEnsemble(LOF), ScoreEnsemble(LOF, combine="min")])
def test_scikit_learns_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("combine", ["mean", "min"])
def test_an_ensemble_is_a_detector(combine: str) -> None:
    check_arrays(ScoreEnsemble(LOF, combine=combine))


def test_an_unknown_combination_is_named() -> None:
    with pytest.raises(ValueError, match="'mean' or 'min'"):
        ScoreEnsemble(LOF, combine="max").fit(parts()[0])


@pytest.mark.parametrize("detector", [FOREST, LOF])
def test_the_score_is_the_mean_or_the_highest_of_standardised_local_scores(detector: Detector) -> None:
    rows, new = parts(), np.concatenate(parts()) * 1.5
    local = Local(detector)
    state = run_steps(local, rows)
    scores = []
    for client, own in enumerate(rows):
        model = local.blank().load(local.personal_model(state, client))
        low, middle, high = np.quantile(model.score_samples(own), [0.25, 0.5, 0.75])
        scores.append((model.score_samples(new) - middle) / (high - low))
    np.testing.assert_allclose(built(ScoreMean(detector), rows).score_samples(new), np.mean(scores, axis=0))
    np.testing.assert_allclose(built(ScoreMin(detector), rows).score_samples(new), np.max(scores, axis=0))


def test_abnormal_is_what_every_client_finds_so() -> None:
    """Each client knows one of two groups of rows: both are normal for `score-min`, the gap is not."""
    generator = keyed_generator(1, "groups")
    groups = [generator.normal(loc=loc, size=(150, 2)) for loc in (-20.0, 20.0)]
    detector = built(ScoreMin(LOF), groups)
    known = np.concatenate(groups)
    strange = generator.normal(loc=0.0, size=(20, 2))
    assert (detector.predict(known) == 1).mean() > 0.9
    assert detector.score_samples(strange).max() < np.quantile(detector.score_samples(known), 0.05)
    assert (built(ScoreMean(LOF), groups).predict(known) == -1).all()  # one client always objects


def test_every_detector_has_both() -> None:
    for cls in (IsolationForest, LocalOutlierFactor, OneClassSVM):
        ways = aggregations_of(cls)
        assert ways["score-mean"] is ScoreMean and ways["score-min"] is ScoreMin
        assert (ScoreMean(cls()).ships_rows, Local(cls()).ships_rows) == (cls is not IsolationForest,) * 2


def test_clients_too_small_to_fit_contribute_nothing() -> None:
    rows = [*parts(), np.zeros((1, 3))]
    assert len(built(ScoreMean(LOF), rows).members_) == 3
    with pytest.raises(FederationError, match="no client has rows enough to fit lof on"):
        run_steps(ScoreMean(LOF), rows[3:])
    with pytest.raises(FederationError, match="no client has fitted"):
        ScoreMean(LOF).model({})


def test_rows_all_alike_have_finite_scores() -> None:
    rows = [np.ones((30, 3)), parts()[0]]
    for way in (ScoreMean(FOREST), ScoreMean(LOF), ScoreMin(OneClassSVM())):
        scores = built(way, rows).score_samples([[1.0, 1, 1], [50, 50, 50], [1e200, 0, 0]])
        assert np.isfinite(scores).all()


def test_many_rows_are_standardised_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedanomaly.detectors._score_mean.SCORED_ROWS", 100)
    rows = parts((2000,))
    sampled = built(ScoreMean(FOREST), rows)
    monkeypatch.undo()
    assert len(rows[0]) < SCORED_ROWS
    whole = built(ScoreMean(FOREST), rows)
    assert digest(sampled.members_[0].to_arrays()) == digest(whole.members_[0].to_arrays())
    one, other = sampled.standards_[0], whole.standards_[0]
    assert one != other and one.center == pytest.approx(other.center, abs=other.scale / 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30), st.floats(-1e300, 1e300))
def test_a_standard_is_finite_whatever_the_scores(scores: list[float], new: float) -> None:
    standard = Standard.of(np.array(scores))
    assert standard.scale > 0 and Standard.from_arrays(standard.to_arrays()) == standard
    assert np.isfinite(standard(np.array([*scores, new]))).all()
    shifted = Standard.of(np.array(scores) * 2 + 1)
    if standard.scale > 1e-6 * (1 + abs(standard.center)):
        np.testing.assert_allclose(
            shifted(np.array(scores) * 2 + 1), standard(np.array(scores)), rtol=1e-5, atol=1e-5
        )


def test_a_late_client_joins_the_ensemble() -> None:
    way = ScoreMean(FOREST)
    state: Arrays = {"rows": np.array([40, 70, 25]), "features": np.array(3)}
    for server_round, present in ((1, (0, 2)), (2, (0, 1, 2))):
        (step,) = way.round(server_round, 2)
        answers = []
        for client in present:
            turn = Turn(1, server_round, 2, client, (0, 1, 2))
            answer = step.answer(step.request(state), parts()[client], None, turn)
            step.check(state, answer, turn)
            answers.append((turn, answer))
        assert [bool(answer) for _, answer in answers] == [server_round == 1 or c == 1 for c in present]
        state = {**state, **step.combine(state, answers)}  # type: ignore[attr-defined]
    assert len(way.blank().load(way.model(state)).members_) == 3


def test_malformed_ensembles_are_refused() -> None:
    good = built(ScoreMean(LOF), parts()).to_arrays()
    bad: list[Arrays] = [{key: value for key, value in good.items() if key != name} for name in good]
    bad += [good | {"member-3/points": np.ones((3, 3))}, good | {"member-x/points": np.ones((3, 3))}]
    bad += [good | {"stranger": np.ones(1)}, good | {"member-0": np.ones(1)}, {}]
    bad += [good | {"scale": np.array([1.0, 0.0, 1.0])}, good | {"center": np.zeros(2)}]
    bad += [{"center": np.empty(0), "scale": np.empty(0)}]
    wide = LOF.fit(np.eye(5)).to_arrays()
    bad += [good | {f"member-1/{name}": array for name, array in wide.items()}]
    for arrays in bad:
        with pytest.raises(InvalidArrays):
            ScoreEnsemble(LOF).load(arrays)


@pytest.mark.parametrize("change", [
    {"center": None}, {"scale": None}, {"scale": np.zeros(1)}, {"center": np.zeros(2)},
    {"scale": np.array([np.inf])}, {"fitted_rows": np.array(81)}, {"model/points": None}, {"x": np.ones(1)},
])  # fmt: skip
def test_the_server_refuses_what_is_no_model_with_its_standard(change: dict[str, Any]) -> None:
    (step,) = ScoreMean(LOF).round(1, 1)
    state: Arrays = {"rows": np.array([40, 70, 25]), "features": np.array(3)}
    turn = Turn(1, 1, 1, 0, (0, 1, 2))
    answer = step.answer(step.request(state), parts()[0], None, turn)
    step.check(state, answer, turn)
    wrong = {name: array for name, array in {**answer, **change}.items() if array is not None}
    with pytest.raises(InvalidArrays):
        step.check(state, wrong, turn)
    with pytest.raises(InvalidArrays):
        step.answer({}, parts()[0], None, turn)
