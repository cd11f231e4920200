"""Each client's own model on every client's test rows."""

import pytest

from fedanomaly.experiment.transfer import transfer
from fedanomaly.federation.config import RunConfig

SITES = {"data": "payments", "rows": 4_000, "partition": "natural", "partition_column": "site", "clients": 5}


@pytest.fixture(scope="module")
def figures():
    return transfer(RunConfig(**SITES, detector="logistic-regression", threshold="best-f1"))


def test_every_pair_and_all_together(figures):
    assert len(figures) == 5 * 6 and set(figures["tested"]) == {"0", "1", "2", "3", "4", "all"}
    together = figures[figures["tested"] == "all"].set_index("trained")
    apart = figures[figures["tested"] != "all"].groupby("trained")
    assert (apart["rows"].sum() == together["rows"]).all()
    assert (apart["tp"].sum() == together["tp"]).all()


def test_a_model_does_best_at_home(figures):
    mostly_one_type = figures[figures["trained"].isin(["0", "1", "2", "3"])]
    at_home = mostly_one_type["trained"] == mostly_one_type["tested"]
    away = mostly_one_type[~at_home & (mostly_one_type["tested"] != "all")]
    assert mostly_one_type[at_home]["average_precision"].mean() > away["average_precision"].mean() + 0.05


def test_detectors_without_labels_and_repeated_to_the_bit(figures):
    config = RunConfig(**SITES, detector="hbos")
    assert transfer(config).equals(transfer(config))
