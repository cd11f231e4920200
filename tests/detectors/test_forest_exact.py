"""The exact forest: the same to the bit whoever holds which row, and as good as a forest in one place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedanomaly.core.arrays import digest
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.data.base import Table
from fedanomaly.detectors import IsolationForest
from fedanomaly.detectors import _forest_bottom_k as bottom_k
from fedanomaly.detectors._box_loops import count_leaves
from fedanomaly.detectors._forest_bottom_k import DrawSamples, SketchRows, Trees, distinct_rows, my_part
from fedanomaly.detectors._forest_codes import codes_of, draw_cuts, grid_step, values_of
from fedanomaly.detectors._forest_exact import EXTRA_LEVELS, Exact, GrowLevel, PooledExact, fit_exact
from fedanomaly.detectors._forest_growth import Growth
from fedanomaly.detectors._forest_loops import places
from fedanomaly.detectors.contract import run_steps
from fedanomaly.federation.combine import combine
from fedanomaly.federation.wire import pack
from fedanomaly.partition import PartitionRequest, registered, split

SEED = 11
DISJOINT = [name for name, cls in registered().items() if not cls.overlapping]


def a_table(n_rows: int = 800) -> Table:
    """Continuous, discrete and constant features; many rows that are equal; times and sites."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 6))
    X[::3] = np.round(X[::3])
    X[200:350] = X[0]
    X[:, 4] = rng.integers(0, 2, n_rows)
    X[:, 5] = 1.0
    y = (rng.permutation(n_rows) < 100).astype(np.int8)
    time = np.sort(rng.integers(0, 400, n_rows)).astype(np.float64)
    sites = {"site": rng.integers(0, 200, n_rows)}
    return Table("exact", X, y, tuple("abcdef"), "generated", "0" * 64, time=time, groups=sites)


def build(parts: list[np.ndarray], rounds: int = 1, **params) -> dict[str, np.ndarray]:
    way = Exact(IsolationForest(**{"n_estimators": 12, "max_samples": 64, **params}))
    return way.model(run_steps(way, parts, rounds=rounds, seed=SEED))


def in_one_place(X: np.ndarray, **params) -> dict[str, np.ndarray]:
    detector = IsolationForest(**{"n_estimators": 12, "max_samples": 64, **params})
    return fit_exact(detector, X, SEED).to_arrays()


@pytest.mark.parametrize("clients", [3, 20, 100])
@pytest.mark.parametrize("name", DISJOINT)
def test_the_forest_is_the_same_under_every_disjoint_partition(name: str, clients: int) -> None:
    table = a_table()
    indices = split(name, table, PartitionRequest(clients, seed=SEED, min_rows=1))
    assert digest(build([table.X[index] for index in indices])) == digest(in_one_place(table.X))


@pytest.mark.parametrize(
    "params",
    [
        {"max_samples": 1},
        {"max_samples": 2},
        {"max_samples": 16},
        {"max_samples": 4096},
        {"max_samples": 0.4},
        {"grid_bits": 2},
        {"grid_bits": 23},
    ],
)
def test_whatever_the_parameters(params: dict) -> None:
    X = a_table().X
    order = np.random.default_rng(1).permutation(len(X))
    expected = digest(in_one_place(X, **params))
    assert digest(build(np.array_split(X[order], 7), **params)) == expected


def test_one_row_clients_make_the_same_forest() -> None:
    X = a_table().X[150:250]  # equal rows at different clients
    assert digest(build([X[i : i + 1] for i in range(100)])) == digest(in_one_place(X))


def test_rounds_only_share_the_trees() -> None:
    X = a_table().X
    parts = np.array_split(X, 4)
    assert digest(build(parts, rounds=5)) == digest(in_one_place(X))
    assert len(build(parts, rounds=20)["psi"]) == 12  # more rounds than trees


def test_pooled_rows_make_the_same_forest() -> None:
    X = a_table().X
    detector = IsolationForest(n_estimators=12, max_samples=64)
    pooled = run_steps(PooledExact(detector), np.array_split(X, 3), rounds=2, seed=SEED)
    assert digest(PooledExact(detector).model(pooled)) == digest(in_one_place(X))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "float16", "float32"])
def test_every_numeric_dtype_makes_the_same_forest(dtype: str) -> None:
    X = np.random.default_rng(2).integers(0, 50, size=(150, 3))
    parts = np.array_split(X.astype(dtype), 3)
    assert digest(build(parts)) == digest(in_one_place(X.astype(np.float64)))


def test_of_300_features_the_one_that_varies_is_found() -> None:
    X = np.zeros((200, 300))
    X[:, 289] = np.random.default_rng(0).normal(size=200)
    model = build(np.array_split(X[X[:, 289].argsort()], 9))
    assert set(model["feature"].tolist()) == {289}
    assert len(model["feature"]) > 12 * 20 and digest(model) == digest(in_one_place(X))


@pytest.mark.parametrize("X", [np.ones((40, 2)), np.repeat([[1.0, 2.0]], 300, axis=0), np.zeros((1, 3))])
def test_equal_rows_are_never_split(X: np.ndarray) -> None:
    model = build(np.array_split(X, min(3, len(X))))
    assert len(model["feature"]) == 0
    assert np.allclose(IsolationForest().load(model).score_samples(X), -0.5)


def test_values_beyond_float32_count_as_its_largest() -> None:
    X = np.random.default_rng(3).choice([-1e300, -1e38, -0.0, 0.0, 1e-45, 1e38, 1e300], size=(120, 3))
    model = build(np.array_split(X, 3))
    assert digest(model) == digest(in_one_place(X[::-1]))
    assert np.isfinite(IsolationForest().load(model).score_samples(X)).all()


@pytest.mark.parametrize("grid_bits", [None, 1, 4])
@pytest.mark.parametrize("n_features", [3, 300])
def test_rows_are_scored_where_they_were_when_trees_grew(n_features: int, grid_bits: int | None) -> None:
    X = np.random.default_rng(4).normal(size=(100, n_features))
    forest = fit_exact(IsolationForest(n_estimators=6, grid_bits=grid_bits), X, SEED).forest_
    assert forest.psi.tolist() == [100] * 6 and len(np.unique(forest.nodes)) > 20
    ends = np.zeros(forest.counts.shape, dtype=np.int64)
    count_leaves(codes_of(X, grid_step(n_features, None)), forest.nodes, ends)
    assert np.array_equal(ends, forest.counts)


def test_a_missing_value_is_refused_in_one_sentence() -> None:
    X = a_table().X
    X[5, 2] = np.nan
    with pytest.raises(UserError, match="missing values"):
        build([X])


@pytest.mark.parametrize("value", [0, 24, 2.5, "all"])
def test_an_impossible_grid_is_named(value) -> None:
    with pytest.raises(ValueError, match=r"^grid_bits must be an integer from 1 to 23, or None"):
        IsolationForest(grid_bits=value).fit([[0.0], [1.0]])


def test_as_good_as_a_forest_in_one_place() -> None:
    rng = np.random.default_rng(5)
    y = (rng.random(1000) < 0.05).astype(int)
    X = rng.normal(size=(1000, 5)) * np.where(y, 2.2, 1.0)[:, None]
    exact, pooled = [], []
    for seed in range(6):
        exact.append(
            roc_auc_score(y, -fit_exact(IsolationForest(n_estimators=100), X, seed).score_samples(X))
        )
        pooled.append(
            roc_auc_score(y, -IsolationForest(n_estimators=100, random_state=seed).fit(X).score_samples(X))
        )
    assert abs(np.mean(exact) - np.mean(pooled)) < 0.015


# -- samples -----------------------------------------------------------------------------------------


def turn_of(client: int, clients: int) -> Turn:
    return Turn(SEED, 1, 1, client, tuple(range(clients)))


def answers_of(step, state: dict, parts: list[np.ndarray], clients) -> list[tuple[Turn, dict]]:
    turns = [turn_of(client, len(parts)) for client in clients]
    return [(turn, step.answer(step.request(state), parts[turn.client], None, turn)) for turn in turns]


def drawn(parts: list[np.ndarray], trees: Trees, **params) -> tuple[dict, list[np.ndarray]]:
    """Run the two steps that draw samples; return the state and each client's part, with row hashes."""
    detector = IsolationForest(**params)
    state = {"rows": np.array([len(part) for part in parts]), "features": np.array(parts[0].shape[1])}
    for step in (SketchRows(detector), DrawSamples(detector, trees)):
        answers = []
        for client, part in enumerate(parts):
            turn = turn_of(client, len(parts))
            answers.append((turn, step.answer(step.request(state), part, None, turn)))
            step.check(state, answers[-1][1], turn)
        state = combine(step, state, answers)
    request = {name: state[f"sample/{name}"] for name in bottom_k.SAMPLE}
    mine = []
    for client, part in enumerate(parts):
        rows = distinct_rows(part, None, turn_of(client, len(parts)))
        sample = my_part(request, rows, trees, turn_of(client, len(parts)))
        mine.append(np.column_stack([sample[:, 0], rows.hashes[sample[:, 1]], sample[:, 2]]))
    return state, mine


@st.composite
def held_rows(draw: st.DrawFn) -> list[np.ndarray]:
    """Rows of few kinds, hence with many equal ones, spread over clients anyhow."""
    kinds = draw(st.integers(1, 30))
    rows = draw(st.lists(st.integers(0, kinds - 1), min_size=1, max_size=80))
    owners = draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows)))
    parts = [[row for row, owner in zip(rows, owners, strict=True) if owner == k] for k in range(6)]
    return [np.array(part, dtype=np.float64)[:, None] for part in parts if part]


@settings(max_examples=60, deadline=None)
@given(held_rows(), st.integers(1, 40))
def test_samples_do_not_depend_on_who_holds_which_of_equal_rows(parts: list, psi: int) -> None:
    trees = Trees(3, 4)
    state, spread = drawn(parts, trees, max_samples=psi)
    _, together = drawn([np.concatenate(parts)], trees, max_samples=psi)

    def totals(samples: list[np.ndarray]) -> dict:
        found: dict = {}
        for tree, row, times in np.concatenate(samples).tolist():
            found[tree, row] = found.get((tree, row), 0) + times
        return found

    assert totals(spread) == totals(together)
    assert state["sample/psi"].tolist() == [min(psi, sum(map(len, parts)))] * 4


def test_every_copy_of_a_row_is_as_likely_as_any_other_row() -> None:
    X = np.array([0.0] * 50 + list(range(1, 51)))[:, None]
    trees = Trees(0, 3000)
    _, parts = drawn([X[::2], X[1::2]], trees, max_samples=20)
    sample = np.concatenate(parts)
    rows = distinct_rows(X, None, turn_of(0, 1))
    zero = sample[:, 1] == rows.hashes[rows.copies == 50]
    zeros = np.bincount(sample[zero, 0].astype(int), weights=sample[zero, 2], minlength=3000)
    assert abs(zeros.mean() - 10) < 0.2  # hypergeometric: 20 of 100 rows, 50 of them zero
    assert abs(zeros.var() - 20 * 0.25 * 80 / 99) < 0.4
    others = np.unique(sample[~zero, 1], return_counts=True)[1]
    assert len(others) == 50 and others.min() > 500 and others.max() < 700  # 600 expected, sd 22


def test_a_client_hears_of_no_row_that_only_others_hold() -> None:
    state, _ = drawn(np.array_split(np.arange(400.0)[:, None], 4), Trees(0, 5), max_samples=32)
    assert len(state["sample/shared_row"]) == 0 and len(state["sample/sketch"]) == 0


def test_what_clients_send() -> None:
    rng = np.random.default_rng(0)
    parts, n_trees = np.array_split(rng.normal(size=(10_000, 30)), 20), 50
    way = Exact(IsolationForest(n_estimators=n_trees))
    steps = way.round(1, 1)
    assert len(steps) == 2 + 8 + 1 + EXTRA_LEVELS  # sketch, samples, heights 0 to 8, second looks
    state = {"rows": np.full(20, 500), "features": np.array(30)}
    sent = 0
    for step in steps:
        answers = answers_of(step, state, parts, range(20))
        sent += len(pack(answers[0][1]))
        state = combine(step, state, answers)
    assert sent / n_trees < 1000  # bytes a tree and client


# -- hostile and missing clients ---------------------------------------------------------------------


def test_when_a_client_goes_missing_the_forest_goes_on_with_what_is_left() -> None:
    parts = np.array_split(a_table(400).X, 4)
    way = Exact(IsolationForest(n_estimators=8))
    for missing in range(2, len(way.round(1, 1))):
        state = {"rows": np.full(4, 100), "features": np.array(6)}
        for number, step in enumerate(way.round(1, 1)):
            here = range(4) if number < missing else (0, 2)
            answers = answers_of(step, state, parts, here)
            state = combine(step, state, answers)
        detector = IsolationForest().load(way.model(state))
        scores = detector.score_samples(np.concatenate(parts))
        assert np.isfinite(scores).all() and scores.min() < -0.5
        counted = detector.forest_.psi if detector.forest_.rows is None else detector.forest_.rows
        assert counted.max() <= 256 and counted.min() >= 1


def at_level() -> tuple[GrowLevel, dict, dict, Turn]:
    """A step in the middle of the growth, its state, and the answer of one of two clients."""
    X = np.round(np.random.default_rng(6).normal(size=(120, 3)), 2)
    way = Exact(IsolationForest(n_estimators=4))
    state = {"rows": np.array([60, 60]), "features": np.array(3)}
    for number, step in enumerate(way.round(1, 1)):
        answers = answers_of(step, state, np.split(X, 2), range(2))
        if number == 5:
            step.check(state, answers[0][1], turn_of(0, 2))
            return step, state, answers[0][1], turn_of(0, 2)
        state = combine(step, state, answers)
    raise AssertionError


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("here", lambda a: a[:-1], "shape"),
        ("here", lambda a: a.astype(np.uint16), "dtype uint16"),
        ("here", lambda a: a | np.uint8(255), "shape|beyond"),
        ("rows", lambda a: a * 0, "below 1"),
        ("rows", lambda a: a + 200, "above 120"),
        ("rows", lambda a: a[:-1], "shape"),
        ("rows", lambda a: a * 0 + 1, "not zero where there is one row"),
        ("low", lambda a: a + 1, "multiples of 256"),
        ("low", lambda a: a * 0 + 0x7F800000, "above"),
        ("low", lambda a: a.astype(np.int64), "int64"),
        ("spread", lambda a: a + np.uint32(128), "multiples of 256"),
        ("spread", lambda a: a | np.uint32(0x80000000), "beyond the largest|not zero"),
        ("spread", lambda a: a[1:], "shape"),
    ],
)
def test_damaged_levels_are_refused(name: str, change, message: str) -> None:
    step, state, answer, turn = at_level()
    with pytest.raises(InvalidArrays, match=message):
        step.check(state, {**answer, name: change(answer[name])}, turn)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("per_tree", lambda a: a[:-1], "shape"),
        ("per_tree", lambda a: a + 1000, "above 120"),
        ("row", lambda a: a[::-1], "ascending"),
        ("row", lambda a: a * 0, "ascending"),
        ("row", lambda a: a.astype(np.uint32), "dtype uint32"),
        ("copies", lambda a: a * 0, "below 1"),
        ("copies", lambda a: a * 100, "adds up to more than 120"),
        ("n_features", lambda a: a + 1, "expected 3"),
    ],
)
def test_damaged_samples_are_refused(name: str, change, message: str) -> None:
    X = np.random.default_rng(7).normal(size=(60, 3))
    step, turn = DrawSamples(IsolationForest(), Trees(0, 4)), turn_of(0, 1)
    sketch = SketchRows(IsolationForest())
    state = {"rows": np.array([60]), "features": np.array(3)}
    counted = sketch.answer(sketch.request(state), X, None, turn)
    for damage in (counted["rows"] * 3, counted["rows"] * 0, counted["rows"] - 1, counted["rows"][1:]):
        with pytest.raises(InvalidArrays):
            sketch.check(state, {"rows": damage}, turn)
    state |= sketch.finish(state, counted)
    answer = step.answer(step.request(state), X, None, turn)
    step.check(state, answer, turn)
    with pytest.raises(InvalidArrays, match=message):
        step.check(state, {**answer, name: np.asarray(change(answer[name]))}, turn)


def test_a_client_cannot_push_its_rows_to_the_front() -> None:
    step, turn = DrawSamples(IsolationForest(max_samples=16), Trees(0, 50)), turn_of(0, 2)
    sketch = np.zeros(256, dtype=np.int32)
    sketch[0] = 10_000  # rows of all clients, of which this one has 100
    state = {"rows": np.array([100, 9900]), "features": np.array(3), "sample/sketch": sketch}
    honest = step.answer({"sketch": sketch}, np.random.default_rng(8).normal(size=(100, 3)), None, turn)
    step.check(state, honest, turn)
    tried = np.arange(30_000, dtype=np.uint64)
    cut = np.uint64(bottom_k.generous_cut(10_000, 16))
    early = [places(tried, np.ones(30_000, np.int64), key, cut)[:20, 1] for key in step.trees.keys(turn)]
    forged = {
        "per_tree": np.full(50, 20),
        "row": np.concatenate([np.sort(tried[index.astype(int)]) for index in early]),
        "copies": np.ones(1000, dtype=np.uint8),
        "n_features": np.array(3),
    }
    with pytest.raises(InvalidArrays, match="1000 rows come early in the trees' orders"):
        step.check(state, forged, turn)


def test_a_request_beyond_the_rows_is_refused_by_clients() -> None:
    step, state, _, turn = at_level()
    request, X = step.request(state), np.zeros((5, 3))
    for name, damage in (
        ("features", request["features"] + 3),
        ("tree", request["tree"] + 9),
        ("place", request["place"] + 10_000),
        ("nodes", request["nodes"] | 0xFF),
        ("nodes", request["nodes"].astype(np.int64)),
        ("asked", request["asked"] * 0),
        ("cut", request["cut"][:-1]),
    ):
        with pytest.raises(InvalidArrays):
            step.answer({**request, name: damage}, X, None, turn)


# -- codes and cuts ----------------------------------------------------------------------------------


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=2, max_size=30), st.integers(1, 23))
def test_codes_keep_the_order(values: list[float], bits: int) -> None:
    X = np.array(values)
    codes = codes_of(X, grid_step(300, bits)).astype(np.int64)
    order = np.argsort(X, kind="stable")
    assert (np.diff(codes[order]) >= 0).all() and (codes % grid_step(300, bits) == 0).all()
    finite = np.abs(X) < 3e38
    exact = codes_of(X, 1).astype(np.int64)
    assert np.array_equal(values_of(exact)[finite], X[finite])


@given(
    st.integers(-(2**20), 2**20),
    st.integers(1, 2**22),
    st.sampled_from([1, 256, 1 << 20]),
    st.floats(0, 1, exclude_max=True),
)
def test_a_cut_leaves_a_row_on_both_sides(low: int, spread: int, step: int, uniform: float) -> None:
    low, high = low // step * step, (low // step + spread // step + 1) * step
    low, high = max(low, -0x7F800000 // step * step), min(high, 0x7F7FFFFF // step * step)
    cut = draw_cuts(np.array([low]), np.array([high]), np.array([uniform]), step)[0]
    assert low <= cut < high and cut % step == 0


def test_growth_is_in_order_of_trees_and_places() -> None:
    _, state, _, _ = at_level()
    growth = Growth.of(state)
    assert (np.diff(growth.tree * 2**13 + growth.place) > 0).all()
    assert growth.asked.min() >= 1 and growth.asked.max() <= 3
