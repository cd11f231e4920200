"""A study's file, what is wrong with it in one sentence, and the command."""

from pathlib import Path

import pandas as pd
import pytest

from fedanomaly.__main__ import main
from fedanomaly.core.errors import UserError
from fedanomaly.experiment.studies import read_study, run_study, summary

STUDIES = Path(__file__).parents[2] / "studies"

SMALL = """
title = "Two detectors, two partitions"
seeds = [3, 4]
keep = "rounds"

[base]
data = "wdbc"
clients = 3
rounds = 2

[grid]
partition = ["iid", "feature"]
method = [
    { detector = "lof", aggregation = "prototypes" },
    { detector = "one-class-svm", aggregation = "local", "contamination" = 0.05 },
]
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "small.toml"
        path.write_text(text)
        return path

    return write


def test_a_grid_is_every_combination_with_every_seed(file):
    study = read_study(file(SMALL))
    cells = study.cells()
    found = [
        (cell.partition, cell.detector, cell.aggregation, cell.contamination, cell.seed) for cell in cells
    ]
    assert len(set(found)) == 8 and found[:3] == [
        ("iid", "lof", "prototypes", "auto", 3),
        ("iid", "lof", "prototypes", "auto", 4),
        ("iid", "one-class-svm", "local", "0.05", 3),
    ]
    assert {cell.rounds for cell in cells} == {2} and study.keep == "rounds"
    assert study.axes() == ["partition", "detector", "aggregation", "contamination"]


def test_several_grids_are_run_one_after_the_other(file):
    study = read_study(file('seeds = 2\n[[grid]]\nclients = [2, 3]\n[[grid]]\n"fraction-train" = [0.5]'))
    found = [(cell.clients, cell.fraction_train, cell.seed) for cell in study.cells()]
    assert found == [(2, 1, 0), (2, 1, 1), (3, 1, 0), (3, 1, 1), (5, 0.5, 0), (5, 0.5, 1)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = ", "no TOML file"),
        ("repeats = 3", "not 'repeats'"),
        ("seeds = 0", "seeds must be"),
        ("seeds = []", "seeds must be"),
        ("seeds = [1.5]", "seeds must be"),
        ('keep = "all"', "keep must be one of"),
        ("[grid]\nclients = 3", "axis 'clients' must be a list"),
        ("[grid]\nclients = []", "axis 'clients' must be a list"),
        ("[base]\nseed = 3", "'seed' is no option of a study"),
        ('[grid]\nout = ["a"]', "'out' is no option of a study"),
        ("grid = 3", "must be tables"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(file, text, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read_study(file(text))
    assert "\n" not in str(caught.value)


def test_a_bad_option_names_the_study(file):
    study = read_study(file('[grid]\ncolour = ["red"]'))
    with pytest.raises(UserError, match="unknown option 'colour' in the study small"):
        study.cells()


def test_the_command_runs_a_study_and_repeats_it_to_the_bit(file, tmp_path, capsys):
    path, out = file(SMALL), tmp_path / "out" / "results.parquet"
    assert main(["study", str(path), "--out", str(out), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    frame = pd.read_parquet(out)
    assert len(frame) == 16 and set(frame["client"]) == {"all"} and set(frame["round"]) == {1, 2}
    assert "Two detectors, two partitions: 8 cells" in shown and f"16 rows: {out}" in shown
    means = [
        line for line in shown.splitlines() if "| lof" in line and line.startswith(("| iid", "| feature"))
    ]
    assert len(means) == 2 and all("[" in line for line in means)
    assert main(["study", str(path), "--out", str(out)]) == 0
    assert "8 of them finished before" in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_parquet(out), frame)


def test_a_study_that_is_not_there(capsys):
    assert main(["study", "studies/nothing.toml"]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_the_summary_is_a_mean_over_the_seeds(file, tmp_path):
    study = read_study(file(SMALL))
    frame = run_study(study, tmp_path / "r.parquet", workers=1)
    rows = summary(study, frame, ["auroc"])
    assert [(row["partition"], row["detector"]) for row in rows] == [
        ("iid", "lof"),
        ("iid", "one-class-svm"),
        ("feature", "lof"),
        ("feature", "one-class-svm"),
    ]
    last = frame[(frame["round"] == 2) & (frame["partition"] == "iid") & (frame["detector"] == "lof")]
    assert rows[0]["auroc"].startswith(f"{last['auroc'].mean():.4f} [")


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_studies_of_the_project_are_sound(path):
    study = read_study(path)
    assert study.cells() and study.title != path.stem
