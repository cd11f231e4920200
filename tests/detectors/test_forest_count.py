"""The count forest: sums of counts on trees that no row has shaped, so that rows come and go exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import fedanomaly
from fedanomaly.core.arrays import digest
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.data.base import Table
from fedanomaly.detectors import IsolationForest
from fedanomaly.detectors._box_loops import _unwarped, _warped
from fedanomaly.detectors._box_trees import Box, CountForest
from fedanomaly.detectors._forest_codes import codes_of, to_image
from fedanomaly.detectors._forest_count import Count, CountRows, FindBox, FindWidths
from fedanomaly.detectors._trees import AVERAGE_PATH, average_path
from fedanomaly.detectors.contract import run_steps
from fedanomaly.partition import PartitionRequest, registered, split

SEED = 5
BOXES = ["arcsinh", "minmax"]


@parametrize_with_checks([IsolationForest(count_box="minmax", grid_bits=5)])
def test_scikit_learn_contract(estimator, check) -> None:
    check(estimator)


def rows(n_rows: int = 600) -> np.ndarray:
    """Heavy tails, whole numbers, a constant; many rows that are equal."""
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.standard_cauchy(n_rows), rng.normal(size=n_rows), rng.integers(0, 3, n_rows), np.ones(n_rows)]
    )
    X[100:200] = X[0]
    return X


def build(parts: list[np.ndarray], rounds: int = 1, **params) -> dict[str, np.ndarray]:
    way = Count(IsolationForest(**{"n_estimators": 15, "max_samples": 64, **params}))
    return way.model(run_steps(way, parts, rounds=rounds, seed=SEED))


def loaded(parts: list[np.ndarray], **params) -> IsolationForest:
    return IsolationForest(**params).load(build(parts, **params))


# -- one forest, whoever holds the rows --------------------------------------------------------------


@pytest.mark.parametrize("clients", [3, 20, 100])
@pytest.mark.parametrize("name", [name for name, cls in registered().items() if not cls.overlapping])
@pytest.mark.parametrize("box", BOXES)
def test_the_forest_is_the_same_under_every_disjoint_partition(box: str, name: str, clients: int) -> None:
    X = rows()
    rng = np.random.default_rng(1)
    table = Table(
        "count",
        X,
        (rng.permutation(len(X)) < 100).astype(np.int8),
        tuple("abcd"),
        "generated",
        "0" * 64,
        time=np.arange(len(X), dtype=np.float64),
        groups={"site": rng.integers(0, 200, len(X))},
    )
    indices = split(name, table, PartitionRequest(clients, seed=SEED, min_rows=1))
    model = build([X[index] for index in indices], count_box=box)
    assert digest(model) == digest(build([X], count_box=box))


def test_rounds_only_share_the_trees() -> None:
    parts = np.array_split(rows(), 4)
    assert digest(build(parts, rounds=4)) == digest(build(parts, rounds=20)) == digest(build(parts))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("max_samples", [1, 2, 16, 4096, 0.5])
def test_every_sample_size_is_taken(max_samples, box: str) -> None:
    detector = loaded(np.array_split(rows(), 3), max_samples=max_samples, count_box=box)
    scores = detector.score_samples(rows())
    assert ((scores <= 0) & (scores >= -1)).all()
    assert detector.max_samples_ == {1: 1, 2: 2, 16: 16, 4096: 600, 0.5: 300}[max_samples]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32"])
def test_every_numeric_dtype_makes_the_same_forest(dtype: str, box: str) -> None:
    X = np.random.default_rng(2).integers(0, 50, size=(150, 3))
    expected = digest(build([X.astype(np.float64)], count_box=box))
    assert digest(build(np.array_split(X.astype(dtype), 3), count_box=box)) == expected


@pytest.mark.parametrize("box", BOXES)
def test_one_row_clients_constants_and_300_features(box: str) -> None:
    assert digest(build(list(rows(40)[:, None]), count_box=box)) == digest(build([rows(40)], count_box=box))
    assert np.allclose(loaded([np.ones((30, 2))] * 2, count_box=box).score_samples(np.ones((3, 2))), -0.5)
    X = np.zeros((100, 300))
    X[:, 289] = np.random.default_rng(0).normal(size=100)
    detector = loaded(np.split(X, 4), count_box=box)
    nodes = detector.count_forest_.nodes
    assert set((nodes[nodes != 0x7F800000 << 32] & 0xFFFFFFFF).tolist()) == {289}
    assert detector.score_samples(X).argmin() in (X[:, 289].argmin(), X[:, 289].argmax())


@pytest.mark.parametrize("box", BOXES)
def test_as_good_as_a_forest_in_one_place(box: str) -> None:
    rng = np.random.default_rng(5)
    y = (rng.random(1500) < 0.05).astype(int)
    X = rng.normal(size=(1500, 5)) * np.where(y, 2.2, 1.0)[:, None]
    ours = roc_auc_score(y, -loaded([X], n_estimators=300, count_box=box).score_samples(X))
    pooled = IsolationForest(n_estimators=300, max_samples=64, random_state=0).fit(X)
    assert ours > roc_auc_score(y, -pooled.score_samples(X)) - 0.02


def test_scores_are_those_of_a_plain_walk() -> None:
    X = rows()
    detector = loaded([X], max_samples=64)
    forest = detector.count_forest_
    depth, node_rows = 6, forest.leaf_rows
    lengths = np.zeros((len(X), 15))
    codes = codes_of(X, 256)
    for tree in range(15):
        for i, code in enumerate(codes):
            place, level = 1, 0
            while True:
                below = node_rows[
                    tree, (place << (depth - level)) - 64 : ((place + 1) << (depth - level)) - 64
                ]
                share = 64 * below.sum() / len(X)
                node = forest.nodes[tree, place - 1] if level < depth else 0x7F800000
                if share <= 1 or node == 0x7F800000:
                    break
                place, level = 2 * place + int(code[node & 0xFF] > (node & ~0xFF)), level + 1
            lengths[i, tree] = level + average_path(np.array([share]))[0]
    expected = -np.exp2(-(lengths / AVERAGE_PATH[64]).mean(axis=1))
    np.testing.assert_allclose(detector.score_samples(X), expected, rtol=1e-6)


# -- adding, forgetting, decaying --------------------------------------------------------------------


@pytest.mark.parametrize("box", BOXES)
def test_a_forgotten_client_was_never_there(box: str) -> None:
    parts = np.array_split(rows(), 3)
    parts[2] = parts[1][::2].copy()  # inside the others' box, which stays
    way = Count(IsolationForest(n_estimators=15, count_box=box))
    state = run_steps(way, parts, rounds=1, seed=SEED)
    without = dict(state)
    for step in way.round(1, 1):  # the same box, without the third client's counts
        turns = [Turn(SEED, 1, 1, client, (0, 1)) for client in (0, 1)]
        total = sum(step.answer(step.request(state), parts[t.client], None, t)["leaf_rows"] for t in turns)
        without |= step.finish(
            {k: v for k, v in state.items() if k != "count/leaf_rows"}, {"leaf_rows": total}
        )
    forgetful = IsolationForest().load(way.model(state)).forget(parts[2])
    never = IsolationForest().load(way.model(without))
    assert digest(forgetful.to_arrays()) == digest(never.to_arrays())
    assert np.array_equal(forgetful.score_samples(rows()), never.score_samples(rows()))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_rows_come_and_go_exactly_in_any_order(data: st.DataObject) -> None:
    X = rows(60)
    start = loaded([X], max_samples=16)
    counts = np.ones(60, dtype=int)
    detector = IsolationForest(max_samples=16).load(start.to_arrays())
    for _ in range(data.draw(st.integers(1, 6))):
        chosen = np.array(data.draw(st.lists(st.integers(0, 59), min_size=1, max_size=20, unique=True)))
        if data.draw(st.booleans()):
            detector.add(X[chosen])
            counts[chosen] += 1
        elif (counts[chosen] > 0).all():
            detector.forget(X[chosen])
            counts[chosen] -= 1
    expected = start.count_forest_.box.rows_in(np.repeat(X, counts, axis=0), start.count_forest_.nodes)
    assert np.array_equal(detector.count_forest_.leaf_rows, expected)
    assert detector.count_forest_.leaf_rows.dtype == np.int64


def test_adding_is_training_on_all() -> None:
    X = rows()
    whole = loaded([X])
    detector = IsolationForest().load(whole.to_arrays()).forget(X[300:])
    assert digest(detector.to_arrays()) != digest(whole.to_arrays())
    assert detector.offset_ == -0.5 and detector.add(X[300:].tolist()) is detector
    assert digest(detector.to_arrays()) == digest(whole.to_arrays())


def test_what_was_never_counted_cannot_be_forgotten() -> None:
    detector = loaded([rows()])
    before = digest(detector.to_arrays())
    with pytest.raises(UserError, match="cannot be forgotten"):
        detector.forget(np.repeat(rows()[:1], 700, axis=0))
    assert digest(detector.to_arrays()) == before


def test_a_forest_that_has_forgotten_everything_tells_nothing() -> None:
    detector = loaded([rows()]).forget(rows())
    assert detector.score_samples(rows()[:3]).tolist() == [-0.5] * 3
    assert digest(detector.add(rows()).to_arrays()) == digest(build([rows()]))


def test_decay_lets_new_rows_count_for_more() -> None:
    old, new = rows()[:300], rows()[:300] * [1, 0.1, 1, 1] + [0, 2.0, 0, 0]
    stays = loaded([np.concatenate([old, new])]).forget(new)
    fades = IsolationForest().load(stays.to_arrays())
    for batch in np.split(new, 10):
        stays.add(batch)
        fades.decay(0.7).add(batch)
    assert fades.score_samples(new).mean() > stays.score_samples(new).mean() + 0.02
    assert fades.score_samples(old).mean() < stays.score_samples(old).mean()
    again = IsolationForest().load(fades.to_arrays())
    assert digest(again.to_arrays()) == digest(fades.to_arrays())
    assert np.array_equal(again.score_samples(old), fades.score_samples(old))


def test_forgetting_after_a_decay() -> None:
    X = rows()
    both = loaded([X]).decay(0.5).decay(0.5)
    assert digest(both.forget(X[:200], weight=0.25).to_arrays()) == digest(
        loaded([X]).forget(X[:200]).decay(0.25).to_arrays()
    )
    odd = loaded([X]).decay(0.9)
    late = digest(odd.to_arrays())
    assert digest(odd.add(X[:50]).forget(X[:50]).to_arrays()) == late  # exact, although 0.9 is not
    left = odd.forget(X[:200], weight=0.9).count_forest_.leaf_rows
    never = loaded([X]).forget(X[:200]).decay(0.9).count_forest_.leaf_rows
    assert np.abs(left - never).max() <= 2.0**-19
    with pytest.raises(UserError, match="weigh less by now"):
        odd.forget(X[200:])


@pytest.mark.parametrize("value", [0, -1, 1.5, "half", float("nan")])
def test_impossible_factors_are_named(value) -> None:
    with pytest.raises(ValueError, match=r"^factor must be a number above 0, up to 1"):
        loaded([rows()]).decay(value)


def test_only_trees_that_count_can_change() -> None:
    detector = IsolationForest(random_state=0).fit(rows())
    for name in ("add", "forget", "decay"):
        assert not hasattr(detector, name) and hasattr(loaded([rows()]), name)
    with pytest.raises(AttributeError):
        detector.add(rows())
    changed = loaded([rows()]).load(detector.to_arrays())
    assert not hasattr(changed, "count_forest_") and not hasattr(changed, "forget")


@pytest.mark.parametrize("name", ["add", "forget"])
def test_missing_values_are_refused_in_one_sentence(name: str) -> None:
    X = rows()
    detector = loaded([X])
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        getattr(detector, name)(X)
    with pytest.raises(UserError, match="missing values"):
        build([X])


def test_a_run_gives_a_detector_that_can_unlearn(tmp_path) -> None:
    result = fedanomaly.run(
        "wdbc", clients=3, rounds=1, aggregation="count", references=False, out=tmp_path / "run"
    )
    X = np.random.default_rng(0).normal(size=(20, 30))
    before = digest(result.detector.to_arrays())
    assert digest(result.detector.add(X).forget(X).to_arrays()) == before
    assert digest(fedanomaly.open_model(result.path / "model.npz").detector.to_arrays()) == before


# -- boxes -------------------------------------------------------------------------------------------


def test_the_box_is_that_of_all_rows() -> None:
    X = rows()[:, :3]
    box = Box.from_arrays({n: a for n, a in build(np.array_split(X, 5)).items() if n in Box._fields})
    low, high = (to_image(codes).view(np.float32) for codes in (box.low, box.high))
    np.testing.assert_allclose([low, high], [X.min(axis=0), X.max(axis=0)], rtol=2.0**-14)
    step = (X.max(axis=0) - X.min(axis=0)) / 2**18
    assert (np.abs(box.center - X.mean(axis=0)) <= 2 * step + 1e-3 * X.std(axis=0)).all()
    np.testing.assert_allclose(box.width, X.std(axis=0), rtol=1e-3)
    assert (build([X], count_box="minmax")["width"] == 0).all()


@pytest.mark.parametrize("bits", [1, 3, 23])
def test_a_box_on_a_grid_holds_all_rows(bits: int) -> None:
    X = rows()
    model, exact = build([X], grid_bits=bits), build([X])
    assert (model["low"] <= exact["low"]).all() and (model["high"] >= exact["high"]).all()
    assert (model["low"] < exact["low"]).any() == (bits < 15)
    assert (model["low"] % 2 ** max(8, 23 - bits) == 0).all()


def test_arcsinh_cuts_more_where_the_rows_are() -> None:
    X = np.random.default_rng(0).standard_cauchy(size=(4000, 1))
    inside = {}
    for box in BOXES:
        nodes = loaded([X], n_estimators=200, count_box=box).count_forest_.nodes[:, 0]
        cuts = to_image((nodes & ~0xFF).astype(np.int32)).view(np.float32)
        inside[box] = np.mean(np.abs(cuts) < 20 * np.std(X) / 20)
    assert inside["arcsinh"] > 2 * inside["minmax"]


@given(st.floats(-1e30, 1e30))
def test_the_warp_is_odd_invertible_and_close_to_arcsinh(value: float) -> None:
    floats = np.empty(1)
    warp = _warped(value, floats, floats.view(np.int64))
    assert _warped(-value, floats, floats.view(np.int64)) == -warp
    assert abs(warp - np.arcsinh(value) / np.log(2)) <= 0.09
    back = _unwarped(warp, floats, floats.view(np.int64))
    assert back == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_trees_are_the_same_on_every_machine() -> None:
    low, high = codes_of(np.array([[-3.0, 0.0, 1e-3], [5.0, 1e6, 2.0]]), 256)
    keys = np.arange(20, dtype=np.uint64)
    for width, pinned in ((np.zeros(3), PINNED[0]), (np.array([1.0, 50.0, 0.2]), PINNED[1])):
        assert digest({"nodes": Box(low, high, np.ones(3), width).trees(keys, 6)})[:16] == pinned


PINNED = ("19d80e1d5743dd4d", "661e82dcc7094994")


# -- hostile arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("keys", lambda a: a.astype(np.int64), "kind"),
        ("keys", lambda a: a[:0], "0 trees"),
        ("keys", lambda a: a[:-1], "shape"),
        ("keys", lambda a: a + np.uint64(1), "where there is no leaf"),
        ("low", lambda a: a - 1, "multiples"),
        ("low", lambda a: a * 0 + 0x7F7FFF00, "ends before it begins"),
        ("low", lambda a: a.astype(np.int64), "dtypes int64"),
        ("high", lambda a: a[:-1], "shape"),
        ("center", lambda a: a + 1e300, "above"),
        ("center", lambda a: a.astype(np.float32), "float32, expected float64"),
        ("width", lambda a: -a - 1, "below"),
        ("width", lambda a: a * 0 + 1e-300, "too small"),
        ("psi", lambda a: a * 0, "below"),
        ("psi", lambda a: a + 5000, "above"),
        ("leaf_rows", lambda a: a.astype(np.int64), "kind"),
        ("leaf_rows", lambda a: a + 0.3, "shares of a row"),
        ("leaf_rows", lambda a: a.astype(np.float32), "shares of a row"),
        ("leaf_rows", lambda a: a[:, :-1], "leaves a tree"),
        ("leaf_rows", lambda a: -1.0 * a - 1, "below"),
    ],
)
def test_damaged_models_are_refused(name: str, change, message: str) -> None:
    arrays = build([1 + rows()[:, 2:] * 2.0**-14])  # of three values: trees have leaves above the bottom
    with pytest.raises(InvalidArrays, match=message):
        CountForest.from_arrays({**arrays, name: np.asarray(change(arrays[name]))})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a * 3, "expected one number up to"),
        (lambda a: a * 0, "trees count 0"),
        (lambda a: a - 1, "below 0"),
        (lambda a: a.T, "shape"),
        (lambda a: a.astype(np.int64), "dtype int64"),
        (lambda a: np.concatenate([a[:1] * 2, a[1:]]), "trees count 40 to 80"),
    ],
)
def test_a_client_cannot_count_more_rows_than_it_has(change, message: str) -> None:
    X, turn = rows()[:40], Turn(SEED, 1, 1, 0, (0,))
    state = run_steps(Count(IsolationForest(n_estimators=6)), [X], rounds=1, seed=SEED)
    step = CountRows(0, 6)
    answer = step.answer(step.request(state), X, None, turn)
    step.check(state, answer, turn)
    with pytest.raises(InvalidArrays, match=message):
        step.check(state, {"leaf_rows": change(answer["leaf_rows"])}, turn)


def test_impossible_boxes_and_sums_are_refused() -> None:
    X, turn = rows()[:40], Turn(SEED, 0, 1, 0, (0,))
    find = FindBox(IsolationForest(n_estimators=6))
    state = {"rows": np.array([40]), "features": np.array(4)}
    box = find.answer({}, X, None, turn)
    find.check(state, box, turn)
    for damage in (
        {"low": box["high"], "high": box["low"]},
        {**box, "low": box["low"][1:]},
        {"low": box["low"]},
    ):
        with pytest.raises(InvalidArrays):
            find.check(state, damage, turn)
    state |= find.combine(state, [(turn, box)])
    widths = FindWidths()
    sums = widths.answer(widths.request(state), X, None, turn)
    widths.check(state, sums, turn)
    for name, array in (
        ("count", sums["count"] * 3),
        ("sum", sums["sum"] + 2**30),
        ("squares", sums["squares"] * 0),
        ("squares", sums["squares"] + 2**50),
        ("sum", sums["sum"].astype(np.int32)),
    ):
        with pytest.raises(InvalidArrays):
            widths.check(state, {**sums, name: array}, turn)


def test_one_row_moves_the_counts_by_no_more_than_declared() -> None:
    X, turn = rows()[:60], Turn(SEED, 1, 1, 0, (0,))
    state = run_steps(Count(IsolationForest(n_estimators=6)), [X], rounds=1, seed=SEED)
    step = CountRows(0, 6)
    request = step.request(state)
    bound = step.sensitivity(request, 4, float("inf"))["leaf_rows"]
    changed = X.copy()
    changed[7] = 50.0
    before, after = (
        step.answer(request, rows_, None, turn)["leaf_rows"].astype(int) for rows_ in (X, changed)
    )
    assert 0 < np.abs(after - before).sum() <= bound.l1 == 12
    assert ((after - before) ** 2).sum() <= bound.l2**2 + 1e-9
    assert step.repaired({"leaf_rows": np.array([-3, 4])})["leaf_rows"].tolist() == [0, 4]
