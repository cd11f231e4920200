"""A grid in MLflow: options, figures, provenance; each cell once."""

import json
import sys

import pandas as pd
import pytest

from fedanomaly.__main__ import main
from fedanomaly.core.errors import UserError
from fedanomaly.experiment.grid import run_grid
from fedanomaly.experiment.tracking import Tracker
from fedanomaly.federation.config import RunConfig

STUDY = 'seeds = 1\n[base]\ndata = "wdbc"\nclients = 2\nrounds = 1\ndetector = "z-score"\n'


@pytest.fixture
def mlflow():
    return pytest.importorskip("mlflow", reason="MLflow is optional: pip install mlflow-skinny")


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    base = {"data": "wdbc", "clients": 3, "rounds": 2, "partition": "iid", "detector": "z-score"}
    cells = [RunConfig(**base, seed=0), RunConfig(**base, seed=1), RunConfig(**{**base, "clients": 300})]
    return run_grid(cells, tmp_path_factory.mktemp("grid") / "grid.parquet", keep="clients", workers=1)


def runs_of(tracker, name):
    experiment = tracker.client.get_experiment_by_name(name)
    return {run.data.tags["cell"]: run for run in tracker.client.search_runs([experiment.experiment_id])}


def test_without_mlflow_it_says_what_to_install_before_anything_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    (tmp_path / "s.toml").write_text(STUDY)
    out = tmp_path / "out"
    assert main(["study", str(tmp_path / "s.toml"), "--out", str(out), "--mlflow", str(tmp_path / "ml")]) == 2
    said = capsys.readouterr().err
    assert "--mlflow needs MLflow, which is not installed: pip install 'fedanomaly[track]'" in said
    assert not out.exists() and not (tmp_path / "ml").exists()


def test_a_cell_is_a_run(mlflow, frame, tmp_path):
    tracker = Tracker(str(tmp_path / "ml"))
    assert tracker.log(frame, "three cells").startswith("MLflow: 3 new runs in the experiment 'three cells'")
    logged = runs_of(tracker, "three cells")
    assert set(logged) == set(frame["cell"])
    row = frame[(frame["client"] == "all") & (frame["round"] == 2) & (frame["seed"] == 1)].iloc[0]
    run = logged[row["cell"]]
    assert run.info.status == "FINISHED"
    assert run.data.params == {name: str(value) for name, value in json.loads(row["configuration"]).items()}
    assert run.data.metrics["auroc"] == row["auroc"] and run.data.metrics["tp"] == row["tp"]
    for name in ("git_revision", "code", "environment", "version", "data_fingerprint", "model_sha256"):
        assert run.data.tags[name] == row[name]
    history = tracker.client.get_metric_history(run.info.run_id, "auroc")
    first = frame[(frame["client"] == "all") & (frame["round"] == 1) & (frame["seed"] == 1)].iloc[0]
    assert {one.step: one.value for one in history} == {1: first["auroc"], 2: row["auroc"]}
    failed = logged[frame[frame["status"] == "failed"].iloc[0]["cell"]]
    assert failed.info.status == "FAILED" and "too few" in failed.data.tags["error"]
    assert {path.name for path in (tmp_path / "ml").iterdir()} == {"mlflow.db"}

    assert "0 new runs" in tracker.log(frame, "three cells")
    assert "3 new runs" in tracker.log(frame.assign(code="other code"), "three cells")


def test_a_run_that_was_cut_short_is_logged_again(mlflow, frame, tmp_path):
    tracker = Tracker(f"sqlite:///{tmp_path / 'mine.db'}")
    experiment = tracker.client.create_experiment("e", artifact_location=tmp_path.as_uri())
    row = frame.iloc[0]
    cut = tracker.client.create_run(experiment, tags={n: row[n] for n in ("cell", "code", "environment")})
    assert "1 new runs" in tracker.log(frame[frame["cell"] == row["cell"]], "e")
    [run] = tracker.client.search_runs([experiment])
    assert run.info.run_id != cut.info.run_id and run.info.status == "FINISHED"


def test_the_command_logs(mlflow, tmp_path, capsys):
    (tmp_path / "s.toml").write_text(STUDY)
    arguments = ["study", str(tmp_path / "s.toml"), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main([*arguments, "--mlflow", str(tmp_path / "ml")]) == 0
    assert "MLflow: 1 new runs in the experiment 's'" in capsys.readouterr().out
    frame = pd.read_parquet(tmp_path / "out" / "s.parquet")
    assert set(runs_of(Tracker(str(tmp_path / "ml")), "s")) == set(frame["cell"])


def test_a_place_that_cannot_be_used(mlflow, tmp_path):
    (tmp_path / "file").write_text("")
    for where in (str(tmp_path / "file"), "nonsense://there"):
        with pytest.raises(UserError, match="MLflow cannot use"):
            Tracker(where)


def test_ray_and_workers_exclude_each_other(tmp_path, capsys):
    (tmp_path / "s.toml").write_text(STUDY)
    assert main(["study", str(tmp_path / "s.toml"), "--workers", "2", "--ray"]) == 2
    assert "Ray has workers of its own" in capsys.readouterr().err
