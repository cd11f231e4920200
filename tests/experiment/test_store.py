import json

import numpy as np
import pandas as pd
import pytest

import fedanomaly
from fedanomaly.__main__ import main
from fedanomaly.experiment.folder import mark_interrupted
from fedanomaly.experiment.store import compare, find_runs, list_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for name, seed in (("a", 1), ("b", 2)):
        fedanomaly.run("wdbc", clients=2, rounds=1, seed=seed, references=False, out=root / name)
    return root


def test_all_runs_are_one_tidy_frame(runs):
    frame = fedanomaly.load_results(runs)
    assert set(frame["run"]) == {"a", "b"}
    assert set(frame["seed"]) == {1, 2}
    assert {"status", "detector", "partition", "round", "phase", "client", "metric", "value"} <= set(
        frame.columns
    )
    assert len(fedanomaly.load_results(runs / "a")) * 2 == len(frame)


def test_no_runs_is_an_empty_frame(tmp_path):
    assert fedanomaly.load_results(tmp_path).empty
    with pytest.raises(fedanomaly.UserError, match="there is no folder"):
        fedanomaly.load_results(tmp_path / "absent")


def test_runs_are_listed_and_compared(runs, capsys):
    assert [row["run"] for row in list_runs(runs)] == ["a", "b"]
    differing, figures = compare(runs / "a", runs / "b")
    assert ("seed", "1", "2") in differing
    assert {name for name, _, _ in figures} >= {"precision", "recall", "accuracy"}
    assert main(["runs", str(runs)]) == 0
    assert main(["compare", str(runs / "a"), str(runs / "b")]) == 0
    printed = capsys.readouterr().out
    assert "completed" in printed and "seed" in printed and "auroc" in printed
    assert main(["compare", str(runs / "a"), str(runs / "zzz")]) == 2
    assert "is no run" in capsys.readouterr().err


def test_a_model_scores_new_rows(runs, tmp_path, capsys):
    from sklearn.datasets import load_breast_cancer

    model = fedanomaly.open_model(runs / "a" / "model.npz")
    frame = pd.DataFrame(load_breast_cancer().data[:20], columns=load_breast_cancer().feature_names)
    frame = frame.rename(columns=dict(zip(frame.columns, model.feature_names, strict=True)))
    frame.insert(0, "id", range(20))
    rows, out = tmp_path / "rows.csv", tmp_path / "scores.csv"
    frame.to_csv(rows, index=False)
    assert main(["score", str(runs / "a" / "model.npz"), str(rows), "--out", str(out)]) == 0
    scored = pd.read_csv(out)
    expected = model.score_samples(frame[list(model.feature_names)].to_numpy())
    np.testing.assert_allclose(scored["anomaly_score"], -expected)
    np.testing.assert_array_equal(scored["anomaly"], expected < model.detector.offset_)
    capsys.readouterr()
    assert main(["score", str(runs / "a" / "model.npz"), str(rows)]) == 0
    assert capsys.readouterr().out.startswith("row,anomaly_score,anomaly")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: frame.drop(columns=frame.columns[1]), "lacks the model's column"),
        (lambda frame: frame.assign(**{frame.columns[1]: "much"}), "is no finite number"),
        (lambda frame: frame.assign(**{frame.columns[1]: np.nan}), "is no finite number"),
    ],
)
def test_rows_that_do_not_fit_are_refused(runs, tmp_path, capsys, change, sentence):
    names = fedanomaly.open_model(runs / "a" / "model.npz").feature_names
    change(pd.DataFrame(np.ones((3, len(names))), columns=list(names))).to_csv(
        tmp_path / "rows.csv", index=False
    )
    assert main(["score", str(runs / "a" / "model.npz"), str(tmp_path / "rows.csv")]) == 2
    assert sentence in capsys.readouterr().err


def test_what_is_no_model_is_refused(runs, tmp_path, capsys):
    other = tmp_path / "other.npz"
    np.savez(other, a=np.ones(3))
    other_text = tmp_path / "text.npz"
    other_text.write_text("hello")
    for path, sentence in (
        (other, "missing"),
        (other_text, "not a readable model"),
        (tmp_path / "x.npz", "no model"),
    ):
        assert main(["score", str(path), str(path)]) in (1, 2)
        assert sentence in capsys.readouterr().err


def test_partition_shows_who_would_hold_what(tmp_path, capsys):
    picture = tmp_path / "partition.png"
    arguments = ["partition", "--data", "wdbc", "--partition", "uneven", "--clients", "3"]
    assert main([*arguments, "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert "rows" in printed and picture.exists()
    assert main([*arguments[:-1], "0"]) == 2
    assert "--clients must be at least 1" in capsys.readouterr().err


def test_an_abandoned_run_is_marked(runs, tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"status": "running", "reason": ""}))
    mark_interrupted(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["status"] == "interrupted"
    mark_interrupted(runs / "a")
    assert json.loads((runs / "a" / "summary.json").read_text())["status"] == "completed"


def test_one_run_is_a_root_of_its_own(runs):
    assert find_runs(runs / "a") == [runs / "a"]


@pytest.mark.parametrize(
    ("status", "failed_since", "becomes"),
    [
        ("running", False, "interrupted"),
        ("failed", False, "failed"),
        ("failed", True, "interrupted"),  # its connection was cut because somebody stopped it
        ("completed", True, "completed"),
    ],
)
def test_who_stops_a_run_knows_why_it_failed(tmp_path, status, failed_since, becomes):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"status": status, "reason": "cut off"}))
    mark_interrupted(tmp_path, failed_since)
    assert json.loads(path.read_text())["status"] == becomes
