"""The two studies: cells that are compared are alike but for one thing; tables and pictures are whole."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fedanomaly.__main__ import main
from fedanomaly.core.errors import UserError
from fedanomaly.data import register_memory_table
from fedanomaly.evaluation.plots import interval_curves
from fedanomaly.experiment.privacy_study import privacy_cells, privacy_study
from fedanomaly.experiment.robustness import Case, attack_cells, attack_study
from fedanomaly.federation.config import RunConfig

CASES = (
    Case("inverted-trees", "isolation-forest", "union", ("none", "screen")),
    Case("scale+inflate", "one-class-svm", "nystrom-hinge", ("none", "fedmedian")),
)


@pytest.fixture(scope="module")
def base():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(1500, 5)), rng.normal(2.5, 0.6, size=(60, 5))])
    name = register_memory_table(X, np.repeat([0, 1], [1500, 60]))
    return RunConfig(data=name, clients=6, rounds=1, partition="iid", references=False, seed=1)


def test_cells_differ_in_attack_defence_share_and_seed_alone(base):
    cells = attack_cells(base, CASES, (0.0, 0.3), 2)
    assert len(cells) == 2 * 2 * 2 * 2
    for (case, defence, share, seed), config in cells.items():
        assert (config.attack, config.seed) == (case.attack if share else "", seed)
        if defence == "fedmedian":
            assert (config.aggregation, config.defence) == ("fedmedian", "")
        else:
            assert (config.aggregation, config.defence) == (case.aggregation, defence.replace("none", ""))
    with pytest.raises(UserError, match="would change nothing"):
        attack_cells(base, [replace(CASES[1], attack="forged-trees")], (0.1,), 1)
    with pytest.raises(UserError, match="unknown defence"):
        attack_cells(base, [replace(CASES[0], defences=("scrin",))], (0.1,), 1)


def test_the_attack_study_shows_the_harm_and_the_cure(base, tmp_path):
    table = attack_study(base, tmp_path, cases=CASES, shares=(0.0, 0.34), seeds=2, workers=1)
    assert {path.name for path in tmp_path.iterdir()} == {
        "attack-study-runs.parquet",
        "attack-study.csv",
        "attack-study-average-precision.png",
        "attack-study-auroc.png",
    }
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "attack-study.csv"))
    means = table[table["metric"] == "auroc"].set_index(["attack", "defence", "attackers"])["mean"]
    for attack, cure in (("inverted-trees", "screen"), ("scale+inflate", "fedmedian")):
        assert means[attack, "none", 0.34] < means[attack, "none", 0.0] - 0.2
        assert means[attack, cure, 0.34] > means[attack, "none", 0.34] + 0.2
    assert (table["n"] == 2).all() and (table["low"] <= table["mean"]).all()
    runs = pd.read_parquet(tmp_path / "attack-study-runs.parquet")
    assert len(runs) == 16 and (runs["status"] == "completed").all()


def test_the_privacy_study_ends_at_no_noise(base, tmp_path):
    detectors = ("mahalanobis", "one-class-svm:nystrom-mean")
    cells = privacy_cells(base, detectors, (1.0,), 1)
    assert {config.scaling for config in cells.values()} == {"grid"}, "with noise and without alike"
    assert cells["mahalanobis", math.inf, 1].dp_epsilon == 0.0
    table = privacy_study(base, tmp_path, detectors=detectors, epsilons=(0.01, 100.0), seeds=2, workers=1)
    means = table[table["metric"] == "auroc"].set_index(["detector", "epsilon"])["mean"]
    for name in detectors:
        assert means[name, 100.0] > 0.9 and means[name, math.inf] > 0.9
    assert (tmp_path / "privacy-study-average-precision.png").exists()
    with pytest.raises(UserError, match="answers are not sums"):
        privacy_cells(base, ("isolation-forest",), (1.0,), 1)


def test_intervals_are_drawn_and_the_picture_is_the_same_twice(tmp_path):
    points = pd.DataFrame(
        [
            {"panel": panel, "line": line, "x": x, "mean": 0.5, "low": 0.4, "high": 0.6}
            for panel in ("a", "b")
            for line in ("one", "two")
            for x in (0.3, 3.0, math.inf)
        ]
    )
    points.loc[points["panel"] == "b", "mean"] = math.nan
    paths = [
        interval_curves(points, tmp_path / f"{n}.png", xlabel="x", ylabel="y", logarithmic=True) for n in "ab"
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert np.asarray(Image.open(paths[0]).convert("L")).min() < 100


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["attack-study", "--attack", "noise"], "name them with --attacks"),
        (["attack-study", "--shares", "1.5"], "--shares must be numbers from 0 to 1"),
        (["attack-study", "--seeds", "0"], "--seeds must be at least 1"),
        (["privacy-study", "--epsilons", "0"], "--epsilons must be above 0"),
        (["privacy-study", "--detectors", "lof"], "its answers are not sums"),
    ],
)
def test_commands_refuse_in_one_sentence(arguments, sentence, capsys, tmp_path):
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_the_command_runs(tmp_path, capsys):
    out = tmp_path / "study"
    given = ["--data", "wdbc", "--clients", "5", "--rows", "0", "--seeds", "1", "--workers", "1"]
    attack = ["--attacks", "noise", "--defences", "none", "--shares", "0.4"]
    assert main(["attack-study", *given, *attack, "--out", str(out)]) == 0
    assert "4 figures and the pictures" in capsys.readouterr().out
    assert len(pd.read_csv(out / "attack-study.csv")) == 4
