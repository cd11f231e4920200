"""A study's file, what is wrong with it in one sentence, and the command."""

from pathlib import Path

import pandas as pd
import pytest

from fedanomaly.__main__ import main
from fedanomaly.core.errors import UserError
from fedanomaly.experiment.journal import configuration_of
from fedanomaly.experiment.studies import read_study, run_study, summary
from fedanomaly.experiment.study_figures import final_figures
from fedanomaly.experiment.study_report import write_study_report
from fedanomaly.experiment.study_sections import TableSection
from fedanomaly.experiment.study_tables import comparisons
from fedanomaly.federation.config import RunConfig

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
    path, folder = file(SMALL), tmp_path / "out"
    out = folder / "small.parquet"
    assert main(["study", str(path), "--out", str(folder), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    frame = pd.read_parquet(out)
    assert len(frame) == 16 and set(frame["client"]) == {"all"} and set(frame["round"]) == {1, 2}
    assert "Two detectors, two partitions: 8 cells" in shown and f"16 rows: {out}" in shown
    means = [
        line for line in shown.splitlines() if "| lof" in line and line.startswith(("| iid", "| feature"))
    ]
    assert len(means) == 2 and all("[" in line for line in means)
    assert main(["study", str(path), "--out", str(folder)]) == 0
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


SHOWN = """
[[table]]
title = "Against rows at random"
rows = ["method", "partition"]
metrics = ["auroc", "rounds_needed.auroc"]
compare = { partition = "iid" }

[[table]]
title = "Methods"
rows = ["method"]
columns = "partition"
metrics = ["auroc"]
compare = { partition = "iid" }

[[picture]]
name = "rounds"
kind = "curves"
x = "round"
line = "method"
panel = "partition"
metrics = ["auroc", "f1"]

[[picture]]
name = "cost"
kind = "curves"
x = "clients"
line = "method"
panel = "split"
metrics = ["train_seconds"]

[[picture]]
name = "shades"
kind = "heat-map"
rows = "method"
columns = "partition"
metrics = ["auroc"]
"""


def test_a_study_writes_its_page_and_writes_it_again(file, tmp_path, capsys):
    path, folder = file(SMALL + SHOWN), tmp_path / "out"
    assert main(["study", str(path), "--out", str(folder), "--workers", "1"]) == 0
    page = (folder / "small.md").read_text()
    pictures = {"rounds-auroc.png", "rounds-f1.png", "cost.png", "shades.png"}
    assert {picture.name for picture in folder.glob("*.png")} == pictures
    assert all(f"]({name})" in page for name in pictures) and "No run failed" in page
    assert page.count("| lof, prototypes ") == 3 and "Holm" in page
    (folder / "small.md").unlink()
    capsys.readouterr()
    assert main(["study", str(path), "--out", str(folder), "--workers", "1"]) == 0
    assert "8 of them finished before" in capsys.readouterr().out
    assert (folder / "small.md").read_text() == page


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("picture = 3", "are sections"),
        ('[[picture]]\nname = "a"\nkind = "pie"\nmetrics = ["f1"]', "kind must be one of curves"),
        ('[[picture]]\nname = "a"\nkind = "curves"\nmetrics = ["f1"]', "needs 'x'"),
        ('[[picture]]\nname = "a"\nkind = "curves"\nx = "alpha"\nmetrics = "f1"', "metrics cannot be 'f1'"),
        ('[[picture]]\nname = "a"\nkind = "curves"\nx = "beta"\nmetrics = ["f1"]', "'beta' is no option"),
        ('[[picture]]\nname = "a"\nkind = "points"\nrows = "split"\nx = "alpha"\nmetrics = ["f1"]', "no 'x'"),
        ('[[picture]]\nkind = "curves"\nmetrics = ["f1"]', "needs 'name'"),
        ('[[table]]\ntitle = "t"\nrows = []\nmetrics = ["f1"]', "rows must be a list of names"),
        ('[[table]]\ntitle = "t"\nrows = ["method"]\nmetrics = ["f1"]\nsort = "f1"', "not 'sort'"),
        ('[[table]]\ntitle = "t"\nrows = ["round"]\nmetrics = ["f1"]', "'round' is no option"),
    ],
)
def test_a_bad_section_is_refused_before_anything_runs(file, section, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        read_study(file(f"{section}\n[grid]\nclients = [3]" if "=" in section[:11] else section))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('[[table]]\ntitle = "t"\nrows = ["clients"]\nmetrics = ["f1"]', "several runs of one seed"),
        ('[[table]]\ntitle = "t"\nrows = ["method", "split"]\nmetrics = ["f2"]', "no metric 'f2'"),
        ('[[table]]\ntitle = "t"\nrows = ["split"]\nmetrics = ["best_client.f1"]', "before the dot"),
        ('[[table]]\ntitle = "t"\nrows = ["split"]\nmetrics = ["worst_client.f1"]', 'keep = "clients"'),
        (
            '[[table]]\ntitle = "t"\nrows = ["split"]\nmetrics = ["f1"]\nwhere = { clients = 9 }',
            "no completed run",
        ),
        (
            '[[picture]]\nname = "a"\nkind = "curves"\nx = "split"\nline = "method"\nmetrics = ["f1"]',
            "must be an axis of numbers",
        ),
    ],
)
def test_what_the_results_do_not_hold_is_said(file, tmp_path, figures, section, sentence):
    study = read_study(file(SMALL + section))
    with pytest.raises(UserError, match=sentence):
        write_study_report(study, figures, tmp_path)


@pytest.fixture
def figures():
    """Two methods and two splits as a study leaves them, without running anything; pooled under one only."""
    rows = []
    for number, (way, partition, alpha) in enumerate(
        [
            ("union", "iid", 0.5),
            ("union", "dirichlet", 0.1),
            ("union", "dirichlet", 10.0),
            ("pooled", "iid", 0.5),
        ]
    ):
        for seed in range(4):
            config = RunConfig(
                aggregation=way, partition=partition, alpha=alpha, seed=seed, contamination="0.1"
            )
            for round_ in (1, 2, 3):
                f1 = 0.5 + 0.1 * number + 0.01 * seed - (0.2 if round_ == 1 else 0.0)
                rows.append(
                    {
                        **configuration_of(config),
                        "cell": f"{number}-{seed}",
                        "status": "completed",
                        "round": round_,
                        "client": "all",
                        "auroc": 0.9,
                        "f1": f1,
                        "train_seconds": 1.0,
                    }
                )
    return pd.DataFrame(rows)


def test_pooled_stands_beside_every_split_and_its_cost_where_it_was_run(figures):
    final = final_figures(figures, ["rounds_needed.f1"])
    pooled = final[final["aggregation"] == "pooled"]
    assert set(pooled["split"]) == {"iid", "dirichlet 0.1", "dirichlet 10"} and len(pooled) == 12
    assert pooled["f1"].nunique() == 4
    assert set(pooled.loc[pooled["train_seconds"].notna(), "split"]) == {"iid"}
    assert set(final["rounds_needed.f1"].dropna()) == {2.0}


def test_differences_are_paired_with_the_reference_of_the_same_seed(figures):
    section = TableSection("t", ("split", "method"), ("f1",), compare={"aggregation": "pooled"})
    found = comparisons(section, final_figures(figures, []), "f1")
    assert {key[0]: round(one.difference.mean, 9) for key, one in found.items()} == {
        "iid": -0.3,
        "dirichlet 0.1": -0.2,
        "dirichlet 10": -0.1,
    }
    assert all(one.difference.n == 4 and one.adjusted < 1e-6 for one in found.values())


def test_figures_of_clients(figures):
    clients = [
        figures.assign(client=name, f1=value) for name, value in (("0", 0.2), ("1", 0.4), ("2", float("nan")))
    ]
    metrics = ["worst_client.f1", "client_mean.f1", "client_spread.f1"]
    final = final_figures(pd.concat([figures, *clients]), metrics)
    row = final[final["aggregation"] == "union"].iloc[0]
    assert [round(row[name], 6) for name in metrics] == [0.2, 0.3, 0.141421]
