"""A model file opens as what was built: also one that holds every client's model."""

from pathlib import Path

import numpy as np
import pytest

import fedanomaly
from fedanomaly.core.arrays import save_arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors import IsolationForest, LocalOutlierFactor, ScoreEnsemble
from fedanomaly.experiment.model_file import Model, open_model


def ensemble(combine: str) -> ScoreEnsemble:
    X = np.random.default_rng(3).normal(size=(90, 4))
    arrays = ScoreEnsemble(LocalOutlierFactor(n_neighbors=7), combine).fit(X).to_arrays()
    return ScoreEnsemble(LocalOutlierFactor(n_neighbors=7), combine).load(arrays)


@pytest.mark.parametrize("combine", ["mean", "min"])
def test_an_ensemble_opens_as_what_was_saved(combine: str, tmp_path: Path) -> None:
    model = Model(ensemble(combine), {}, ("a", "b", "c", "d"))
    save_arrays(tmp_path / "model.npz", model.to_arrays())
    opened = open_model(tmp_path / "model.npz")
    assert isinstance(opened.detector, ScoreEnsemble)
    assert (opened.detector.combine, opened.detector.detector.n_neighbors) == (combine, 7)
    assert opened.sha256 == model.sha256
    X = np.random.default_rng(4).normal(size=(30, 4))
    np.testing.assert_array_equal(opened.score_samples(X), model.score_samples(X))


def test_a_damaged_ensemble_is_refused() -> None:
    arrays = Model(ensemble("mean"), {}, ()).to_arrays()
    plain = {name: array for name, array in arrays.items() if name != "combine"}
    for wrong in (plain, arrays | {"combine": np.asarray("max")}, arrays | {"combine": np.zeros(2)}):
        with pytest.raises(InvalidArrays):
            Model.from_arrays(wrong)


def test_a_run_leaves_a_file_that_scores_as_its_clients_models_together(tmp_path: Path) -> None:
    options = {"clients": 3, "rounds": 2, "references": False, "params": "n_estimators=10"}
    run = fedanomaly.run("wdbc", aggregation="score-mean", out=str(tmp_path / "run"), **options)
    model = open_model(run.path / "model.npz")
    assert model.sha256 == run.pipeline.sha256 and isinstance(run.detector, ScoreEnsemble)
    assert len(model.detector.members_) == 3
    assert all(isinstance(member, IsolationForest) for member in model.detector.members_)
    assert model.detector.offset_ == run.detector.offset_
    assert not run.summary["warnings"]


def test_members_that_hold_rows_are_warned_about(tmp_path: Path) -> None:
    options = {"clients": 3, "rounds": 1, "references": False}
    for way in ("score-min", "sample"):
        run = fedanomaly.run("wdbc", detector="lof", aggregation=way, out=str(tmp_path / way), **options)
        assert any("Training rows leave the clients" in warning for warning in run.summary["warnings"])
        assert "Training rows leave the clients" in run.report
