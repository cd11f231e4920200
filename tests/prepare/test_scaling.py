"""Federated scaling against scikit-learn on the pooled rows, and against hostile answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.prepare import SCALINGS, apply_scaling, scaling_step
from fedanomaly.privacy.sums import secure_sum

FITTED = ["standard", "robust", "minmax", "grid"]


def turn(client, clients=3):
    return Turn(1, 0, 1, client, tuple(range(clients)))


def fit(name, parts):
    step = scaling_step(name)
    state = {"rows": np.array([len(part) for part in parts], dtype=np.int64)}
    answers = []
    for client, part in enumerate(parts):
        who = turn(client, len(parts))
        answer = step.answer(step.request(state), part, None, who)
        step.check(state, answer, who)
        answers.append((who, answer))
    if isinstance(step, AdditiveStep):
        return step.finish(state, secure_sum(answers, len(parts)))
    return step.combine(state, answers)


def skewed_parts(X, clients=4):
    order = np.argsort(X[:, 0], kind="stable")
    return np.split(X[order], [3, 40, len(X) // 2][: clients - 1])


def rows(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.normal(1e5, 1e4, n),
            rng.normal(0, 1, n),
            np.exp(rng.normal(3, 2, n)),
            -rng.exponential(1e-3, n),
            rng.integers(0, 5, n),
        ]
    ).astype(np.float64)


def test_names():
    assert set(SCALINGS.registered()) == {"none", "standard", "robust", "minmax", "grid"}
    assert scaling_step("none") is None
    assert all(SCALINGS.get(name).leaks for name in FITTED)
    with pytest.raises(UserError, match="unknown scaling"):
        scaling_step("zscore")


def test_standard_equals_scikit_learn_on_pooled_rows():
    X = rows()
    state, pooled = fit("standard", skewed_parts(X)), StandardScaler().fit(X)
    np.testing.assert_allclose(state["scaling/center"], pooled.mean_, rtol=1e-11)
    np.testing.assert_allclose(state["scaling/scale"], pooled.scale_, rtol=1e-11)
    np.testing.assert_allclose(apply_scaling(X, state), pooled.transform(X), atol=1e-9)


def test_standard_is_accurate_far_from_zero():
    X = np.random.default_rng(1).normal(1e5, 1e4, (50_000, 2))
    state = fit("standard", np.array_split(X, 7))
    exact = np.sqrt(np.mean((X.astype(np.longdouble) - X.astype(np.longdouble).mean(axis=0)) ** 2, axis=0))
    np.testing.assert_allclose(state["scaling/scale"], exact.astype(np.float64), rtol=1e-11)
    np.testing.assert_allclose(state["scaling/center"], X.mean(axis=0), rtol=1e-13)


def test_minmax_equals_scikit_learn_on_pooled_rows():
    X = rows()
    scaled = apply_scaling(X, fit("minmax", skewed_parts(X)))
    np.testing.assert_allclose(scaled, MinMaxScaler().fit_transform(X), atol=1e-12)
    assert "smallest and largest" in SCALINGS.get("minmax").leaks


def test_robust_is_close_to_scikit_learn_on_pooled_rows():
    X = rows()
    state, pooled = fit("robust", skewed_parts(X)), RobustScaler().fit(X)
    np.testing.assert_allclose(state["scaling/scale"][:4], pooled.scale_[:4], rtol=0.02)
    offset = np.abs(state["scaling/center"] - pooled.center_) / pooled.scale_
    assert offset.max() < 0.02


@settings(max_examples=40, deadline=None)
@given(data=st.data(), n=st.integers(4, 200), seed=st.integers(0, 99))
def test_robust_and_minmax_do_not_depend_on_the_partition(data, n, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_cauchy((n * 20, 2)) * 10.0 ** rng.integers(-5, 5, 2)
    cuts = sorted(set(data.draw(st.lists(st.integers(1, len(X) - 1), max_size=5))))
    for name in ("robust", "minmax"):
        pooled, split = fit(name, [X]), fit(name, np.split(X, cuts))
        assert np.array_equal(pooled["scaling/center"], split["scaling/center"])
        assert np.array_equal(pooled["scaling/scale"], split["scaling/scale"])


def test_robust_answers_are_small():
    answer = scaling_step("robust").answer({}, rows(20_000), None, turn(0))
    assert answer["bins"].max() <= 1024
    assert sum(array.nbytes for array in answer.values()) <= 5 * (1024 * 12 + 16)


def test_robust_widens_its_range_where_a_feature_is_mostly_zero():
    X = np.zeros((1000, 2))
    X[:100, 0] = np.linspace(1000, 2000, 100)
    X[0, 1] = 5.0
    scale = fit("robust", [X])["scaling/scale"]
    assert scale[0] == pytest.approx(1500, rel=0.05)  # the 5 to 95 % range
    assert scale[1] == pytest.approx(5.0, rel=0.01)  # the whole range


@pytest.mark.parametrize("name", [name for name in FITTED if name != "grid"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, -1e9, 1e15, 1e-12])
def test_constant_features_get_scale_one(name, value):
    state = fit(name, np.array_split(np.full((1000, 1), value), 3))
    assert state["scaling/scale"].tolist() == [1.0]
    assert abs(apply_scaling(np.full((1, 1), value), state)[0, 0]) <= 2e-4 * abs(value) + 1e-300


@pytest.mark.parametrize("name", FITTED)
@settings(max_examples=60, deadline=None)
@given(
    X=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.floats(-1e140, 1e140)
    )
)
def test_any_finite_rows_give_a_usable_scaling(name, X):
    state = fit(name, [X])
    assert state["scaling/scale"].dtype == state["scaling/center"].dtype == np.float64
    assert (state["scaling/scale"] > 0).all() and np.isfinite(apply_scaling(X, state)).all()
    assert "rows" in state


def test_values_too_large_to_square_are_named():
    with pytest.raises(UserError, match="feature number 1"):
        fit("standard", [np.array([[1.0, 1e200]])])
    for name in ("robust", "minmax"):
        assert np.isfinite(fit(name, [np.array([[1.7e308], [-1.7e308], [0.0]])])["scaling/scale"]).all()


@pytest.mark.parametrize("name", FITTED)
def test_a_client_with_one_row_is_served(name):
    fit(name, [rows(1), rows(50)])


def test_apply_without_scaling_and_with_a_broken_one():
    X = np.asfortranarray(rows(10)[:, :2])
    plain = apply_scaling(X, {})
    assert plain.flags["C_CONTIGUOUS"] and np.array_equal(plain, X)
    good = {"scaling/center": np.zeros(2), "scaling/scale": np.ones(2)}
    assert apply_scaling(X.astype(np.float32), good).dtype == np.float64
    for name, array in [
        ("scaling/scale", np.array([1.0, 0.0])),
        ("scaling/scale", np.array([1.0, -1.0])),
        ("scaling/scale", np.array([1.0, np.nan])),
        ("scaling/scale", np.ones(3)),
        ("scaling/center", np.array([1, 2])),
        ("scaling/center", np.array([np.inf, 0.0])),
    ]:
        with pytest.raises(InvalidArrays):
            apply_scaling(X, {**good, name: array})
    with pytest.raises(InvalidArrays, match="missing"):
        apply_scaling(X, {"scaling/scale": np.ones(2)})


def test_the_callers_rows_stay():
    X = rows(10)
    before = X.copy()
    apply_scaling(X, fit("standard", [X]))
    assert np.array_equal(X, before)


STATE = {"rows": np.array([50, 50], dtype=np.int64)}


def moments(**changes):
    return {"count": np.array([10]), "sum": np.array([5.0]), "squares": np.array([4.0]), **changes}


@pytest.mark.parametrize(
    "answer",
    [
        moments(count=np.array([0])),
        moments(count=np.array([51])),
        moments(count=np.array([10.0])),
        moments(count=np.array([10], dtype=np.int32)),
        moments(sum=np.array([np.nan])),
        moments(sum=np.array([1e301])),
        moments(sum=np.array([5.0, 1.0])),
        moments(sum=np.array([5.0], dtype=np.float32)),
        moments(squares=np.array([-1.0])),
        moments(squares=np.array([np.inf])),
        moments(squares=np.array([2.4])),  # Cauchy-Schwarz asks for 2.5
        moments(extra=np.zeros(1)),
        {"count": np.array([10])},
        {},
    ],
)
def test_hostile_moments_are_refused(answer):
    step = scaling_step("standard")
    step.check(STATE, moments(), turn(0))
    with pytest.raises(InvalidArrays):
        step.check(STATE, answer, turn(0))


def histograms(**changes):
    good = {
        "bins": np.array([2, 1]),
        "coarsening": np.array([0, 3]),
        "keys": np.array([5, 9, 7], dtype=np.int32),
        "counts": np.array([4, 6, 10]),
    }
    return {**good, **changes}


@pytest.mark.parametrize(
    "answer",
    [
        histograms(keys=np.array([9, 5, 7], dtype=np.int32)),
        histograms(keys=np.array([5, 5, 7], dtype=np.int32)),
        histograms(keys=np.array([5, 9, 2**21], dtype=np.int32)),
        histograms(keys=np.array([5, 2**24, 7], dtype=np.int32)),
        histograms(counts=np.array([4, 6, 9])),
        histograms(counts=np.array([0, 10, 10])),
        histograms(counts=np.array([44, 7, 51])),
        histograms(counts=np.array([4.0, 6.0, 10.0])),
        histograms(bins=np.array([2, 2])),
        histograms(bins=np.array([3, 0])),
        histograms(bins=np.array([], dtype=np.int64)),
        histograms(bins=np.array([2**62, 2**62])),
        histograms(coarsening=np.array([0, 15])),
        histograms(coarsening=np.array([0])),
        {},
    ],
)
def test_hostile_histograms_are_refused(answer):
    step = scaling_step("robust")
    step.check(STATE, histograms(), turn(0))
    with pytest.raises(InvalidArrays):
        step.check(STATE, answer, turn(0))


@pytest.mark.parametrize(
    "answer",
    [
        {"min": np.array([1.0]), "max": np.array([0.0])},
        {"min": np.array([np.nan]), "max": np.array([0.0])},
        {"min": np.array([0.0]), "max": np.array([0.0, 1.0])},
        {"min": np.array([0.0])},
    ],
)
def test_hostile_minima_are_refused(answer):
    with pytest.raises(InvalidArrays):
        scaling_step("minmax").check(STATE, answer, turn(0))


@pytest.mark.parametrize("name", ["robust", "minmax"])
def test_clients_with_different_numbers_of_features_are_refused(name):
    step = scaling_step(name)
    answers = [(turn(c), step.answer({}, rows(10)[:, : c + 1], None, turn(c))) for c in range(2)]
    with pytest.raises(InvalidArrays, match="different numbers of features"):
        step.combine({}, answers)


arrays = st.dictionaries(
    st.sampled_from(["count", "sum", "squares", "min", "max", "bins", "coarsening", "keys", "counts"]),
    hnp.arrays(
        st.sampled_from([np.float64, np.int64, np.int32, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=2, max_side=4, min_side=0),
    ),
)


@pytest.mark.parametrize("name", FITTED)
@settings(max_examples=150, deadline=None)
@given(answer=arrays)
def test_no_answer_crashes_the_check_or_what_follows(name, answer):
    step = scaling_step(name)
    try:
        step.check(STATE, answer, turn(0))
    except InvalidArrays:
        return
    state = (
        step.finish({}, answer) if isinstance(step, AdditiveStep) else step.combine({}, [(turn(0), answer)])
    )
    assert (state["scaling/scale"] > 0).all() and np.isfinite(state["scaling/center"]).all()


def test_the_grid_finds_median_and_range_to_a_bin():
    X = np.random.default_rng(1).normal([0, 5, -300], [1, 3, 200], size=(5000, 3))
    pooled, fitted = RobustScaler().fit(X), fit("grid", skewed_parts(X))
    assert np.abs((fitted["scaling/center"] - pooled.center_) / pooled.scale_).max() < 0.2
    np.testing.assert_allclose(fitted["scaling/scale"], pooled.scale_, rtol=0.25)
    alone = fit("grid", [X])
    for name in ("scaling/center", "scaling/scale"):
        assert np.array_equal(alone[name], fitted[name])


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, -1e9, 1e-12])
def test_the_grid_centres_a_constant_feature_on_its_bin(value):
    state = fit("grid", [np.full((50, 1), value)])
    assert abs(apply_scaling([[value]], state)[0, 0]) <= 0.5 + 1e-9
