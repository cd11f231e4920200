"""The benchmark on two made-up tables: which cells there are, what is compared, what is written."""

import numpy as np
import pandas as pd
import pytest

from fedanomaly.__main__ import main
from fedanomaly.core.errors import UserError
from fedanomaly.detectors import aggregations_of, registered
from fedanomaly.experiment.benchmark import BenchmarkOptions, benchmark_cells, methods_of
from fedanomaly.experiment.benchmark_report import markdown
from fedanomaly.experiment.benchmark_results import Results

DETECTORS = ("lof", "one-class-svm")
WAYS = ("prototypes", "nystrom-mean")


@pytest.fixture(autouse=True)
def tables(tmp_path, monkeypatch):
    """Two tables sorted by class, as ADBench's are."""
    folder = tmp_path / "data" / "adbench"
    folder.mkdir(parents=True)
    for number, name in ((7, "near"), (11, "far")):
        generator = np.random.default_rng(number)
        X = np.concatenate([generator.normal(size=(300, 4)), generator.normal(0.3 * number, 2, size=(30, 4))])
        np.savez(folder / f"{number}_{name}.npz", X=X, y=np.repeat([0, 1], [300, 30]))
    monkeypatch.setenv("FEDANOMALY_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def options(**changed):
    chosen = {"detectors": DETECTORS, "aggregations": WAYS, "seeds": 2, "clients": 4, "rows": 200}
    return BenchmarkOptions(**{**chosen, **changed})


def test_cells_are_the_product_with_pooled_once():
    cells = benchmark_cells(options())
    count = pd.Series([cell.aggregation for cell in cells]).value_counts()
    assert count.to_dict() == {"local": 40, "prototypes": 20, "nystrom-mean": 20, "pooled": 8}
    assert {cell.partition for cell in cells} == {"iid", "dirichlet", "pathological", "feature", "quantity"}
    assert {cell.data for cell in cells} == {"adbench:7_near", "adbench:11_far"}
    assert {(cell.clients, cell.rows, cell.train_on) for cell in cells} == {(4, 200, "all")}


def test_by_default_all_that_need_no_labels_in_all_ways():
    methods = methods_of(BenchmarkOptions())
    unsupervised = {name: cls for name, cls in registered().items() if not cls.supervised}
    ways = {(name, way) for name, cls in unsupervised.items() for way in aggregations_of(cls)}
    assert set(methods) == ways - {("isolation-forest", "pooled-exact")}  # of one model one reference
    asked = BenchmarkOptions(detectors=("isolation-forest",), aggregations=("pooled-exact",))
    assert ("isolation-forest", "pooled-exact") in methods_of(asked)


def test_only_ways_that_improve_have_rounds():
    rounds = {
        (cell.detector, cell.aggregation): cell.rounds
        for cell in benchmark_cells(options(detectors=("one-class-svm",), aggregations=(), rounds=3))
    }
    assert rounds["one-class-svm", "nystrom-hinge"] == 3 and rounds["one-class-svm", "nystrom-mean"] == 1


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"detectors": ("fortune-teller",)}, "unknown detector"),
        ({"aggregations": ("guess",)}, "unknown aggregation 'guess'"),
        ({"detectors": ("lof",), "aggregations": ("nystrom-mean",)}, "none of the detectors"),
        ({"partitions": ("diagonal",)}, "unknown partition"),
        ({"partitions": ("thesis",)}, "share rows"),
        ({"tables": ("nowhere",)}, "no ADBench table 'nowhere'"),
        ({"seeds": 0}, "--seeds"),
    ],
)
def test_what_cannot_be_is_refused(changed, sentence):
    with pytest.raises(UserError, match=sentence):
        benchmark_cells(options(**changed))


def test_the_command_writes_figures_tables_and_pictures(tmp_path, capsys):
    command = [
        "benchmark",
        "--detectors",
        *DETECTORS,
        "--aggregations",
        *WAYS,
        "--partitions",
        "iid",
        "label",
    ]
    command += ["--seeds", "2", "--clients", "4", "--rows", "200", "--workers", "2", "--out", "found"]
    assert main(command) == 0
    assert {path.name for path in (tmp_path / "found").iterdir()} == {
        "benchmark.parquet",
        "benchmark.md",
        "critical-difference.png",
        "heat-map-partitions.png",
        "heat-map-tables.png",
    }
    frame = pd.read_parquet(tmp_path / "found" / "benchmark.parquet")
    assert len(frame) == 2 * 2 * 2 * 6 - 2 * 2 * 2 and set(frame["status"]) == {"completed"}
    assert set(frame["data_rows"]) == {200}
    assert (frame["data_frauds"] > 0).all()  # the first 200 rows hold none: a sample was taken

    results = Results(frame)
    pooled = results.values["lof", "pooled"].unstack("partition")
    assert (pooled["iid"] == pooled["label"]).all()
    page = (tmp_path / "found" / "benchmark.md").read_text()
    assert "| lof, prototypes" in page and "| 7_near" in page and "200 (sample)" in page
    mean = frame[(frame["detector"] == "lof") & (frame["aggregation"] == "prototypes")][
        "average_precision"
    ].mean()
    assert f"{mean:.3f} [" in page
    assert "nan" not in page and "Nothing: every run was completed" in page


def made_up(scores):
    """Return a frame of results: by (detector, way), one score a table."""
    records = [
        {
            **{
                "detector": detector,
                "aggregation": way,
                "data": f"adbench:{table}_t",
                "partition": "feature",
            },
            **{
                "seed": seed,
                "average_precision": value + 0.01 * seed,
                "auroc": 0.5,
                "error": "",
                "events": 0,
            },
            **{"clients": 4, "rounds": 1, "alpha": 0.5, "rows": 100, "data_rows": 90, "data_features": 2},
            **{"data_frauds": 9, "test_frauds": 3, "test_rows": 30, "train_bytes_up": 4000.0},
            **{"cell_seconds": 0.1, "version": "1", "code": "c", "environment": "e"},
        }
        for (detector, way), values in scores.items()
        for table, value in enumerate(values)
        for seed in range(2)
    ]
    return pd.DataFrame(records)


def test_losses_are_listed_with_the_tables():
    frame = made_up(
        {
            ("lof", "good"): [0.9, 0.8, 0.3, 0.7],
            ("lof", "bad"): [0.2, 0.3, 0.2, 0.1],
            ("lof", "local"): [0.5, 0.5, 0.5, 0.5],
            ("lof", "pooled"): [0.9, 0.8, 0.8, 0.6],
        }
    )
    results = Results(frame)
    page = " ".join(markdown(results).split())
    assert results.ranks.methods == ("lof, good", "lof, bad") and "**lof, good**" in page
    assert "| feature | 1 of 4 | 2_t 0.38 |" in page
    assert "lof, bad | feature" in page and "lof, good | feature" not in page  # worse than alone
    assert results.by_partition["lof", "good"].iloc[0] == pytest.approx(0.68)
    failed = frame.assign(error=np.where(frame["aggregation"] == "bad", "it broke", ""))
    failed.loc[failed["error"] != "", ["average_precision", "auroc"]] = np.nan
    page = markdown(Results(failed))
    assert "8 runs failed" in page and "it broke" in page
    assert Results(failed).ranks.mean_ranks == (1.0, 2.0)
