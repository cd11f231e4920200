"""Explanations point at the features that were changed, and SHAP agrees where it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest as Reference

import fedanomaly
from fedanomaly.__main__ import main
from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.detectors import (
    ECOD,
    GMM,
    HBOS,
    IQR,
    PCA,
    Detector,
    IsolationForest,
    LocalOutlierFactor,
    Mahalanobis,
    ZScore,
    explain,
    shap_values,
)
from fedanomaly.detectors._diffi import local_diffi
from fedanomaly.detectors._trees import no_split

OWN = [ZScore(), IQR(), Mahalanobis(), PCA(), HBOS(), ECOD(), GMM(), IsolationForest(random_state=1)]


def table(n: int = 600, features: int = 6, key: str = "rows") -> np.ndarray:
    return keyed_generator(0, key).normal(size=(n, features))


@pytest.mark.parametrize("detector", OWN, ids=repr)
def test_the_features_that_were_changed_lead(detector: Detector) -> None:
    detector.fit(table())
    odd = table(6, key="odd")
    for feature in range(6):
        odd[feature, feature] = 9.0 if feature % 2 else -9.0
    found = explain(detector, odd)
    assert found.shape == (6, 6) and found.dtype == np.float64
    np.testing.assert_array_equal(found.argmax(axis=1), np.arange(6))


def test_a_mahalanobis_term_sees_what_breaks_a_correlation() -> None:
    generator = keyed_generator(1, "x")
    X = generator.normal(size=(2000, 3))
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    detector = Mahalanobis().fit(X)
    found = explain(detector, [[1.5, -1.5, 1.5]])[0]
    assert found[:2].min() > 20 * found[2]
    assert explain(ZScore().fit(X), [[1.5, -1.5, 1.5]])[0].max() < 2


# -- DIFFI ---------------------------------------------------------------------------------------------


def slow_diffi(detector: IsolationForest, row: np.ndarray) -> np.ndarray:
    """Local DIFFI by walking one tree after the other (Carletti et al. 2023, section 4.2)."""
    forest = detector.forest_
    wide = forest.nodes.itemsize == 8
    total, visits = np.zeros(forest.n_features), np.zeros(forest.n_features)
    for nodes, psi in zip(forest.nodes, forest.psi, strict=True):
        place, path = 0, []
        while place < len(nodes) and nodes[place] != no_split(nodes.dtype):
            node = int(nodes[place])
            feature = node & (0xFFFFFFFF if wide else 0xFF)
            image = np.int32(node >> 32 if wide else node & ~0xFF)
            threshold = (image ^ ((image >> np.int32(31)) & np.int32(0x7FFFFFFF))).view(np.float32)
            path.append(feature)
            place = 2 * place + (2 if np.float32(row[feature]) > threshold else 1)
        if path:
            np.add.at(total, path, 1 / len(path) - 1 / np.ceil(np.log2(max(psi, 2))))
            np.add.at(visits, path, 1)
    return total / np.maximum(visits, 1)


@pytest.mark.parametrize("features", [4, 300])
def test_local_diffi_is_that_of_a_walk_through_linked_nodes(features: int) -> None:
    X = np.round(table(300, features) * 64) / 64  # exact in 24 bits: no value lies within a threshold's step
    detector = IsolationForest(n_estimators=30, max_samples=64, random_state=3).fit(X)
    rows = X[:7]
    expected = np.array([slow_diffi(detector, row) for row in rows])
    np.testing.assert_allclose(local_diffi(detector.forest_, rows), expected, rtol=1e-12, atol=1e-15)


def test_local_diffi_does_not_depend_on_the_rows_beside_it(monkeypatch: Any) -> None:
    detector = IsolationForest(n_estimators=20, random_state=3).fit(table())
    whole = explain(detector, table())
    monkeypatch.setattr("fedanomaly.detectors._diffi._CHUNK_VALUES", 40)
    np.testing.assert_array_equal(explain(detector, table()), whole)
    assert whole.min() >= 0 and whole.max() <= 1


def test_paths_agree_with_scikit_learns_on_what_matters() -> None:
    X, odd = table(), table(20, key="odd")
    odd[:, 2] = 8.0
    ours = explain(IsolationForest(random_state=0).fit(X), odd).argmax(axis=1)
    theirs = Reference(random_state=0).fit(X)
    without = np.array([theirs.score_samples(np.where(np.arange(6) == f, 0.0, odd)) for f in range(6)])
    assert (ours == 2).all() and (without.argmax(axis=0) == 2).all()


def test_trees_without_a_split_explain_nothing() -> None:
    detector = IsolationForest(n_estimators=5, random_state=0).fit(np.ones((10, 3)))
    assert not explain(detector, np.ones((2, 3))).any()


# -- what cannot be explained --------------------------------------------------------------------------


def test_who_has_no_explanation_says_what_to_do() -> None:
    detector = LocalOutlierFactor().fit(table())
    with pytest.raises(UserError, match=r"lof has no explanation of its own.*SHAP"):
        explain(detector, table(2))
    with pytest.raises(ValueError, match="5 features"):
        explain(IsolationForest(random_state=0).fit(table()), table(2, 5))
    with pytest.raises(ValueError, match="5 features"):
        explain(ZScore().fit(table()), table(2, 5))


def test_without_shap_one_sentence_says_how_to_get_it(monkeypatch: Any) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setitem(shap_values.__globals__, "import_module", missing)
    with pytest.raises(UserError, match="pip install shap"):
        shap_values(ZScore().fit(table()), table(1), table())


def test_shap_values_of_a_sum_are_its_terms_less_their_means() -> None:
    pytest.importorskip("shap", reason="needs the package shap")
    X, odd = table(80, 4), table(3, 4, "odd") * 2
    detector = ZScore().fit(X)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    found = shap_values(detector, odd, X, permutations=2)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_allclose(found, explain(detector, odd) - explain(detector, X).mean(axis=0), atol=1e-9)
    np.testing.assert_array_equal(shap_values(detector, odd, X, permutations=2), found)


# -- from the command line -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("explain")
    result = fedanomaly.run(
        data="wdbc", detector="mahalanobis", clients=3, rounds=1, out=folder / "run", references=False
    )
    arrays = np.load(folder / "run" / "model.npz", allow_pickle=False)
    names = [str(name) for name in arrays["feature_names"]]
    rows = np.tile(arrays["model/mean"], (3, 1))
    rows[1, 4] += 20 / arrays["model/transform"][4, 4]
    pd.DataFrame(rows, columns=names).to_csv(folder / "rows.csv", index=False)
    assert result.path == folder / "run"
    return str(folder / "run" / "model.npz"), str(folder / "rows.csv")


def test_the_command_names_the_feature_and_draws(model: tuple[str, str], tmp_path: Any, capsys: Any) -> None:
    arrays = np.load(model[0], allow_pickle=False)
    picture = tmp_path / "why.png"
    assert main(["explain", *model, "--row", "1", "--picture", str(picture)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "row 1: anomaly score" in lines[0] and lines[0].endswith(", flagged")
    assert lines[2].startswith(str(arrays["feature_names"][4]))
    assert picture.read_bytes().startswith(b"\x89PNG")
    terms = [float(line.split()[-1].replace(",", "")) for line in lines[2:-1]]
    assert sum(terms) == pytest.approx(float(lines[0].split()[4].rstrip(",")), abs=0.01)


def test_an_ordinary_row_is_not_flagged_and_a_missing_one_is_named(
    model: tuple[str, str], capsys: Any
) -> None:
    assert main(["explain", *model, "--row", "0"]) == 0
    assert "not flagged" in capsys.readouterr().out
    assert main(["explain", *model, "--row", "3"]) == 2
    assert "rows 0 to 2" in capsys.readouterr().err
