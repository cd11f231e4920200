"""The isolation forest: a whole scikit-learn estimator, as good as scikit-learn's, alone and as a union."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest as Reference
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.detectors import IsolationForest
from fedanomaly.detectors._forest_arrays import forest_from_arrays
from fedanomaly.detectors._forest_union import GrowTrees, Union, apportion, trees_this_round
from fedanomaly.detectors.contract import run_steps


@parametrize_with_checks([IsolationForest(), IsolationForest(max_samples=0.5, n_jobs=2)])
def test_scikit_learn_contract(estimator, check) -> None:
    check(estimator)


def rows_and_labels(n: int = 1200, n_features: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    y = (rng.random(n) < 0.05).astype(int)
    return rng.normal(size=(n, n_features)) * np.where(y, 2.2, 1.0)[:, None], y


# -- in one place -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64"]
)
def test_every_numeric_dtype_is_taken(dtype: str) -> None:
    X = np.random.default_rng(0).integers(0, 100, size=(50, 3))
    expected = IsolationForest(random_state=0).fit(X.astype(np.float64)).score_samples(X)
    assert np.array_equal(IsolationForest(random_state=0).fit(X.astype(dtype)).score_samples(X), expected)


@pytest.mark.parametrize(
    ("max_samples", "wanted"),
    [
        ("auto", 256),
        (1, 1),
        (2, 2),
        (16, 16),
        (256, 256),
        (1000, 1000),
        (4096, 1500),
        (0.001, 1),
        (0.3, 450),
        (1.0, 1500),
    ],
)
def test_every_sample_size_is_taken(max_samples, wanted: int) -> None:
    X, _ = rows_and_labels(1500, 3)
    detector = IsolationForest(n_estimators=20, max_samples=max_samples, random_state=0).fit(X)
    assert detector.max_samples_ == wanted
    scores = detector.score_samples(X)
    assert ((scores <= 0) & (scores >= -1)).all()
    if wanted > 2:
        assert detector.score_samples([[50.0] * 3]) < np.quantile(scores, 0.1)


def test_a_share_is_capped_at_4096_rows() -> None:
    assert IsolationForest(max_samples=1.0).sample_size(10**6) == 4096


def test_a_single_row_tells_nothing() -> None:
    detector = IsolationForest(random_state=0).fit([[1.0, 2.0]])
    assert detector.score_samples([[1.0, 2.0], [9.0, 9.0]]).tolist() == [-0.5, -0.5]


@pytest.mark.parametrize("X", [np.ones((30, 3)), np.repeat([[1.0, 2.0]], 300, axis=0)])
def test_equal_rows_score_alike(X: np.ndarray) -> None:
    scores = IsolationForest(random_state=0).fit(X).score_samples(X)
    assert np.allclose(scores, -0.5)


def test_constant_features_are_never_split_on() -> None:
    X = np.zeros((400, 300))
    X[:, 289] = np.random.default_rng(0).normal(size=400)
    detector = IsolationForest(n_estimators=30, random_state=0).fit(X)
    nodes = detector.forest_.nodes
    assert set((nodes[nodes != 0x7F800000 << 32] & 0xFFFFFFFF).tolist()) == {289}


def test_values_beyond_float32_count_as_its_largest() -> None:
    X, _ = rows_and_labels(300, 2)
    X[0] = [1e300, -1e300]
    scores = IsolationForest(random_state=0).fit(X).score_samples(X)
    assert np.isfinite(scores).all() and scores.argmin() == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_missing_value_is_refused_in_one_sentence(bad: float) -> None:
    X, _ = rows_and_labels(50, 2)
    fitted = IsolationForest(random_state=0).fit(X)
    X[7, 1] = bad
    for use in (fitted.fit, fitted.score_samples):
        with pytest.raises(ValueError, match=r"^Input X contains (NaN|infinity)"):
            use(X)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("n_estimators", 0),
        ("n_estimators", 2.0),
        ("n_estimators", 100_001),
        ("max_samples", 0),
        ("max_samples", 4097),
        ("max_samples", 1.5),
        ("max_samples", "all"),
        ("contamination", 0.0),
        ("contamination", 0.6),
        ("n_jobs", "two"),
    ],
)
def test_impossible_parameters_are_named(parameter: str, value) -> None:
    with pytest.raises(ValueError, match=rf"^{parameter} must be "):
        IsolationForest(**{parameter: value}).fit([[0.0], [1.0]])


def test_contamination_flags_that_share() -> None:
    X, _ = rows_and_labels()
    detector = IsolationForest(contamination=0.05, random_state=0).fit(X)
    assert (detector.predict(X) == -1).sum() == 60
    assert IsolationForest(random_state=0).fit(X).offset_ == -0.5


def test_scores_do_not_depend_on_threads_layout_or_company() -> None:
    X = np.random.default_rng(0).normal(size=(40_000, 3))
    detector = IsolationForest(n_estimators=20, random_state=0).fit(X)
    scores = detector.score_samples(X)
    assert np.array_equal(detector.set_params(n_jobs=2).score_samples(X), scores)
    assert np.array_equal(detector.score_samples(np.asfortranarray(X)), scores)
    assert np.array_equal(detector.score_samples(X[16_383:16_420]), scores[16_383:16_420])
    X.flags.writeable = False
    assert np.array_equal(detector.score_samples(X), scores)


def test_as_good_as_scikit_learn() -> None:
    X, y = rows_and_labels(4000)
    ours = [roc_auc_score(y, -IsolationForest(random_state=s).fit(X).score_samples(X)) for s in range(5)]
    theirs = [
        roc_auc_score(y, -Reference(n_estimators=200, random_state=s).fit(X).score_samples(X))
        for s in range(5)
    ]
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.01


def test_importing_detectors_does_not_import_numba() -> None:
    code = "import sys, fedanomaly.detectors; sys.exit('numba' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# -- union ------------------------------------------------------------------------------------------


@given(st.integers(1, 1000), st.integers(1, 50))
def test_rounds_share_all_trees(n_estimators: int, rounds: int) -> None:
    added = [trees_this_round(n_estimators, number, rounds) for number in range(1, rounds + 1)]
    assert sum(added) == n_estimators
    assert added[0] >= 1 and min(added) >= 0 and max(added) - min(added) <= 1


@given(st.integers(0, 500), st.lists(st.integers(1, 10**9), min_size=1, max_size=40), st.integers(1, 10**6))
def test_quotas_are_exact_shares(n_trees: int, rows: list[int], server_round: int) -> None:
    quotas = apportion(n_trees, rows, server_round)
    assert sum(quotas) == n_trees
    for quota, count in zip(quotas, rows, strict=True):
        assert n_trees * count // sum(rows) <= quota <= -(-n_trees * count // sum(rows))


def test_small_clients_get_their_turn() -> None:
    rows = [1000] * 10
    total = np.sum([apportion(3, rows, number) for number in range(1, 101)], axis=0)
    assert total.sum() == 300 and total.min() >= 28 and total.max() <= 32


def parts(sizes=(300, 100, 200), n_features: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(6)
    return [rng.normal(size=(size, n_features)) for size in sizes]


def test_the_forest_grows_to_n_estimators_over_the_rounds() -> None:
    way = Union(IsolationForest(n_estimators=50))
    for rounds in (1, 3, 7):
        arrays = way.model(run_steps(way, parts(), rounds=rounds))
        assert len(arrays["psi"]) == 50
    single = run_steps(way, parts(), rounds=1)["forest/psi"]
    assert single.tolist() == [256] * 25 + [100] * 8 + [200] * 17  # shares 25, 8.3, 16.7; each its own psi


def test_more_rounds_than_trees() -> None:
    way = Union(IsolationForest(n_estimators=2))
    assert len(way.model(run_steps(way, parts(), rounds=9))["psi"]) == 2


def test_before_the_first_tree_there_is_no_model() -> None:
    with pytest.raises(FederationError, match="no client has sent a tree"):
        Union(IsolationForest()).model({})


def nodes(arrays) -> np.ndarray:
    return forest_from_arrays(arrays).nodes


def test_a_clients_trees_do_not_depend_on_the_others() -> None:
    step = GrowTrees(IsolationForest(n_estimators=30))
    few, many = (
        nodes(step.answer({"rows": np.array([200, other])}, parts()[2], None, Turn(1, 1, 1, 0, (0, 1))))
        for other in (400, 200)
    )
    assert len(few) == 10 and len(many) == 15
    assert np.array_equal(few, many[:10])


def test_rounds_and_clients_grow_different_trees() -> None:
    step = GrowTrees(IsolationForest(n_estimators=10))
    request = {"rows": np.array([200, 200])}
    grown = [
        nodes(step.answer(request, parts()[2], None, Turn(seed, number, 2, client, (0, 1))))
        for seed, number, client in [(1, 1, 0), (1, 2, 0), (1, 1, 1), (2, 1, 0)]
    ]
    assert len(np.unique(np.concatenate(grown), axis=0)) == sum(map(len, grown))


def test_tiny_and_large_clients_share_one_forest() -> None:
    way = Union(IsolationForest(n_estimators=40, max_samples=0.5))
    arrays = way.model(run_steps(way, parts((600, 1, 5)), rounds=2))
    detector = IsolationForest().load(arrays)
    assert detector.max_samples_ == 300
    assert np.isfinite(detector.score_samples(parts()[0])).all()


def a_step() -> tuple[GrowTrees, dict, dict, Turn]:
    step, turn = GrowTrees(IsolationForest(n_estimators=12, max_samples=64)), Turn(1, 1, 1, 1, (0, 1, 2))
    state = {"rows": np.array([300, 100, 200]), "features": np.array(3)}
    return step, state, step.answer(step.request(state), parts()[1], None, turn), turn


def test_a_client_cannot_contribute_more_than_its_quota() -> None:
    step, state, answer, turn = a_step()
    step.check(state, answer, turn)
    assert set(step.request({**state, "forest/psi": answer["psi"]})) == {"rows"}
    doubled = {n: np.concatenate([a, a]) if a.ndim else a for n, a in answer.items()}
    with pytest.raises(InvalidArrays, match="quota is 2"):
        step.check(state, doubled, turn)
    with pytest.raises(InvalidArrays, match="quota is 2"):
        step.check(state, {n: a[:0] if a.ndim else a for n, a in answer.items()}, turn)


def test_a_client_cannot_claim_trees_on_rows_it_does_not_have() -> None:
    step, state, answer, turn = a_step()
    with pytest.raises(InvalidArrays, match="grown on 64 rows, the limit is 40"):
        step.check({**state, "rows": np.array([120, 40, 80])}, answer, turn)


def test_trees_over_other_features_are_refused() -> None:
    step, state, answer, turn = a_step()
    with pytest.raises(InvalidArrays, match="over 3 features, expected 4"):
        step.check({**state, "features": np.array(4)}, answer, turn)
    later = {"rows": state["rows"], "forest/n_features": np.array(5)}
    with pytest.raises(InvalidArrays, match="over 3 features, expected 5"):
        step.check(later, answer, turn)


def test_trees_of_another_depth_are_refused() -> None:
    step, state, _, turn = a_step()
    deep = GrowTrees(IsolationForest(n_estimators=12, max_samples=128))
    answer = deep.answer(step.request(state), parts()[1], None, turn)
    with pytest.raises(InvalidArrays, match="depth 7, expected 6"):
        step.check(state, answer, turn)


def test_a_client_refuses_rows_that_do_not_know_it() -> None:
    step, _, _, turn = a_step()
    with pytest.raises(InvalidArrays, match="knows 1 clients"):
        step.answer({"rows": np.array([5])}, parts()[1], None, turn)


def test_an_iid_union_is_as_good_as_pooling() -> None:
    X, y = rows_and_labels(4000)
    way = Union(IsolationForest(n_estimators=200))
    united, pooled = [], []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(X))
        model = way.model(run_steps(way, np.array_split(X[order], 8), rounds=2, seed=seed))
        united.append(roc_auc_score(y, -IsolationForest().load(model).score_samples(X)))
        pooled.append(roc_auc_score(y, -IsolationForest(random_state=seed).fit(X).score_samples(X)))
    assert abs(np.mean(united) - np.mean(pooled)) < 0.01


@pytest.mark.skipif("FEDANOMALY_DATA" not in os.environ, reason="FEDANOMALY_DATA: no credit-card sample")
def test_on_credit_cards_the_forest_ranks_frauds_as_published() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.read_parquet(Path(os.environ["FEDANOMALY_DATA"]) / "creditcard" / "creditcard.parquet")
    X, y = frame.drop(columns="Class").to_numpy(np.float64), frame["Class"].to_numpy()
    scores = IsolationForest(random_state=0).fit(X[::2]).score_samples(X[1::2])
    assert 0.93 < roc_auc_score(y[1::2], -scores) < 0.97
