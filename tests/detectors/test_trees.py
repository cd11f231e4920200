"""Flat trees: what is stored is what was grown, and scored."""

import hashlib

import numpy as np
import pytest

from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors import IsolationForest
from fedanomaly.detectors._forest_arrays import forest_from_arrays, forest_to_arrays
from fedanomaly.detectors._trees import AVERAGE_PATH, Forest, depth_for

FLIP = 0x7FFFFFFF


def keys(n_trees: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, n_trees, dtype=np.uint64)


def grow(X: np.ndarray, n_trees: int = 5, max_samples: int = 256, depth: int = 1) -> Forest:
    return IsolationForest(max_samples=max_samples).grow(np.ascontiguousarray(X), keys(n_trees), depth)


def bottom(forest: Forest, tree: int, row: np.ndarray) -> int:
    """Where a row ends, by the format's description and plain Python."""
    wide = forest.nodes.itemsize == 8
    i = 0
    for _ in range(forest.depth):
        node = int(forest.nodes[tree, i])
        threshold, feature = (node >> 32, node & 0xFFFFFFFF) if wide else (node & ~0xFF, node & 0xFF)
        bits = int(np.float32(row[feature] + 0.0).view(np.int32))
        image = bits ^ (FLIP if bits < 0 else 0)
        i = 2 * i + 1 + ((image if wide else image & ~0xFF) > threshold)
    return i - len(forest.nodes[tree])


def scores(arrays: dict, X: np.ndarray) -> np.ndarray:
    return IsolationForest().load(arrays).score_samples(X)


def tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "normal": rng.normal(size=(300, 5)),
        "close": 1000.0 + rng.integers(0, 40, size=(300, 3)) * 2.0**-13,  # apart by less than a code
        "integers": rng.integers(-3, 3, size=(300, 4)).astype(np.float64),
        "zeros": np.where(rng.random((300, 2)) < 0.5, 0.0, -0.0),
        "huge": rng.choice([-1e300, -1e38, 0.0, 1e38, 1e300], size=(300, 3)),
        "tiny": rng.choice([-1e-40, 0.0, 1e-45, 1e-300], size=(300, 3)),
        "wide": rng.normal(size=(300, 300)),
    }


@pytest.mark.parametrize("name", tables())
def test_counts_are_where_the_trees_own_rows_end(name: str) -> None:
    X = tables()[name]
    forest = grow(X, max_samples=len(X))
    assert forest.nodes.dtype == (np.int64 if name == "wide" else np.int32)
    with np.errstate(over="ignore"):
        for tree in range(len(forest)):
            ends = np.bincount([bottom(forest, tree, row) for row in X], minlength=2**forest.depth)
            assert np.array_equal(ends, forest.counts[tree])


@pytest.mark.parametrize("name", tables())
def test_scores_are_those_of_a_plain_walk(name: str) -> None:
    X = tables()[name]
    forest = grow(X, n_trees=7, max_samples=32)
    with np.errstate(over="ignore"):
        walked = [
            -(2.0 ** -np.mean([float(forest.leaf_values[t, bottom(forest, t, row)]) for t in range(7)]))
            for row in X[:40]
        ]
    np.testing.assert_allclose(scores(forest_to_arrays(forest), X[:40]), walked, rtol=1e-14)


def test_a_tree_depends_on_its_key_and_rows_alone() -> None:
    X = tables()["normal"]
    together = IsolationForest(max_samples=64).grow(X, keys(9))
    alone = IsolationForest(max_samples=64).grow(X, keys(9)[4:5])
    assert np.array_equal(together.nodes[4], alone.nodes[0])
    assert np.array_equal(together.counts[4], alone.counts[0])
    assert len(np.unique(together.nodes, axis=0)) == 9


def test_trees_are_the_same_on_every_machine() -> None:
    X = (np.arange(2000, dtype=np.float64).reshape(500, 4) * 7919) % 1009
    forest = IsolationForest(max_samples=128).grow(X, np.arange(20, dtype=np.uint64))
    assert hashlib.sha256(forest.nodes.tobytes() + forest.counts.tobytes()).hexdigest() == PINNED


PINNED = "9553fb0f69a986707993e3ae25d6d6834b81ba2fa2e7af2dc8eda9d1eebe78eb"


def test_samples_are_drawn_without_replacement_and_evenly() -> None:
    X = np.arange(40, dtype=np.float64)[:, None]
    forest = IsolationForest(max_samples=16).grow(X, keys(4000), depth=4)
    values = IsolationForest(max_samples=40).grow(X, keys(500))
    assert forest.psi.tolist() == [16] * 4000
    assert values.counts.max() <= 40 and (values.counts.sum(axis=1) == 40).all()
    # the root's threshold is uniform between the sample's ends: on average the middle of all rows
    images = (forest.nodes[:, 0] & ~0xFF).astype(np.int32)
    assert abs(images.view(np.float32).mean() - 19.5) < 0.6


def test_average_path_is_that_of_random_splits() -> None:
    assert AVERAGE_PATH[:3].tolist() == [0.0, 0.0, 1.0]
    assert AVERAGE_PATH[3] == pytest.approx(5 / 3)  # one row at depth 1, two at depth 2
    from sklearn.ensemble._iforest import _average_path_length

    np.testing.assert_allclose(AVERAGE_PATH[100:], _average_path_length(np.arange(100, 4097)), rtol=2e-3)


def test_depth_holds_the_height_limit() -> None:
    assert [depth_for(psi) for psi in (1, 2, 3, 4, 5, 256, 257, 4096)] == [1, 1, 2, 2, 3, 8, 9, 12]


def test_trees_of_different_depths_join_without_a_change() -> None:
    X = tables()["normal"]
    small, large = grow(X[:20], max_samples=16), grow(X, max_samples=256)
    joined = forest_from_arrays(forest_to_arrays(Forest.join([small, large])))
    assert joined.depth == 8 and joined.psi.tolist() == [16] * 5 + [256] * 5
    mean = (np.log2(-scores(forest_to_arrays(small), X)) + np.log2(-scores(forest_to_arrays(large), X))) / 2
    np.testing.assert_allclose(np.log2(-scores(forest_to_arrays(joined), X)), mean, rtol=1e-12)
    with pytest.raises(InvalidArrays, match="different numbers of features"):
        Forest.join([small, grow(tables()["integers"])])
