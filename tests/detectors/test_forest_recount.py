"""The recounted forest: the union's trees, with everyone's rows in their leaves."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedanomaly.core.arrays import digest, under_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.detectors import IsolationForest
from fedanomaly.detectors._forest_arrays import forest_from_arrays, forest_to_arrays, leaves_of
from fedanomaly.detectors._forest_recount import CountLeaves, GrowStructure, Recount
from fedanomaly.detectors._forest_union import Union
from fedanomaly.detectors._trees import AVERAGE_PATH, Forest, average_path
from fedanomaly.detectors.contract import run_steps
from fedanomaly.federation.combine import combine
from fedanomaly.privacy.sums import secure_sum


def parts(sizes=(300, 100, 1, 200), n_features: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(6)
    return [rng.normal(loc=2 * k, size=(size, n_features)) for k, size in enumerate(sizes)]


def model(way: type, rows: list[np.ndarray], rounds: int = 1, **params) -> dict[str, np.ndarray]:
    built = way(IsolationForest(**{"n_estimators": 20, **params}))
    return built.model(run_steps(built, rows, rounds=rounds))


@pytest.mark.parametrize("params", [{}, {"max_samples": 16}, {"max_samples": 4096}, {"max_samples": 0.5}])
@pytest.mark.parametrize("n_features", [4, 300])
def test_the_trees_are_the_unions_and_all_rows_are_counted(n_features: int, params: dict) -> None:
    rows = parts(n_features=n_features)
    union, recounted = model(Union, rows, **params), model(Recount, rows, **params)
    for name in ("splits", "feature", "threshold", "psi", "depth", "n_features"):
        assert np.array_equal(union[name], recounted[name])
    assert recounted["rows"].tolist() == [601] * 20
    tree, _ = leaves_of(forest_from_arrays(recounted))
    assert np.array_equal(np.bincount(tree, weights=recounted["leaf_rows"]), recounted["rows"])


def test_counts_are_sums_whoever_holds_the_rows() -> None:
    rows = parts()
    way = Recount(IsolationForest(n_estimators=20))
    grow, count = way.round(1, 1)
    state = {"rows": np.array([len(part) for part in rows]), "features": np.array(4)}
    turns = [Turn(1, 1, 1, client, (0, 1, 2, 3)) for client in range(4)]
    grown = [(turn, grow.answer(grow.request(state), rows[turn.client], None, turn)) for turn in turns]
    state = combine(grow, state, grown)
    answers = [(turn, count.answer(count.request(state), rows[turn.client], None, turn)) for turn in turns]
    together = count.answer(count.request(state), np.concatenate(rows), None, turns[0])
    assert digest(secure_sum(answers, 4)) == digest(together)
    other = np.array_split(np.concatenate(rows)[::-1], 7)
    apart = [(turns[0], count.answer(count.request(state), X, None, turns[0])) for X in other]
    assert digest(secure_sum(apart, 7)) == digest(together)


def test_a_leaf_is_worth_its_depth_and_its_share_of_psi_rows() -> None:
    forest = forest_from_arrays(model(Recount, parts()))
    plain = Forest(forest.nodes, np.zeros_like(forest.counts), forest.psi, forest.n_features)
    depth = plain.leaf_values * np.maximum(AVERAGE_PATH[forest.psi], 1)[:, None]  # c(0) is 0: depths alone
    share = forest.psi[:, None] * forest.counts / 601
    wanted = (depth + average_path(share)) / np.maximum(AVERAGE_PATH[forest.psi], 1)[:, None]
    grown_on_one = forest.psi == 1
    assert grown_on_one.sum() <= 1
    np.testing.assert_allclose(forest.leaf_values[~grown_on_one], wanted[~grown_on_one], rtol=1e-6)
    assert (forest.leaf_values[grown_on_one] == 1).all()


def test_average_path_of_parts_of_a_row() -> None:
    whole = np.arange(4097, dtype=np.float64)
    assert np.array_equal(average_path(whole), AVERAGE_PATH)
    assert average_path(np.array([0.0, 0.7, 1.5, 2.25])).tolist() == pytest.approx(
        [0, 0, 0.5, 1 + 0.25 * 2 / 3]
    )


def test_rounds_only_share_the_trees_among_rounds() -> None:
    rows = parts()
    arrays = model(Recount, rows, rounds=3)
    assert len(arrays["psi"]) == 20 and set(arrays["rows"].tolist()) == {601}
    assert len(model(Recount, rows, rounds=25)["psi"]) == 20  # some rounds have no tree


def test_one_client_alone_has_nothing_to_recount() -> None:
    rows = parts((200,))
    assert digest(model(Recount, rows)) == digest(model(Union, rows))
    assert "rows" not in model(Recount, rows)


def test_recounting_helps_where_clients_hold_different_regions() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(2000) < 0.04).astype(int)
    X = rng.normal(size=(2000, 3)) * np.where(y, 3.0, 1.0)[:, None]
    tenth = np.digitize(X[:, 0], np.quantile(X[:, 0], np.linspace(0, 1, 11)[1:-1]))
    rows = np.array_split(X[np.lexsort((X[:, 1], tenth))], 100)
    auroc = {}
    for way in (Union, Recount):
        detector = IsolationForest().load(model(way, rows, n_estimators=200))
        auroc[way.name] = roc_auc_score(y, -detector.score_samples(X))
    assert auroc["recount"] > auroc["union"] + 0.03


def test_what_is_packed_is_unpacked() -> None:
    arrays = model(Recount, parts())
    forest = forest_from_arrays(arrays)
    assert digest(forest_to_arrays(forest)) == digest(arrays)
    joined = Forest.join([forest, forest_from_arrays(model(Union, parts((2000,)), max_samples=1000))])
    assert joined.depth == 10 and joined.rows.tolist() == [601] * 20 + [1000] * 20
    back = IsolationForest().load(forest_to_arrays(joined)).score_samples(parts()[0])
    apart = [
        np.log2(-IsolationForest().load(forest_to_arrays(part)).score_samples(parts()[0]))
        for part in (forest, forest_from_arrays(model(Union, parts((2000,)), max_samples=1000)))
    ]
    np.testing.assert_allclose(np.log2(-back), np.mean(apart, axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("rows", lambda a: a + 1, "does not add up to 'rows'"),
        ("rows", lambda a: a * 0, "below 1"),
        ("rows", lambda a: a.astype(np.int32), "dtype int32"),
        ("rows", lambda a: a[:-1], "shape"),
        ("leaf_rows", lambda a: a * np.uint16(0), "does not add up to 'rows'"),
        ("leaf_rows", lambda a: a.astype(np.int64), "dtype int64"),
        ("leaf_rows", lambda a: a.astype(np.uint64) * 2**50, "above"),
    ],
)
def test_damaged_counts_are_refused(name: str, change, message: str) -> None:
    arrays = model(Recount, parts())
    with pytest.raises(InvalidArrays, match=message):
        forest_from_arrays({**arrays, name: change(arrays[name])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a * 3, "expected one number up to 200"),
        (lambda a: a * 0, "trees count 0"),
        (lambda a: a - 1, "below 0"),
        (lambda a: a + (np.arange(len(a)) == 0), "trees count 100 to 101"),
        (lambda a: a[:-1], "shape"),
        (lambda a: a.astype(np.int32), "dtype int32"),
    ],
)
def test_a_client_cannot_count_more_rows_than_it_has(change, message: str) -> None:
    rows, turn = parts((100, 100)), Turn(1, 1, 1, 0, (0, 1))
    grow, count = GrowStructure(IsolationForest(n_estimators=6)), CountLeaves()
    state = {"rows": np.array([100, 100]), "features": np.array(4)}
    answers = [
        (t, grow.answer(grow.request(state), rows[t.client], None, t))
        for t in (turn, Turn(1, 1, 1, 1, (0, 1)))
    ]
    state = combine(grow, state, answers)
    answer = count.answer(count.request(state), rows[0], None, turn)
    count.check(state, answer, turn)
    with pytest.raises(InvalidArrays, match=message):
        count.check(state, {"leaf_rows": change(answer["leaf_rows"])}, turn)


def test_one_row_moves_the_counts_by_no_more_than_declared() -> None:
    rows = parts((60, 60))
    way = Recount(IsolationForest(n_estimators=6))
    state = run_steps(way, rows, rounds=1)
    count, turn = CountLeaves(), Turn(1, 1, 1, 0, (0, 1))
    request = count.request(state)
    bound = count.sensitivity(request, 4, float("inf"))["leaf_rows"]
    changed = rows[0].copy()
    changed[7] = 50.0
    moved = (
        count.answer(request, changed, None, turn)["leaf_rows"]
        - count.answer(request, rows[0], None, turn)["leaf_rows"]
    )
    assert 0 < np.abs(moved).sum() <= bound.l1 == 12 and (moved**2).sum() <= bound.l2**2 + 1e-9
    noisy = {"leaf_rows": -np.arange(len(moved), dtype=np.int64)}
    before = {name: array for name, array in state.items() if not name.startswith("forest/")}
    repaired = under_prefix(count.finish(before, count.repaired(noisy)), "forest")
    assert np.isfinite(forest_from_arrays(repaired).leaf_values).all()
