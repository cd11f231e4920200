"""Forests as named arrays: nothing is lost, little is sent, and nothing hostile gets in."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors import IsolationForest
from fedanomaly.detectors._forest_arrays import forest_from_arrays, forest_to_arrays
from fedanomaly.detectors._trees import Forest
from fedanomaly.federation.wire import pack


def grow(X: np.ndarray, n_trees: int = 5, max_samples: int = 256, depth: int = 1) -> Forest:
    keys = np.random.default_rng(0).integers(0, 2**64, n_trees, dtype=np.uint64)
    return IsolationForest(max_samples=max_samples).grow(np.ascontiguousarray(X), keys, depth)


def tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "normal": rng.normal(size=(300, 5)),
        "integers": rng.integers(-3, 3, size=(300, 4)).astype(np.float64),
        "huge": rng.choice([-1e300, -1e38, 0.0, 1e38, 1e300], size=(300, 3)),
        "tiny": rng.choice([-1e-40, 0.0, 1e-45, 1e-300], size=(300, 3)),
        "equal": np.ones((300, 2)),
        "wide": rng.normal(size=(300, 300)),
        "very wide": rng.normal(size=(20, 70_000)),
    }


@pytest.mark.parametrize("depth", [1, 9])
@pytest.mark.parametrize("max_samples", [1, 2, 100, 300])
@pytest.mark.parametrize("name", tables())
def test_what_is_packed_is_unpacked(name: str, max_samples: int, depth: int) -> None:
    forest = grow(tables()[name], max_samples=max_samples, depth=depth)
    back = forest_from_arrays(forest_to_arrays(forest))
    for part in ("nodes", "counts", "psi"):
        assert getattr(back, part).dtype == getattr(forest, part).dtype
        assert np.array_equal(getattr(back, part), getattr(forest, part))
    assert back.n_features == forest.n_features


def test_thresholds_are_values_between_the_rows() -> None:
    X = np.random.default_rng(0).normal(size=(300, 2))
    arrays = forest_to_arrays(grow(X))
    assert arrays["threshold"].min() >= X.min() and arrays["threshold"].max() <= X.max()
    assert arrays["feature"].dtype == np.uint8 and set(arrays["feature"].tolist()) == {0, 1}


def wire_bytes(forest: Forest) -> float:
    return len(pack(forest_to_arrays(forest))) / len(forest)


@pytest.mark.parametrize("n_features", [2, 30, 100])
@pytest.mark.parametrize("draw", ["random", "standard_normal", "standard_cauchy"])
def test_a_tree_takes_at_most_300_bytes(draw: str, n_features: int) -> None:
    X = getattr(np.random.default_rng(2), draw)(size=(5000, n_features))  # no ties: the tallest order
    assert wire_bytes(grow(X, n_trees=100)) <= 300


@pytest.mark.skipif("FEDANOMALY_DATA" not in os.environ, reason="FEDANOMALY_DATA: no credit-card sample")
def test_a_credit_card_tree_takes_at_most_160_bytes() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.read_parquet(Path(os.environ["FEDANOMALY_DATA"]) / "creditcard" / "creditcard.parquet")
    assert wire_bytes(grow(frame.drop(columns="Class").to_numpy(np.float64), n_trees=100)) <= 160


# -- hostile arrays ---------------------------------------------------------------------------------


def valid(n_features: int = 3) -> dict[str, np.ndarray]:
    X = np.random.default_rng(3).normal(size=(30, n_features))
    return forest_to_arrays(grow(X, n_trees=5, max_samples=8))


def test_valid_arrays_are_taken_and_copied() -> None:
    arrays = valid()
    forest = forest_from_arrays(arrays)
    psi = forest.psi.copy()
    arrays["psi"][:] = 0
    assert np.array_equal(forest.psi, psi) and forest.nodes.flags.writeable


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("splits", lambda a: a.astype(np.uint16), "dtype uint16"),
        ("splits", lambda a: a[:-1], "shape"),
        ("splits", lambda a: a[:0], "shape"),
        ("splits", lambda a: a | np.uint8(1), "beyond the last place"),
        ("splits", lambda a: a * 0, "shape"),
        ("feature", lambda a: a | 0x0F, "above 2"),
        ("feature", lambda a: a.astype(np.int8), "dtype int8"),
        ("feature", lambda a: a[:-1], "shape"),
        ("threshold", lambda a: a.astype(np.float64), "dtype float64"),
        ("threshold", lambda a: a.astype(">f4"), "dtype"),
        ("threshold", lambda a: a * np.float32("nan"), "not finite"),
        ("threshold", lambda a: np.full_like(a, np.inf), "not finite"),
        ("threshold", lambda a: np.full_like(a, 0.1), "more than 24 bits"),
        ("threshold", lambda a: np.full_like(a, -0.0), "more than 24 bits"),
        ("leaf_rows", lambda a: a.astype(np.int64), "dtype int64"),
        ("leaf_rows", lambda a: a * 2, "add up|above"),
        ("leaf_rows", lambda a: a * 0, "below 1"),
        ("leaf_rows", lambda a: a[1:], "shape"),
        ("psi", lambda a: a + 1, "above"),
        ("psi", lambda a: a - 1, "add up"),
        ("psi", lambda a: a * 0, "below 1"),
        ("psi", lambda a: a[:0], "0 trees"),
        ("psi", lambda a: np.ones(100_001, np.int32), "100001 trees"),
        ("psi", lambda a: a[:, None], "shape"),
        ("depth", lambda a: np.array(0), "below 1"),
        ("depth", lambda a: np.array(13), "above 12"),
        ("depth", lambda a: np.array(4), "shape"),
        ("n_features", lambda a: np.array(0), "below 1"),
        ("n_features", lambda a: np.array([3]), "shape"),
        ("n_features", lambda a: np.array(3.0), "dtype float64"),
    ],
)
def test_damaged_arrays_are_refused(name: str, change, message: str) -> None:
    arrays = valid()
    with pytest.raises(InvalidArrays, match=message):
        forest_from_arrays({**arrays, name: change(arrays[name])})


def test_a_split_below_a_leaf_is_refused() -> None:
    arrays = valid()
    bits = np.unpackbits(arrays["splits"])
    bits[0] = 0  # the first tree's root, above its other splits
    arrays["splits"] = np.packbits(bits)
    with pytest.raises(InvalidArrays, match="below a node that does not split"):
        forest_from_arrays(arrays)


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, np.ndarray]:
    arrays = {name: array.copy() for name, array in valid(draw(st.sampled_from([3, 300]))).items()}
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(sorted(arrays)))
        array = arrays[name]
        kind = draw(st.sampled_from(["value", "value", "value", "swap", "dtype", "shape", "drop"]))
        if kind == "drop":
            del arrays[name]
        elif kind == "dtype" and array.dtype.kind != "U":  # a text need not be a number
            arrays[name] = array.astype(
                draw(st.sampled_from(["i1", "i4", "i8", "u2", "f4", "f8", "?", "U3"]))
            )
        elif kind == "shape":
            shapes = [array[None], array.ravel(), array.T]
            arrays[name] = draw(
                st.sampled_from([*shapes, array[:0], array[..., :-1]] if array.ndim else shapes)
            )
        elif array.size and array.dtype.kind in "iu":
            flat = array.reshape(-1).copy()
            where = draw(st.integers(0, flat.size - 1))
            if kind == "swap":
                other = draw(st.integers(0, flat.size - 1))
                flat[[where, other]] = flat[[other, where]]
            else:
                info = np.iinfo(array.dtype)
                near = int(flat[where]) + draw(st.integers(-300, 300))
                value = draw(st.one_of(st.just(near), st.integers(int(info.min), int(info.max))))
                flat[where] = min(max(value, int(info.min)), int(info.max))
            arrays[name] = flat.reshape(array.shape)
        if not arrays:
            break
    return arrays


@settings(max_examples=400, deadline=None)
@given(mutations())
def test_hostile_arrays_are_refused_or_score(arrays: dict[str, np.ndarray]) -> None:
    try:
        detector = IsolationForest().load(arrays)
    except InvalidArrays:
        return
    X = np.zeros((3, min(detector.n_features_in_, 10_000)))
    if X.shape[1] == detector.n_features_in_:  # else so many columns only cost the test its memory
        X[0], X[1] = 1e300, -1e300
        result = detector.score_samples(X)
        assert np.isfinite(result).all() and (result <= 0).all() and (result >= -1).all()
