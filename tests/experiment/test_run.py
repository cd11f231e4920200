"""``fedanomaly.run`` and the folder it leaves: the names others build on."""

import json
import tomllib

import numpy as np
import pandas as pd
import pytest

import fedanomaly
from fedanomaly.core.arrays import digest

FIGURES = {
    "precision",
    "recall",
    "accuracy",
    "f1",
    "auroc",
    "average_precision",
    "tp",
    "fp",
    "tn",
    "fn",
    "rows",
}
SPENT = {"seconds", "bytes_up", "bytes_down"}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return fedanomaly.run(
        data="wdbc",
        detector="isolation-forest",
        aggregation="union",
        partition="iid",
        clients=3,
        rounds=2,
        seed=1,
        out=tmp_path_factory.mktemp("runs") / "first",
    )


def test_the_folder_is_complete(result):
    names = {path.name for path in result.path.iterdir()}
    assert {
        "config.toml",
        "rounds.parquet",
        "events.jsonl",
        "summary.json",
        "model.npz",
        "environment.json",
        "report.md",
    } <= names
    assert [name for name in names if name.endswith(".png")]
    assert not [name for name in names if name.endswith(".partial")]


def test_rounds_are_tidy(result):
    frame = result.rounds
    assert list(frame.columns) == ["round", "phase", "client", "metric", "value"]
    assert frame["round"].dtype == np.int64
    assert frame["value"].dtype == np.float64
    assert set(frame["phase"]) == {"train", "evaluate"}
    assert set(frame["client"]) == {"0", "1", "2", "all"}
    assert set(frame["round"]) == {1, 2}
    assert set(frame.loc[frame["phase"] == "evaluate", "metric"]) >= FIGURES | SPENT
    assert not frame.duplicated(["round", "phase", "client", "metric"]).any()


def test_counts_of_the_clients_add_up(result):
    last = result.rounds.query("round == 2 and phase == 'evaluate'").pivot(
        index="client", columns="metric", values="value"
    )
    for name in ("tp", "fp", "tn", "fn", "rows"):
        assert last.loc[["0", "1", "2"], name].sum() == last.loc["all", name]
    assert (
        last.loc["all", "accuracy"]
        == (last.loc["all", "tp"] + last.loc["all", "tn"]) / last.loc["all", "rows"]
    )


def test_the_summary_says_how_it_ended(result):
    summary = result.summary
    assert summary["status"] == "completed"
    assert summary["model_sha256"] == digest(result.model)
    assert set(summary["metrics"]) >= FIGURES
    assert set(summary["references"]) == {"local", "pooled"}
    assert all(set(metrics) >= FIGURES for metrics in summary["references"].values())
    assert isinstance(summary["warnings"], list)
    assert {finding["name"] for finding in summary["leaks"]} >= {
        "train-in-test",
        "shared-rows",
        "rows-in-payload",
    }
    assert not any(finding["found"] for finding in summary["leaks"])


def test_the_configuration_repeats_the_run(result, tmp_path):
    options = tomllib.loads((result.path / "config.toml").read_text())
    again = fedanomaly.run(
        **{key.replace("-", "_"): value for key, value in options.items()}, out=tmp_path / "again"
    )
    assert again.summary["model_sha256"] == result.summary["model_sha256"]
    assert again.summary["metrics"].keys() == result.summary["metrics"].keys()
    for name in FIGURES:
        assert again.summary["metrics"][name] == result.summary["metrics"][name]


def test_the_detector_judges_rows_as_the_report_says(result):
    from fedanomaly.federation.config import RunConfig
    from fedanomaly.federation.layout import layout
    from fedanomaly.prepare import TEST

    assert isinstance(result.detector, fedanomaly.detectors.IsolationForest)
    options = tomllib.loads((result.path / "config.toml").read_text())
    held = layout(RunConfig.from_mapping(options))
    test = held.folds == TEST
    flagged = result.pipeline.predict(held.table.X[test]) == -1
    fraud = held.table.y[test] == 1
    assert (flagged & fraud).sum() == result.summary["metrics"]["tp"]
    assert (flagged & ~fraud).sum() == result.summary["metrics"]["fp"]


def test_average_precision_and_auroc_agree_with_scikit_learn(result):
    from sklearn.metrics import average_precision_score, roc_auc_score

    from fedanomaly.federation.config import RunConfig
    from fedanomaly.federation.layout import layout
    from fedanomaly.prepare import TEST

    options = tomllib.loads((result.path / "config.toml").read_text())
    held = layout(RunConfig.from_mapping(options))
    test = held.folds == TEST
    scores = -result.pipeline.score_samples(held.table.X[test])
    metrics = result.summary["metrics"]
    assert metrics["auroc"] == pytest.approx(roc_auc_score(held.table.y[test], scores), abs=2e-3)
    assert metrics["average_precision"] == pytest.approx(
        average_precision_score(held.table.y[test], scores), abs=5e-3
    )


def test_environment_names_versions_and_no_machine(result):
    content = json.loads((result.path / "environment.json").read_text())
    assert content["packages"]["flwr"]
    assert content["seed"] == 1
    assert "/" not in json.dumps(content["packages"])


def test_own_arrays_and_frames(tmp_path):
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=(400, 4)), rng.normal(4, 1, size=(20, 4))]
    y = np.r_[np.zeros(400, int), np.ones(20, int)]
    frame = pd.DataFrame(X, columns=list("abcd"))
    arrays = fedanomaly.run((X, y), clients=2, rounds=1, seed=3, out=tmp_path / "arrays")
    frames = fedanomaly.run((frame, pd.Series(y)), clients=2, rounds=1, seed=3, out=tmp_path / "frames")
    assert arrays.summary["metrics"]["auroc"] > 0.9
    assert arrays.summary["metrics"]["auroc"] == frames.summary["metrics"]["auroc"]
    assert frames.pipeline.feature_names == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"data": "creditcards"}, "unknown data set"),
        ({"data": 3}, "a pair"),
        ({"data": "wdbc", "clients": 400}, "400"),
        ({"data": "wdbc", "balance": "smoted"}, "unknown balancing"),
        ({"data": "wdbc", "threshold": "median"}, "unknown threshold"),
        ({"data": "wdbc", "partition": "evens"}, "unknown partition"),
        ({"data": "wdbc", "params": {"n_estimators": -3}}, "does not suit isolation-forest"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(arguments, sentence, tmp_path):
    with pytest.raises(fedanomaly.UserError, match=sentence):
        fedanomaly.run(**arguments, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(result):
    with pytest.raises(fedanomaly.UserError, match="holds a run already"):
        fedanomaly.run("wdbc", clients=2, rounds=1, out=result.path)


@pytest.mark.parametrize("detector", ["isolation-forest", "one-class-svm", "lof"])
def test_local_models_are_kept_one_a_client(detector, tmp_path):
    run = fedanomaly.run(
        "wdbc",
        detector=detector,
        aggregation="local",
        clients=3,
        rounds=1,
        references=False,
        out=tmp_path / "r",
    )
    assert {name.split("/")[0] for name in run.model} == {"client-0", "client-1", "client-2"}
    with pytest.raises(fedanomaly.UserError, match="one model a client"):
        fedanomaly.open_model(run.path / "model.npz")


def test_balancing_smooths_calibration_and_never_touches_test_rows(tmp_path):
    plain = fedanomaly.run("wdbc", threshold="best-f1", rounds=1, references=False, out=tmp_path / "plain")
    smote = fedanomaly.run(
        "wdbc", threshold="best-f1", balance="smote", rounds=1, references=True, out=tmp_path / "smote"
    )
    assert smote.summary["metrics"]["rows"] == plain.summary["metrics"]["rows"]
    assert smote.summary["model_sha256"] != "" and not any(leak["found"] for leak in smote.summary["leaks"])
    assert np.array_equal(smote.model["model/threshold"], plain.model["model/threshold"])


def test_the_overlapping_partition_of_the_thesis_is_found_out(tmp_path):
    run = fedanomaly.run("wdbc", partition="thesis", clients=5, rounds=1, out=tmp_path / "thesis")
    found = {leak["name"] for leak in run.summary["leaks"] if leak["found"]}
    assert "copied-anomalies" in found
    assert any("thesis" in warning or "overlap" in warning for warning in run.summary["warnings"])


def test_pooling_is_reported_as_rows_that_left(tmp_path):
    run = fedanomaly.run(
        "wdbc", detector="lof", aggregation="pooled", clients=3, rounds=1, out=tmp_path / "pooled"
    )
    assert any("leave the clients" in warning for warning in run.summary["warnings"])
    assert any(leak["found"] for leak in run.summary["leaks"] if leak["name"] == "rows-in-payload")


def test_the_report_of_an_ensemble_says_how_far_its_members_agree(tmp_path):
    result = fedanomaly.run(
        "wdbc",
        clients=3,
        rounds=1,
        detector="ensemble",
        params="members=hbos+mahalanobis",
        references=False,
        out=tmp_path / "run",
    )
    (line,) = [line for line in (result.path / "report.md").read_text().splitlines() if "Members and" in line]
    agreement = result.detector.agreement()[0, 1]
    assert f"hbos and mahalanobis {agreement:.2f}" in line


@pytest.mark.parametrize("partition", ["feature", "dirichlet"])
def test_the_exact_forest_and_its_pooled_reference_are_one(partition, tmp_path):
    common = {"clients": 4, "params": "n_estimators=20", "seed": 1}
    exact = fedanomaly.run(
        "wdbc", aggregation="exact", partition=partition, rounds=2, out=tmp_path / "exact", **common
    )
    pooled = fedanomaly.run(
        "wdbc", aggregation="pooled-exact", rounds=1, references=False, out=tmp_path / "pooled", **common
    )
    assert digest(exact.detector.to_arrays()) == digest(pooled.detector.to_arrays())
    reference = exact.summary["references"]["pooled"]
    for name in FIGURES:
        assert reference[name] == exact.summary["metrics"][name], name
