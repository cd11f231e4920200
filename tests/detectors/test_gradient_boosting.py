"""Gradient boosting: xgboost grows, plain arrays travel, the server averages and believes nothing."""

from __future__ import annotations

import builtins
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from fedanomaly.core.arrays import Arrays, digest, load_arrays, save_arrays
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.detectors import GradientBoosting
from fedanomaly.detectors._boosted_trees import BoostedTrees
from fedanomaly.detectors.contract import run_steps

xgboost = pytest.importorskip("xgboost", reason="the extra 'boost' is not installed")

TURN = Turn(7, 1, 2, 0, (0, 1))


def table(n: int = 600, key: str = "rows") -> tuple[np.ndarray, np.ndarray]:
    generator = keyed_generator(0, key)
    X = generator.normal(size=(n, 4)) * [1, 3, 1, 1]
    odds = 2.0 * X[:, 0] - X[:, 1] - 4.0
    return X, (generator.random(n) < 1 / (1 + np.exp(-odds))).astype(np.int8)


def state_of(way: Any, parts: Any, labels: Any, rounds: int = 10) -> Arrays:
    return run_steps(way, parts, labels=labels, rounds=rounds)


def test_scores_are_xgboosts_margins() -> None:
    X, y = table()
    detector = GradientBoosting(n_estimators=30).fit(X, y)
    data = xgboost.DMatrix(X.astype(np.float32), label=y)
    params = {"objective": "binary:logistic", "max_depth": 6, "learning_rate": 0.1, "max_delta_step": 5.0,
              "base_score": 0.5, "tree_method": "hist", "nthread": 1}  # fmt: skip
    theirs = xgboost.train(params, data, 30).predict(data, output_margin=True)
    np.testing.assert_allclose(-detector.score_samples(X), theirs, rtol=1e-4, atol=1e-5)
    assert len(set(theirs.round(5))) > 50


def test_bagging_comes_close_to_pooled_and_averages_by_rows() -> None:
    X, y = table(1500)
    test_X, test_y = table(2000, "test")
    split = np.split(np.arange(1500), [900, 1300])
    way = GradientBoosting.aggregations["bagging"](GradientBoosting())
    state = state_of(way, [X[part] for part in split], [y[part] for part in split], rounds=5)
    federated = GradientBoosting().load(way.model(state))
    assert len(federated.trees_) == 3 * 100
    np.testing.assert_allclose(sorted(set(federated.trees_.share)), [200 / 1500, 400 / 1500, 900 / 1500])
    pooled = GradientBoosting().fit(X, y)
    ap = [average_precision_score(test_y, -d.score_samples(test_X)) for d in (federated, pooled)]
    assert ap[0] > ap[1] - 0.03, ap


def test_one_client_in_one_round_is_a_fit() -> None:
    X, y = table()
    way = GradientBoosting.aggregations["bagging"](GradientBoosting(n_estimators=20))
    model = way.model(state_of(way, [X], [y], rounds=1))
    assert digest(model) == digest(GradientBoosting(n_estimators=20).fit(X, y).to_arrays())


def test_clients_of_one_class_are_no_obstacle() -> None:
    X, y = table()
    way = GradientBoosting.aggregations["bagging"](GradientBoosting(n_estimators=10))
    parts, labels = [X[y == 0], X[y == 1], X[:1]], [y[y == 0], y[y == 1], y[:1]]
    scores = GradientBoosting().load(way.model(state_of(way, parts, labels, rounds=3))).score_samples(X)
    assert np.isfinite(scores).all()


def test_a_saved_model_scores_the_same_and_needs_no_xgboost(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = table()
    detector = GradientBoosting(n_estimators=10).fit(X, y)
    save_arrays(tmp_path / "model.npz", detector.to_arrays())
    _hide_xgboost(monkeypatch)
    loaded = GradientBoosting().load(load_arrays(tmp_path / "model.npz"))
    np.testing.assert_array_equal(loaded.score_samples(X), detector.score_samples(X))


def test_without_xgboost_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _hide_xgboost(monkeypatch)
    with pytest.raises(UserError, match=r"needs xgboost.*pip install 'fedanomaly\[boost\]'"):
        GradientBoosting().fit(*table(40))


def _hide_xgboost(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def hidden(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "xgboost":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", hidden)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_any_damage_to_the_nodes_is_refused_or_harmless(seed: int) -> None:
    """Whatever the arrays say, a row ends in a leaf of its own tree: the compiled loop checks nothing."""
    generator = keyed_generator(seed, "damage")
    arrays = GradientBoosting(n_estimators=3, max_depth=3).fit(*table(60)).to_arrays()
    feature = arrays["feature"].copy()
    for at in generator.integers(0, len(feature), 2):
        feature[at] = generator.integers(-1, 4)
    try:
        trees = BoostedTrees.from_arrays(arrays | {"feature": feature})
    except InvalidArrays:
        return
    left = np.where(feature == -1, 0, 2 * trees._inner_before() + 1)
    start = np.cumsum(trees.sizes) - trees.sizes
    place = np.arange(len(feature)) - np.repeat(start, trees.sizes)
    inner = feature >= 0
    assert (left[inner] > place[inner]).all()
    assert (left[inner] + 1 < np.repeat(trees.sizes, trees.sizes)[inner]).all()
    assert np.isfinite(trees.odds(table(20)[0])).all()


@pytest.mark.parametrize("change", [
    {"sizes": np.array([1, 1, 1])}, {"sizes": np.array([2**62, 2**62, 2**62])}, {"n_features": np.array(2)},
    {"share": np.array([1.0, 1.0, 2.0])}, {"n_features": np.array(0)}, {"stranger": np.zeros(1)},
])  # fmt: skip
def test_malformed_models_are_refused(change: Arrays) -> None:
    arrays = GradientBoosting(n_estimators=3).fit(*table(200)).to_arrays()
    with pytest.raises(InvalidArrays):
        GradientBoosting().load(arrays | change)


def test_the_server_refuses_what_no_client_can_have_grown() -> None:
    X, y = table(200)
    detector = GradientBoosting(n_estimators=4, max_depth=3)
    (step,) = GradientBoosting.aggregations["bagging"](detector).round(1, 2)
    state = {"rows": np.array([200, 9]), "features": np.array(4)}
    good = BoostedTrees.from_arrays(step.answer({}, X, y, TURN))
    step.check(state, good.to_arrays(), TURN)
    deep = GradientBoosting(n_estimators=2, max_depth=6).fit(X, y).trees_
    loud = np.where(good.feature < 0, 100 * good.value, good.value).astype(np.float32)
    more = BoostedTrees.join([(good, 1.0), (good, 1.0)])
    for trees in (deep, more, replace(good, value=loud), replace(good, share=good.share / 2),
                  replace(good, n_features=5), BoostedTrees.none(4)):  # fmt: skip
        with pytest.raises(InvalidArrays):
            step.check(state, trees.to_arrays(), TURN)


@pytest.mark.parametrize(
    "bad", [{"n_estimators": 0}, {"n_estimators": 10**6}, {"max_depth": 17}, {"learning_rate": 0}]
)
def test_parameters_out_of_range_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        GradientBoosting(**bad).fit(*table(50))
