"""The forest's compiled loops: all paths agree to the bit, and with scikit-learn's formula."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest as Reference
from sklearn.ensemble import _iforest
from sklearn.tree._tree import Tree

from fedanomaly.detectors import IsolationForest, _forest_masks, _vectors
from fedanomaly.detectors._trees import AVERAGE_PATH, Forest, no_split

ROOT = Path(__file__).resolve().parents[2]
needs_vectors = pytest.mark.skipif(not _vectors.supported(), reason="no AVX-512: there is one path only")


def fitted(X: np.ndarray, n_trees: int = 20, psi: int = 256) -> IsolationForest:
    return IsolationForest(n_estimators=n_trees, max_samples=psi, random_state=0).fit(X)


def portable_scores(detector: IsolationForest, X: np.ndarray) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDANOMALY_PORTABLE", "1")
        return detector.score_samples(X)


def tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "normal": rng.normal(size=(1000, 30)),
        "one feature": rng.normal(size=(700, 1)),
        "fifteen": rng.standard_t(1.5, size=(700, 15)),
        "seventeen": rng.normal(size=(321, 17)),
        "all 256": rng.normal(size=(300, 256)),
        "close": 1000.0 + rng.integers(0, 40, size=(600, 3)) * 2.0**-13,
        "duplicates": rng.integers(-2, 2, size=(600, 4)).astype(np.float64),
        "constant": np.column_stack([np.ones(400), rng.normal(size=400), np.zeros(400)]),
        "zeros": np.where(rng.random((500, 2)) < 0.5, 0.0, -0.0),
        "huge": rng.choice([-1e300, -1e38, 0.0, 1e38, 1e300], size=(500, 3)),
        "tiny": rng.choice([-1e-40, 0.0, 1e-45, 1e-300], size=(500, 3)),
    }


# -- paths ------------------------------------------------------------------------------------------


@needs_vectors
@pytest.mark.parametrize("name", tables())
def test_paths_agree_to_the_bit(name: str) -> None:
    X = tables()[name]
    detector = fitted(X)
    assert detector.forest_.program is not None
    assert np.array_equal(detector.score_samples(X), portable_scores(detector, X))
    if np.abs(X).max() < 1e38:
        x = X.astype(np.float32)
        assert np.array_equal(detector.score_samples(x), portable_scores(detector, x))


@needs_vectors
@pytest.mark.parametrize("psi", [1, 2, 16, 64, 512, 4096])
def test_paths_agree_for_every_sample_size(psi: int) -> None:
    X = np.random.default_rng(2).standard_t(2, size=(4200, 5))
    detector = fitted(X, 8, psi)
    assert np.array_equal(detector.score_samples(X), portable_scores(detector, X))


@needs_vectors
@settings(max_examples=30)
@given(st.integers(64, 1100), st.integers(1, 40), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_paths_agree_for_every_shape(rows: int, features: int, trees: int, seed: int) -> None:
    X = np.random.default_rng(seed).normal(size=(rows, features))
    detector = fitted(X, trees)
    assert np.array_equal(detector.score_samples(X), portable_scores(detector, X))


@needs_vectors
def test_the_vector_path_is_taken_where_it_is_quicker(monkeypatch) -> None:
    taken = []
    score = _forest_masks.score
    monkeypatch.setattr(_forest_masks, "score", lambda *args: taken.append(len(args[0])) or score(*args))
    X = tables()["normal"]
    detector = fitted(X)
    detector.score_samples(X)
    detector.score_samples(X[:63])  # too few rows
    portable_scores(detector, X)
    assert taken == [1000]


def test_wide_and_bushy_forests_are_walked() -> None:
    rng = np.random.default_rng(3)
    assert fitted(rng.normal(size=(300, 257)), 2).forest_.program is None
    assert fitted(rng.random((4096, 3)), 2, 4096).forest_.program is None  # more than 256 leaves a tree
    full = Forest.blank(3, 256, 8, 1)
    full.nodes[:] = 0
    full.counts[:] = np.arange(256)
    assert full.program is None  # 255 splits a tree


def test_splits_that_change_no_value_are_left_out() -> None:
    forest = Forest.blank(1, 5, 2, 3)
    forest.nodes[:] = [[1, 2, no_split(np.int32)]]  # the root; its left child splits; its right one does not
    forest.counts[:] = [[1, 1, 3, 0]]
    assert forest.leaf_values[0, 0] == forest.leaf_values[0, 1]
    program = forest.program
    assert program is not None
    assert program.starts.tolist() == [0, 1] and program.nodes.tolist() == [1]
    assert program.places.tolist() == [0] and program.leaf_places.tolist() == [1, 2]
    assert program.leaf_values[:2].tolist() == forest.leaf_values[0, [0, 2]].tolist()


@pytest.mark.parametrize("portable", ["0", "1"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_not_finite_are_refused(portable: str, bad: float, dtype, monkeypatch) -> None:
    monkeypatch.setenv("FEDANOMALY_PORTABLE", portable)
    X = tables()["seventeen"].astype(dtype)
    detector = fitted(X, 2)
    for row, feature in [(0, 0), (255, 16), (256, 3), (320, 16)]:
        spoilt = X.copy()
        spoilt[row, feature] = bad
        with pytest.raises(ValueError, match="Input X contains"):
            detector.score_samples(spoilt)
        with pytest.raises(ValueError, match="Input X contains"):
            detector.score_samples(spoilt[row : row + 1])
        with pytest.raises(ValueError, match="Input X contains"):
            IsolationForest(n_estimators=2).fit(spoilt)


def test_an_array_that_needs_validation_gets_it() -> None:
    X = tables()["normal"]
    detector, expected = fitted(X), fitted(X).score_samples(X)
    assert np.array_equal(detector.score_samples(X.tolist()), expected)
    assert np.array_equal(detector.score_samples(np.asfortranarray(X)), expected)
    assert np.array_equal(detector.score_samples(X.astype(">f8")), expected)
    assert np.array_equal(detector.score_samples(np.repeat(X, 2, axis=0)[::2]), expected)
    for wrong in (X[:, :3], X[:0], X[0]):
        with pytest.raises(ValueError):
            detector.score_samples(wrong)


# -- scikit-learn's formula ---------------------------------------------------------------------------


def sklearn_tree(forest: Forest, which: int, dtype: np.dtype) -> Tree:
    """Return one of our trees as scikit-learn's."""
    nodes, counts, records = forest.nodes[which], forest.counts[which], []

    def add(at: int) -> int:
        number = len(records)
        records.append(np.zeros(1, dtype)[0])
        record = records[number]
        record["left_child"] = record["right_child"] = -1
        record["feature"], record["threshold"] = -2, -2.0
        if at < len(nodes) and (node := int(nodes[at])) != no_split(nodes.dtype):
            image = np.int32(node | 0xFF)  # the largest float32 that the kept bits do not tell apart
            record["feature"] = node & 0xFF
            record["threshold"] = (image ^ ((image >> 31) & 0x7FFFFFFF)).view(np.float32)
            record["left_child"], record["right_child"] = add(2 * at + 1), add(2 * at + 2)
            samples = sum(records[record[side]]["n_node_samples"] for side in ("left_child", "right_child"))
        else:
            while at < len(nodes):
                at = 2 * at + 1
            samples = counts[at - len(nodes)]
        record["n_node_samples"] = record["weighted_n_node_samples"] = samples
        return number

    add(0)
    tree = Tree(forest.n_features, np.array([1], dtype=np.intp), 1)
    values = np.zeros((len(records), 1, 1))
    state = {
        "max_depth": forest.depth,
        "node_count": len(records),
        "nodes": np.array(records),
        "values": values,
    }
    tree.__setstate__(state)
    return tree


@pytest.mark.parametrize(
    ("name", "psi"), [("normal", 256), ("normal", 16), ("duplicates", 256), ("close", 500)]
)
def test_scores_are_those_of_scikit_learn_on_the_same_trees(name: str, psi: int, monkeypatch) -> None:
    X = tables()[name]
    ours = fitted(X, 30, psi)
    theirs = Reference(n_estimators=30, max_samples=psi, random_state=0).fit(X)
    # its c(n) takes a logarithm for the harmonic number, which is off by a quarter at n = 3; ours is exact
    monkeypatch.setattr(_iforest, "_average_path_length", lambda n: AVERAGE_PATH[np.asarray(n, dtype=int)])
    kind = theirs.estimators_[0].tree_.__getstate__()["nodes"].dtype
    for i, estimator in enumerate(theirs.estimators_):
        estimator.tree_ = sklearn_tree(ours.forest_, i, kind)
    trees = [estimator.tree_ for estimator in theirs.estimators_]
    theirs._decision_path_lengths = [tree.compute_node_depths() for tree in trees]
    theirs._average_path_length_per_tree = [AVERAGE_PATH[tree.n_node_samples] for tree in trees]
    theirs.estimators_features_ = [np.arange(X.shape[1])] * 30
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=0, atol=1e-6)


# -- compiled code ------------------------------------------------------------------------------------

LOADED = """
import numpy, sys
from fedanomaly.detectors import IsolationForest
with numpy.load(sys.argv[1]) as file:
    arrays = dict(file)
X, expected = arrays.pop("X"), arrays.pop("expected")
assert numpy.array_equal(IsolationForest().load(arrays).score_samples(X), expected)
"""


def run(code: str, *args: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def save(folder: Path, X: np.ndarray) -> str:
    detector = fitted(X)
    file = folder / "model.npz"
    np.savez(file, X=X, expected=detector.score_samples(X), **detector.to_arrays())
    return str(file)


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    counted = """
from fedanomaly.detectors import _forest_kernels, _forest_masks, _vectors
used = [_forest_masks.score, _forest_masks._translate] if _vectors.supported() else [_forest_kernels.score]
for function in used:
    assert function.stats.cache_hits and not function.stats.cache_misses, function
"""
    run(LOADED + counted, save(tmp_path, tables()["normal"]))


@needs_vectors
def test_a_machine_without_avx_512_scores_alike(tmp_path: Path) -> None:
    """Numba compiles for what it is told the CPU is; what it cached for this one must not be used."""
    counted = "from fedanomaly.detectors import _vectors; assert not _vectors.supported()"
    file = save(tmp_path, tables()["normal"])
    cache = str(tmp_path / "cache")
    run(LOADED + counted, file, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=cache)
