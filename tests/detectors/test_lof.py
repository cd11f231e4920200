from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import LocalOutlierFactor as Reference
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from fedanomaly.core.arrays import Arrays, digest, load_arrays, save_arrays
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.detectors._kmeans import kmeans
from fedanomaly.detectors._local_density import LocalDensities
from fedanomaly.detectors.contract import check_detector, run_steps
from fedanomaly.detectors.lof import LocalOutlierFactor


def table(n: int = 400, features: int = 4, key: str = "rows") -> np.ndarray:
    generator = keyed_generator(0, key)
    return generator.normal(size=(n, features)) * np.linspace(0.5, 2, features)


@parametrize_with_checks([LocalOutlierFactor()])
def test_scikit_learns_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_contract() -> None:
    check_detector(LocalOutlierFactor)


@pytest.mark.parametrize("n_neighbors", [1, 5, 20, 399, 1000])
def test_factors_are_scikit_learns(n_neighbors: int) -> None:
    X, new = table(), table(200, key="new") * 2
    ours = LocalOutlierFactor(n_neighbors=n_neighbors).fit(X)
    theirs = Reference(n_neighbors=min(n_neighbors, 399), novelty=True).fit(X)
    np.testing.assert_allclose(np.exp(-ours.score_samples(new)), -theirs.score_samples(new), rtol=1e-9)
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))


def test_more_references_than_a_tile_and_more_rows_than_a_chunk(monkeypatch: Any) -> None:
    monkeypatch.setattr("fedanomaly.detectors._rbf._CHUNK_VALUES", 1)
    X, new = table(1400, 9), table(50, 9, key="new")
    theirs = Reference(novelty=True).fit(X)
    ours = LocalOutlierFactor().fit(X).score_samples(new)
    np.testing.assert_allclose(np.exp(-ours), -theirs.score_samples(new), rtol=1e-9)


def test_a_rows_score_does_not_depend_on_the_rows_beside_it() -> None:
    detector, new = LocalOutlierFactor().fit(table()), table(60, key="new")
    alone = np.concatenate([detector.score_samples(row[None]) for row in new])
    np.testing.assert_array_equal(detector.score_samples(new), alone)


def test_duplicates_and_distant_rows_have_finite_scores() -> None:
    X = np.concatenate([np.zeros((50, 3)), table(50, 3)])
    detector = LocalOutlierFactor(n_neighbors=5).fit(X)
    scores = detector.score_samples([[0, 0, 0], [1e-3, 0, 0], [1e30, 0, 0], [1e300, 1e300, -1e300]])
    assert np.isfinite(scores).all()
    assert scores[0] == pytest.approx(0.0) and (np.diff(scores) < 0).all()
    theirs = Reference(n_neighbors=5, novelty=True, algorithm="kd_tree").fit(X)
    new = table(30, 3, key="new")
    np.testing.assert_allclose(np.exp(-detector.score_samples(new)), -theirs.score_samples(new), rtol=1e-9)


def test_two_rows_suffice_and_one_does_not() -> None:
    assert np.isfinite(LocalOutlierFactor().fit([[0.0], [1.0]]).score_samples([[0.5], [9.0]])).all()
    with pytest.raises(ValueError, match="1 sample"):
        LocalOutlierFactor().fit([[0.0]])


def test_contamination_decides_how_many_training_rows_are_flagged() -> None:
    X = table()
    assert (LocalOutlierFactor(contamination=0.1).fit(X).predict(X) == -1).sum() == 40


@pytest.mark.parametrize("bad", [
    {"n_neighbors": 0}, {"n_neighbors": 1.5}, {"n_prototypes": 1}, {"min_cluster_size": 0},
    {"max_samples": 1},
    {"contamination": 0}, {"random_state": -1},
])  # fmt: skip
def test_parameters_out_of_range_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        LocalOutlierFactor(**bad).fit(table())


def test_a_saved_model_scores_the_same_to_the_bit(tmp_path: Any) -> None:
    new = table(50, key="new")
    for detector in (LocalOutlierFactor().fit(table()), built(np.array_split(table(), 3))):
        save_arrays(tmp_path / "model.npz", detector.to_arrays())
        loaded = LocalOutlierFactor().load(load_arrays(tmp_path / "model.npz"))
        np.testing.assert_array_equal(loaded.score_samples(new), detector.score_samples(new))
        assert digest(loaded.to_arrays()) == digest(detector.to_arrays())


def test_malformed_models_are_refused() -> None:
    good = LocalOutlierFactor().fit(table(40)).to_arrays()
    bad: list[Arrays] = [{key: value for key, value in good.items() if key != name} for name in good]
    bad += [good | {"surplus": np.ones(1)}]
    bad += [good | {name: value[..., None]} for name, value in good.items()]
    bad += [good | {name: value.astype(np.float32)} for name, value in good.items()]
    bad += [good | {name: np.full_like(value, -1)} for name, value in good.items() if name != "points"]
    bad += [good | {"points": np.full_like(good["points"], np.nan)}, good | {"densities": np.zeros(40)}]
    bad += [good | {"densities": np.full(40, 1e200)}, good | {"neighbors": np.array([40])}]
    bad += [good | {"sizes": np.array([39])}, good | {"sizes": np.array([20, 20])}]
    bad += [good | {"sizes": np.array([2**62] * 4 + [40]), "neighbors": np.ones(5, np.int64)}]
    for arrays in bad:
        with pytest.raises(InvalidArrays):
            LocalOutlierFactor().load(arrays)


# -- k-means -------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.booleans(), st.integers(0, 10**6))
def test_centroids_are_means_of_the_rows_counted_for_them(n: int, k: int, ties: bool, seed: int) -> None:
    generator = keyed_generator(seed, "rows")
    X = generator.integers(0, 3, size=(n, 2)).astype(float) if ties else generator.normal(size=(n, 2))
    centroids, counts = kmeans(X, k, keyed_generator(seed, "kmeans"))
    assert counts.sum() == n and centroids.shape == (k, 2)
    np.testing.assert_allclose((centroids * counts[:, None]).sum(axis=0), X.sum(axis=0), atol=1e-9)
    again = kmeans(X, k, keyed_generator(seed, "kmeans"))
    assert np.array_equal(centroids, again[0]) and np.array_equal(counts, again[1])


def test_kmeans_finds_separate_groups_also_from_a_sample(monkeypatch: Any) -> None:
    monkeypatch.setattr("fedanomaly.detectors._kmeans.ROWS_PER_CLUSTER", 20)
    corners = np.array([[0.0, 0], [0, 50], [50, 0], [50, 50]])
    X = np.repeat(corners, 100, axis=0) + keyed_generator(1, "x").normal(size=(400, 2))
    centroids, counts = kmeans(X, 4, keyed_generator(2, "kmeans"))
    order = np.lexsort(np.round(centroids, -1).T[::-1])
    expected = X.reshape(4, 100, 2).mean(axis=1)
    np.testing.assert_allclose(centroids[order], expected, atol=1e-9)
    assert counts.tolist() == [100] * 4


# -- built by clients ----------------------------------------------------------------------------------


TURN = Turn(7, 1, 1, 0, (0, 1))


def built(parts: Any, **params: Any) -> LocalOutlierFactor:
    aggregation = LocalOutlierFactor.aggregations["prototypes"](LocalOutlierFactor(**params))
    return LocalOutlierFactor().load(aggregation.model(run_steps(aggregation, parts)))


def test_the_score_is_the_mean_over_clients_of_the_log_of_scikit_learns_factor() -> None:
    parts, new = np.array_split(table(600), 3), table(80, key="new") * 3
    detector = built(parts, n_prototypes=40, n_neighbors=7)
    arrays, expected, at = detector.to_arrays(), np.zeros(80), 0
    assert len(arrays["sizes"]) == 3
    for size in arrays["sizes"]:
        member = Reference(n_neighbors=7, novelty=True).fit(arrays["points"][at : at + size])
        expected -= np.log(-member.score_samples(new)) / 3
        at += size
    np.testing.assert_allclose(detector.score_samples(new), expected, rtol=1e-9, atol=1e-12)


def test_no_centroid_stands_for_fewer_rows_than_asked_and_none_is_a_row() -> None:
    parts = [np.concatenate([table(300), [[80.0, 80, 80, 80]]])]
    for least in (3, 10):
        step = LocalOutlierFactor.aggregations["prototypes"](LocalOutlierFactor(min_cluster_size=least))
        answer = step.round(1, 1)[0].answer({}, parts[0], None, TURN)
        assert answer["counts"].min() >= least and answer["counts"].sum() <= 301
        assert np.abs(answer["centroids"]).max() < 20  # the lone row has a cluster of its own, which stays
        assert not (answer["centroids"][:, None] == parts[0][None]).all(axis=2).any()


def test_outliers_score_lower_under_every_split() -> None:
    X = table(900)
    outliers = np.sign(table(20, key="far")) * 12
    rows = np.concatenate([X, outliers])
    for parts in (
        [rows[i::3] for i in range(3)],
        [np.concatenate([X[:300], outliers]), X[300:600], X[600:]],
        np.array_split(rows[np.argsort(rows[:, 0])], 3),
    ):
        scores = built(parts).score_samples(rows)
        assert (scores[900:].max() < np.quantile(scores[:900], 0.03)).all()


def test_one_seed_one_model_whatever_the_number_of_threads() -> None:
    parts = np.array_split(table(), 2)
    models = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            models.append(digest(built(parts).to_arrays()))
    assert models[0] == models[1]


def test_later_rounds_have_no_steps() -> None:
    aggregation = LocalOutlierFactor.aggregations["prototypes"](LocalOutlierFactor())
    assert [len(aggregation.round(r, 3)) for r in (1, 2, 3)] == [1, 0, 0] and not aggregation.setup()


def test_a_client_with_too_few_rows_contributes_nothing() -> None:
    aggregation = LocalOutlierFactor.aggregations["prototypes"](LocalOutlierFactor())
    parts = [table(200), table(5), np.ones((50, 4)), table(1)]
    state = run_steps(aggregation, parts)
    assert len(aggregation.model(state)["sizes"]) == 1
    with pytest.raises(FederationError, match="min_cluster_size"):
        run_steps(aggregation, parts[1:])


def test_few_centroids_lower_k() -> None:
    arrays = built([table(20), table(200)], n_prototypes=6).to_arrays()
    assert (arrays["neighbors"] == arrays["sizes"] - 1).all()


@pytest.mark.parametrize("change", [
    {"centroids": np.zeros((1, 4)), "counts": np.array([9])},
    {"centroids": np.zeros((101, 4)), "counts": np.full(101, 3)},
    {"centroids": np.zeros((2, 5)), "counts": np.array([9, 9])},
    {"centroids": np.zeros((2, 0)), "counts": np.array([9, 9])},
    {"centroids": np.full((2, 4), np.nan), "counts": np.array([9, 9])},
    {"centroids": np.full((2, 4), 1e200), "counts": np.array([9, 9])},
    {"centroids": np.zeros((2, 4), np.float32), "counts": np.array([9, 9])},
    {"centroids": np.zeros((2, 4)), "counts": np.array([9, 2])},
    {"centroids": np.zeros((2, 4)), "counts": np.array([300, 300])},
    {"centroids": np.zeros((2, 4)), "counts": np.array([2**62, 2**62])},
    {"centroids": np.zeros((2, 4)), "counts": np.array([9.0, 9.0])},
    {"centroids": np.zeros((2, 4)), "counts": np.array([9, 9]), "rows": np.zeros(1)},
    {"counts": np.array([9, 9])},
])  # fmt: skip
def test_the_server_refuses_what_no_client_can_have_computed(change: Arrays) -> None:
    parts = np.array_split(table(500), 2)
    step = LocalOutlierFactor.aggregations["prototypes"](LocalOutlierFactor()).round(1, 1)[0]
    state = {"rows": np.array([250, 250]), "features": np.array(4)}
    step.check(state, {}, TURN)
    step.check(state, step.answer({}, parts[0], None, TURN), TURN)
    with pytest.raises(InvalidArrays):
        step.check(state, change, TURN)


def test_members_of_different_widths_do_not_join() -> None:
    with pytest.raises(InvalidArrays, match="features"):
        LocalDensities.union([LocalDensities.of(table(9, 2), 3), LocalDensities.of(table(9, 3), 3)])


# -- on rows that clients ship -------------------------------------------------------------------------


def shipped(way: str, parts: Any, **params: Any) -> LocalOutlierFactor:
    aggregation = LocalOutlierFactor.aggregations[way](LocalOutlierFactor(**params))
    return LocalOutlierFactor().load(aggregation.model(run_steps(aggregation, parts)))


def test_what_ships_rows_says_so() -> None:
    ways = LocalOutlierFactor.aggregations
    assert [(name, way.ships_rows) for name, way in ways.items()] == [
        ("prototypes", False), ("sample", True), ("exact", True),
    ]  # fmt: skip
    for name in ("sample", "exact"):
        aggregation = ways[name](LocalOutlierFactor())
        assert not aggregation.setup() and not aggregation.round(2, 2)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 1),
    st.integers(1, 30),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_exact_is_the_pooled_factor_whoever_holds_the_rows(
    sizes: list[int], k: int, duplicates: bool, seed: int
) -> None:
    generator = keyed_generator(seed, "rows")
    X = generator.normal(size=(sum(sizes), 3))
    X = np.round(X) if duplicates else X
    exact = shipped("exact", np.split(X, np.cumsum(sizes)[:-1]), n_neighbors=k)
    pooled = LocalOutlierFactor(n_neighbors=k).fit(X)
    assert digest(exact.to_arrays()) == digest(pooled.to_arrays())


def test_exact_is_scikit_learns_factor_of_all_rows() -> None:
    X, new = table(700), table(100, key="new") * 3
    parts = [X[np.argsort(X[:, 0])][start : start + 175] for start in range(0, 700, 175)]
    theirs = Reference(novelty=True).fit(X)
    exact = shipped("exact", parts)
    np.testing.assert_allclose(np.exp(-exact.score_samples(new)), -theirs.score_samples(new), rtol=1e-9)
    order = np.argsort(X[:, 0])
    arrays = exact.to_arrays()
    np.testing.assert_allclose(arrays["densities"], theirs._lrd[order], rtol=1e-9)
    np.testing.assert_array_equal(arrays["points"], X[order])


def test_exact_takes_no_sample_where_pooled_does(monkeypatch: Any) -> None:
    monkeypatch.setattr(LocalOutlierFactor, "exact_rows", 50)
    assert len(shipped("exact", np.array_split(table(), 3)).to_arrays()["points"]) == 400


def test_the_neighbours_of_a_client_that_fell_silent_are_found_by_the_server() -> None:
    parts = np.array_split(table(), 3)
    aggregation = LocalOutlierFactor.aggregations["exact"](LocalOutlierFactor())
    whole = run_steps(aggregation, parts)
    rows_step, neighbors_step = aggregation.round(1, 1)
    state: Arrays = {"rows": np.full(3, 134), "features": np.array(4)}
    turns = [Turn(7, 1, 1, client, (0, 1, 2)) for client in range(3)]
    state |= rows_step.combine(
        state, [(turn, rows_step.answer({}, parts[turn.client], None, turn)) for turn in turns]
    )
    request = neighbors_step.request(state)
    answers = [(turn, neighbors_step.answer(request, parts[turn.client], None, turn)) for turn in turns[::2]]
    state |= neighbors_step.combine(state, answers)
    assert digest(aggregation.model(state)) == digest(aggregation.model(whole))
    stranger = Turn(7, 1, 1, 3, (0, 1, 2, 3))  # came between the two steps: it has shipped no rows
    assert neighbors_step.answer(request, parts[0], None, stranger) == {}
    neighbors_step.check(state, {}, stranger)


def changed(array: np.ndarray, where: tuple[int, int], value: int) -> np.ndarray:
    array = array.copy()
    array[where] = value
    return array


def test_forged_neighbours_are_refused() -> None:
    parts = np.array_split(table(60), 2)
    aggregation = LocalOutlierFactor.aggregations["exact"](LocalOutlierFactor(n_neighbors=3))
    state = run_steps(aggregation, parts)
    step = aggregation.round(1, 1)[1]
    turn = Turn(7, 1, 1, 1, (0, 1))
    found = step.answer(step.request(state), parts[1], None, turn)["neighbors"]
    step.check(state, {"neighbors": found}, turn)
    bad = [changed(found, (0, 0), 60), changed(found, (0, 0), -1), changed(found, (2, 1), 32)]
    bad += [changed(found, (5, 0), found[5, 1]), found[1:], found[:, 1:], found.astype(np.int32)]
    for neighbors in bad:
        with pytest.raises(InvalidArrays):
            step.check(state, {"neighbors": neighbors}, turn)
    with pytest.raises(InvalidArrays):
        step.check(state, {}, turn)
    request = step.request(state)
    for wrong in ({"sizes": np.array([30, 31])}, {"clients": np.array([0])}, {"rows": np.zeros((60, 3))}):
        with pytest.raises(InvalidArrays):
            step.answer(request | wrong, parts[1], None, turn)


def test_a_sample_is_small_and_its_members_are_scikit_learns() -> None:
    parts, new = [table(500), table(90, key="few"), table(1, key="one")], table(80, key="new") * 3
    detector = shipped("sample", parts, max_samples=64, n_neighbors=7)
    arrays = detector.to_arrays()
    assert arrays["sizes"].sum() == 64 + 64 + 1 and arrays["sizes"].max() <= 64 and len(arrays["sizes"]) == 3
    everything = [{row.tobytes() for row in part} for part in parts]
    points = [row.tobytes() for row in arrays["points"]]
    assert [sum(point in rows for point in points) for rows in everything] == [64, 64, 1]
    expected, at = np.zeros(80), 0
    for size in arrays["sizes"]:
        member = Reference(n_neighbors=7, novelty=True).fit(arrays["points"][at : at + size])
        expected -= np.log(-member.score_samples(new)) / 3
        at += size
    np.testing.assert_allclose(detector.score_samples(new), expected, rtol=1e-9, atol=1e-12)


def test_samples_find_a_clump_that_hides_from_all_rows() -> None:
    clump = table(60, key="clump") * 0.01 + 9
    X = np.concatenate([table(3000), clump])
    parts = [X[client::5] for client in range(5)]
    few, all_ = shipped("sample", parts, max_samples=64), shipped("exact", parts)
    inside = [detector.score_samples(clump).mean() for detector in (few, all_)]
    assert inside[0] < np.quantile(few.score_samples(X[:3000]), 0.02) < 0
    assert inside[1] > np.quantile(all_.score_samples(X[:3000]), 0.02)


@pytest.mark.parametrize("sizes", [(1, 1), (2,), (1, 1, 1), (3, 2)])
def test_few_rows_together_make_a_model(sizes: tuple[int, ...]) -> None:
    parts = [table(size, key=f"{client}") for client, size in enumerate(sizes)]
    for way in ("sample", "exact"):
        detector = shipped(way, parts, max_samples=3)
        assert detector.to_arrays()["sizes"].sum() == sum(sizes)
        assert np.isfinite(detector.score_samples(table(9))).all()


def test_one_row_in_all_makes_none() -> None:
    for way in ("sample", "exact"):
        with pytest.raises(FederationError, match="at least 2 rows"):
            shipped(way, [table(1)])


@pytest.mark.parametrize("way", ["sample", "exact"])
@pytest.mark.parametrize("rows", [
    np.zeros((0, 4)), np.zeros((601, 4)), np.zeros((9, 5)), np.zeros((9, 0)), np.full((9, 4), 1e200),
    np.full((9, 4), np.nan), np.zeros((9, 4), np.float32), np.zeros(9),
])  # fmt: skip
def test_rows_that_no_client_can_have_are_refused(way: str, rows: np.ndarray) -> None:
    step = LocalOutlierFactor.aggregations[way](LocalOutlierFactor()).round(1, 1)[0]
    state: Arrays = {"rows": np.array([300, 300]), "features": np.array(4)}
    step.check(state, {"rows": table(200)}, TURN)
    with pytest.raises(InvalidArrays):
        step.check(state, {"rows": rows}, TURN)
    if way == "sample":
        with pytest.raises(InvalidArrays):
            step.check(state, {"rows": table(257)}, TURN)
