"""The baselines are what they say, on made-up rows and on PaySim itself."""

import math
import os
from pathlib import Path

import numpy as np
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation.baselines import flag_nothing, metrics_of, paysim_rule

COLUMNS = {
    "type": np.array(["TRANSFER", "CASH_OUT", "PAYMENT", "TRANSFER", "TRANSFER", "CASH_OUT"]),
    "amount": np.array([100.0, 33.33, 50.0, 100.0, 100.0, 50.0]),
    "oldbalanceOrg": np.array([100.0, 33.33, 50.0, 300.0, 40.0, 50.0]),
    "newbalanceOrig": np.array([0.0, 0.0, 0.0, 200.0, 0.0, 50.0]),
}
FLAGGED = [True, True, False, False, False, False]


def test_the_rule():
    assert paysim_rule(COLUMNS).tolist() == FLAGGED


def test_the_rule_on_one_hot_types_the_alias_and_float32():
    columns = {name: values.astype(np.float32) for name, values in COLUMNS.items() if name != "type"}
    columns["oldbalanceOrig"] = columns.pop("oldbalanceOrg").astype(np.float64)
    for kind in ("TRANSFER", "CASH_OUT"):
        columns[f"type_{kind}"] = (COLUMNS["type"] == kind).astype(float)
    assert paysim_rule(columns).tolist() == FLAGGED


def test_the_rule_on_codes():
    codes = np.unique(["CASH_IN", "CASH_OUT", "DEBIT", "PAYMENT", "TRANSFER"]).searchsorted(COLUMNS["type"])
    assert paysim_rule({**COLUMNS, "type": codes.astype(float)}).tolist() == FLAGGED


def test_a_missing_column_is_named():
    with pytest.raises(UserError, match=r"\['newbalanceOrig'\]"):
        paysim_rule({name: values for name, values in COLUMNS.items() if name != "newbalanceOrig"})


def test_flag_nothing():
    result = flag_nothing(np.r_[np.zeros(998), np.ones(2)])
    assert result["accuracy"] == result["accuracy_flag_nothing"] == 0.998
    assert result["recall"] == 0 and math.isnan(result["precision"])


def test_metrics_of_predictions():
    result = metrics_of([True, True, False, False], [1, 0, 1, 0])
    assert [result[name] for name in ("tp", "fp", "tn", "fn")] == [1, 1, 1, 1]


@pytest.mark.skipif("FEDANOMALY_DATA" not in os.environ, reason="needs FEDANOMALY_DATA (PaySim)")
def test_the_rule_on_paysim():
    pandas = pytest.importorskip("pandas")
    path = Path(os.environ["FEDANOMALY_DATA"]) / "paysim" / "paysim.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not in FEDANOMALY_DATA")
    frame = pandas.read_parquet(path)
    flagged = paysim_rule({str(name): frame[name].to_numpy() for name in frame})
    result = metrics_of(flagged, frame["isFraud"])
    assert result["recall"] == pytest.approx(0.978, abs=0.005)
    assert result["fp"] == 0
