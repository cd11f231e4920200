"""The thesis: its faults do what is said of them, and a verdict follows from figures alone."""

import numpy as np
import pandas as pd
import pytest

from fedanomaly.data import register_memory_table
from fedanomaly.data.base import Table
from fedanomaly.evaluation import mean_interval
from fedanomaly.experiment.thesis import CLAIMS, Faults, published_rounds, thesis_preset
from fedanomaly.experiment.thesis.claims import FAILS, FAULT, HOLDS, Claim, verdict
from fedanomaly.experiment.thesis.corrected import corrected_rounds, register_rows
from fedanomaly.experiment.thesis.effects import aggregation_effect, effect
from fedanomaly.experiment.thesis.published import COLUMNS, prepared
from fedanomaly.experiment.thesis.report import findings, write_thesis_report
from fedanomaly.experiment.thesis.reproduce import CORRECTED, NOTHING_AGGREGATED, reproduce


def rows(n=1500, frauds=90, names=("a", "b", "c")):
    rng = np.random.default_rng(3)
    y = np.zeros(n, dtype=np.int8)
    y[:frauds] = 1
    X = rng.normal(size=(n, len(names))) + 2.5 * y[:, None]
    return Table(name="toy", X=X, y=y, feature_names=tuple(names), source="test", fingerprint="toy")


def last(detector, faults, split="uneven"):
    return published_rounds(rows(), detector, split, 1, faults, rounds=1, trees=20)[-1]


def test_the_impossible_test_flags_everything_or_nothing():
    faults = Faults.none().switched("impossible_test", True)
    assert last("isolation-forest", faults)["recall"] == 1.0
    assert last("isolation-forest", faults)["flagged"] == 1.0
    assert last("one-class-svm", faults)["flagged"] == 0.0
    assert last("lof", faults)["flagged"] == 0.0
    for detector in ("isolation-forest", "one-class-svm", "lof"):
        assert 0.02 < last(detector, Faults.none())["flagged"] < 0.25


def test_smote_before_the_split_changes_the_prevalence_of_the_test_rows():
    on = last("isolation-forest", Faults.none().switched("smote_before_split", True))
    assert on["prevalence"] == pytest.approx(0.375, abs=0.01)
    assert last("isolation-forest", Faults.none())["prevalence"] == pytest.approx(0.06, abs=0.01)


def test_all_faults_together_give_the_printed_figures():
    published = last("isolation-forest", Faults())
    assert published["recall"] == 1.0
    assert published["precision"] == pytest.approx(0.375, abs=0.01)


def test_overlap_deals_out_more_frauds_than_there_are():
    on = last("isolation-forest", Faults.none().switched("overlapping_frauds", True))
    assert on["prevalence"] > 1.3 * last("isolation-forest", Faults.none())["prevalence"]


def test_cleaning_drops_what_looks_missing():
    table = rows(names=("type_X", *COLUMNS))
    X = table.X.copy()
    X[:40, [table.feature_names.index(name) for name in ("oldbalanceDest", "newbalanceDest")]] = 0.0
    table = Table(**{**vars(table), "X": X})
    assert len(prepared(table, Faults())) == 1460
    mended = prepared(table, Faults.none())
    assert len(mended) == 1500 and mended.feature_names == COLUMNS


def test_only_a_forest_changes_from_round_to_round():
    for detector, changes in (("isolation-forest", True), ("lof", False)):
        rounds = published_rounds(rows(), detector, "even", 1, Faults.none(), rounds=3, trees=10)
        assert len(rounds) == 3
        assert (len({one["auroc"] for one in rounds}) > 1) is changes


def test_the_same_seed_gives_the_same_numbers():
    first, again = (
        published_rounds(rows(), "isolation-forest", "even", 7, rounds=2, trees=10) for _ in range(2)
    )
    assert str(first) == str(again)


def test_the_preset_is_the_study_without_its_faults():
    config = thesis_preset(register_rows(rows()), "isolation-forest", "uneven", 5)
    assert (config.clients, config.rounds, config.contamination, config.scaling) == (5, 10, "0.1", "minmax")
    assert config.partition == "uneven" and config.ratios == (0.2, 0.3, 0.1, 0.4, 0.5)
    assert len(corrected_rounds(config)) == 10


@pytest.mark.parametrize(
    ("published", "corrected", "expected"),
    [((1.0, 1.01), (1.0, 1.01), HOLDS), ((1.0, 1.01), (-1.0, 1.0), FAULT), ((-1.0, 1.0), (-1.0, 1.0), FAILS)],
)
def test_a_verdict_follows_from_the_intervals(published, corrected, expected):
    claim = Claim("x", "x", "x", lambda _: 0.0, lambda interval: interval.low > 0)
    assert verdict(claim, mean_interval(published), mean_interval(corrected)) == expected


def test_the_reproduction_does_not_depend_on_workers_and_reports_every_claim(tmp_path):
    table = rows(400, 40)
    name = register_memory_table(table.X, table.y)
    frame = reproduce(name, seeds=[0, 1], rounds=1, trees=5, workers=2)
    alone = reproduce(name, seeds=[1], rounds=1, trees=5, workers=1)
    assert frame[frame["seed"] == 1].reset_index(drop=True).equals(alone)
    found = {item.claim.name: item for item in findings(frame)}
    assert len(found) == len(CLAIMS)
    assert found["forest finds every fraud"].verdict == FAULT
    assert found["forest finds every fraud"].faults == ("impossible_test",)
    assert "smote_before_split" in found["precision .375"].faults
    assert np.isfinite(aggregation_effect(frame).mean)
    text = write_thesis_report(frame, tmp_path).read_text()
    assert all(claim.published in text for claim in CLAIMS)
    assert {path.name for path in tmp_path.iterdir()} == {
        "claims.md",
        "thesis.parquet",
        "f1.png",
        "average_precision.png",
        "faults.png",
    }


def toy_frame(values):
    """Return the forest's recall in the mended procedure: ``values[fault][seed]`` are its rounds."""
    lines = [
        (CORRECTED, fault, "isolation-forest", "uneven", seed, number, "recall", value)
        for fault, seeds in values.items()
        for seed, rounds in enumerate(seeds)
        for number, value in enumerate(rounds, 1)
    ]
    columns = ["procedure", "fault", "detector", "split", "seed", "round", "metric", "value"]
    return pd.DataFrame(lines, columns=columns)


def test_an_effect_compares_one_fit_with_one_fit_of_the_same_seeds():
    frame = toy_frame(
        {
            NOTHING_AGGREGATED: [[0.2, 0.9], [0.4, 0.8]],
            "impossible_test": [[1.0], [1.0]],
            "": [[0.0, 0.5], [0.0, 0.5]],
        }
    )
    one = effect(frame, "impossible_test", "isolation-forest", "recall")
    assert (one.off.mean, one.on.mean) == pytest.approx((0.3, 1.0))  # the first refit, not the last
    assert one.change.mean == pytest.approx(0.7) and one.change.n == 2
    federated = effect(frame, NOTHING_AGGREGATED, "isolation-forest", "recall")
    assert (federated.off.mean, federated.on.mean) == pytest.approx((0.5, 0.85))


def test_an_undefined_effect_stays_undefined():
    nan = float("nan")
    frame = toy_frame({NOTHING_AGGREGATED: [[0.2, 0.3]], "cleaning": [[nan]], "": [[0.5, nan]]})
    one = effect(frame, "cleaning", "isolation-forest", "recall")
    assert np.isnan(one.on.mean) and np.isnan(one.change.mean)
    last = effect(frame, NOTHING_AGGREGATED, "isolation-forest", "recall")
    assert np.isnan(last.off.mean)  # the last round counts, not the last defined one
