"""Supervised references: labels and what is said of them; logistic regression by averaged weights."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression as Reference
from sklearn.metrics import average_precision_score
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from fedanomaly.core.arrays import Arrays, digest
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.detectors import GradientBoosting, LogisticRegression, Stacking, aggregations_of, registered
from fedanomaly.detectors._labels import ClassCounts, labels_of
from fedanomaly.detectors._logistic import LogisticModel
from fedanomaly.detectors.contract import run_steps
from fedanomaly.detectors.references import ShipRows
from fedanomaly.experiment.job import preflight
from fedanomaly.experiment.model_file import Model
from fedanomaly.federation.config import RunConfig

TURN = Turn(7, 1, 2, 0, (0, 1))
XGBOOST = importlib.util.find_spec("xgboost") is not None
BOTH = [
    LogisticRegression,
    pytest.param(
        GradientBoosting, marks=pytest.mark.skipif(not XGBOOST, reason="the extra 'boost' is missing")
    ),
]


def table(n: int = 600, key: str = "rows") -> tuple[np.ndarray, np.ndarray]:
    generator = keyed_generator(0, key)
    X = generator.normal(size=(n, 4)) * [1, 3, 1, 1]
    odds = 2.0 * X[:, 0] - X[:, 1] - 4.0
    return X, (generator.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int8)


def state_of(way: Any, parts: Any, labels: Any, rounds: int = 10) -> Arrays:
    return run_steps(way, parts, labels=labels, rounds=rounds)


@parametrize_with_checks([LogisticRegression(), *([GradientBoosting(n_estimators=10)] if XGBOOST else [])])
def test_scikit_learns_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_outlier_contamination,
        estimator_checks.check_classifier_data_not_an_array,
        estimator_checks.check_non_transformer_estimators_n_iter,
    ],
)
def test_checks_of_outlier_detectors_that_do_not_fit_without_labels_pass_too(cls: Any, check: Any) -> None:
    check(cls.__name__, cls())


def test_supervised_ones_say_so() -> None:
    marked = {name for name, cls in registered().items() if cls.supervised}
    assert {"logistic-regression", "gradient-boosting", "stacking"} <= marked
    assert not marked & {"isolation-forest", "one-class-svm", "lof", "hbos", "ensemble"}


# -- labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", BOTH)
def test_without_labels_there_is_nothing_to_fit(cls: Any) -> None:
    with pytest.raises(ValueError, match="is supervised: fit requires y"):
        cls().fit(table()[0])


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class_leave_all_rows_alike(cls: Any, label: int) -> None:
    X, _ = table(50)
    assert len(set(cls().fit(X, np.full(50, label)).score_samples(X))) == 1


@pytest.mark.parametrize(
    ("y", "message"),
    [([1, -1, 1], "-1 and 1 is what predict"), ([0, 1, np.nan], "NaN"), ([0, 1], "inconsistent")],
)
def test_other_labels_are_refused(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels_of("x", np.zeros((3, 1)), y)


@pytest.mark.parametrize("cls", BOTH)
def test_a_pooled_reference_is_a_fit_on_all_rows_and_labels(cls: Any) -> None:
    X, y = table()
    way = aggregations_of(cls)["pooled"](cls())
    state = state_of(way, np.array_split(X, 3), np.array_split(y, 3))
    assert digest(way.model(state)) == digest(cls().fit(X, y).to_arrays())


def test_shipped_labels_are_checked() -> None:
    X, y = table(40)
    step, state = ShipRows(LogisticRegression()), {"rows": np.array([40, 9]), "features": np.array(4)}
    good = step.answer({}, X, y, TURN)
    step.check(state, good, TURN)
    for wrong in ({"X": X}, {"X": X, "y": y[:39]}, {"X": X, "y": y * 2 + 2}, {"X": X, "y": y.astype(float)}):
        with pytest.raises(InvalidArrays):
            step.check(state, wrong, TURN)


@pytest.mark.parametrize("classes", [[0, 0], [90, 0], [-1, 5], [1, 2, 3]])
def test_class_counts_no_client_can_have_are_refused(classes: list[int]) -> None:
    with pytest.raises(InvalidArrays):
        ClassCounts().check({"rows": np.array([40, 9])}, {"classes": np.array(classes)}, TURN)


@pytest.mark.parametrize("name", ["logistic-regression", "stacking"])
def test_a_run_on_legitimate_rows_is_refused_at_once(name: str) -> None:
    with pytest.raises(UserError, match="labelled anomalies: it needs --train-on all"):
        preflight(RunConfig(detector=name, train_on="legitimate"))


# -- logistic regression ---------------------------------------------------------------------------


@pytest.mark.parametrize("class_weight", ["balanced", None])
def test_fit_is_scikit_learns(class_weight: str | None) -> None:
    X, y = table()
    ours = LogisticRegression(class_weight=class_weight, alpha=0.01).fit(X, y)
    theirs = Reference(C=1 / (0.01 * len(X)), class_weight=class_weight).fit(X, y)
    np.testing.assert_allclose(-ours.score_samples(X), theirs.decision_function(X), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("class_weight", ["balanced", None])
def test_many_rounds_of_one_client_reach_the_optimum(class_weight: str | None) -> None:
    X, y = table()
    detector = LogisticRegression(class_weight=class_weight, alpha=0.01)
    way = LogisticRegression.aggregations["fedavg"](detector)
    model = way.model(state_of(way, [X], [y], rounds=60))
    np.testing.assert_allclose(model["coef"], detector.fit(X, y).model_.coef, rtol=0.02, atol=0.005)


def test_fedavg_comes_close_to_pooled_also_where_a_client_has_one_class() -> None:
    X, y = table(1500)
    normal = np.flatnonzero(y == 0)[:500]
    rest = np.setdiff1d(np.arange(1500), normal)
    test_X, test_y = table(2000, "test")
    pooled = LogisticRegression().fit(X, y)
    for split in (np.array_split(np.arange(1500), 3), [normal, rest[:500], rest[500:]]):
        way = LogisticRegression.aggregations["fedavg"](LogisticRegression())
        state = state_of(way, [X[part] for part in split], [y[part] for part in split])
        federated = LogisticRegression().load(way.model(state))
        ap = [average_precision_score(test_y, -d.score_samples(test_X)) for d in (federated, pooled)]
        assert ap[0] > ap[1] - 0.02, ap


def test_without_an_anomaly_anywhere_the_weights_stay_zero() -> None:
    X, _ = table()
    way = LogisticRegression.aggregations["fedavg"](LogisticRegression())
    model = way.model(state_of(way, [X[:300], X[300:]], [np.zeros(300), np.zeros(300)]))
    assert not model["coef"].any() and not model["intercept"].any()


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(0, 10**6), st.floats(-6, 12), st.sampled_from([1e-6, 1e-3, 1.0]))
def test_local_steps_lower_the_objective_or_stop_at_the_ball(
    n: int, seed: int, size: float, alpha: float
) -> None:
    generator = keyed_generator(seed, "rows")
    X, y = generator.normal(size=(n, 3)) * 10**size, generator.integers(0, 2, n)
    shares = np.full(n, 1.0 / n)

    def loss(model: LogisticModel) -> float:
        t = np.where(y == 1, 1.0, -1.0)
        return float(np.logaddexp(0, -t * model.decision(X)) @ shares + alpha / 2 * (model.coef**2).sum())

    start = LogisticModel(np.zeros(3), 0.0)
    better = start.improved(X, y, shares, alpha)
    assert loss(better) <= loss(start) + 1e-9
    assert np.linalg.norm(better.coef) <= np.sqrt(2 * np.log(2) / alpha) * (1 + 1e-9)


def test_huge_values_score_finite() -> None:
    X, y = table(50)
    detector = LogisticRegression().fit(X * 1e200, y)
    assert np.isfinite(detector.score_samples(np.full((1, 4), 1e308))).all()


@pytest.mark.parametrize("bad", [{"alpha": 0}, {"class_weight": "heavy"}, {"contamination": 0.6}])
def test_parameters_out_of_range_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        LogisticRegression(**bad).fit(*table(50))


def test_labels_are_worth_something() -> None:
    """What the references are for: they beat an ensemble that never sees a label."""
    X, y = table(1500)
    test_X, test_y = table(2000, "test")
    blind = Stacking(members="isolation-forest+one-class-svm").fit(X)
    ap = [
        average_precision_score(test_y, -d.score_samples(test_X))
        for d in (blind, LogisticRegression().fit(X, y))
    ]
    assert ap[1] > ap[0] + 0.1


# -- a whole run -----------------------------------------------------------------------------------


def test_a_run_says_that_labels_were_used_and_its_model_file_keeps_the_members(tmp_path: Any) -> None:
    import fedanomaly

    options = {"rows": 1500, "clients": 3, "rounds": 2, "references": False, "out": str(tmp_path / "run")}
    run = fedanomaly.run(detector="stacking", params="members=hbos+isolation-forest,balance=none", **options)
    assert any("stacking is supervised" in warning for warning in run.summary["warnings"])
    assert "with their labels" in (tmp_path / "run" / "report.md").read_text()
    X, y = table()
    tuple_members = Stacking(members=("hbos", "isolation-forest")).fit(X, y)
    again = Model.from_arrays(Model(tuple_members, {}, ()).to_arrays())
    np.testing.assert_array_equal(again.score_samples(X), tuple_members.score_samples(X))
