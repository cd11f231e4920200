import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest, check_dataset
from fedanomaly.data.fraud_handbook import FraudHandbook


@pytest.fixture
def frame() -> pd.DataFrame:
    g = np.random.default_rng(0)
    amount = g.integers(1, 30_000, 300) / 100
    seconds = np.sort(g.integers(0, 183 * 86_400, 300))
    return pd.DataFrame(
        {
            "TX_DATETIME": pd.Timestamp("2018-04-01") + pd.to_timedelta(seconds, unit="s"),
            "CUSTOMER_ID": g.integers(100, 130, 300),
            "TERMINAL_ID": g.integers(5, 9, 300),
            "TX_AMOUNT": amount,
            "TX_TIME_SECONDS": seconds,
            "TX_FRAUD": (amount > 220).astype(int),
            "TX_FRAUD_SCENARIO": (amount > 220).astype(int),
        }
    )


def load(frame, name="fraud_handbook.csv", **options):
    frame.to_csv(name, index=False) if name.endswith("csv") else frame.to_parquet(name)
    return FraudHandbook().load(DataRequest(path=Path(name), **options))


def test_table(frame):
    table = load(frame)
    assert table.feature_names == ("TX_AMOUNT", "HOUR", "WEEKDAY")
    when = frame["TX_DATETIME"].dt
    assert table.X[:, 1] == pytest.approx(when.hour + when.minute / 60 + when.second / 3600)
    assert np.array_equal(table.X[:, 2], when.dayofweek)
    assert np.array_equal(table.time, frame["TX_TIME_SECONDS"])
    for owner, column in (("customer", "CUSTOMER_ID"), ("terminal", "TERMINAL_ID")):
        codes = table.groups[owner]
        assert set(np.unique(codes)) == set(range(frame[column].nunique()))
        assert frame[column].groupby(codes).nunique().eq(1).all()


def test_ids_may_be_text(frame):
    expected = load(frame).fingerprint
    text = frame.astype({"CUSTOMER_ID": str, "TERMINAL_ID": str, "TX_TIME_SECONDS": str})
    assert load(text, "fraud_handbook.parquet").fingerprint == expected


class Bomb:
    def __reduce__(self):
        return (Path("exploded").touch, ())


@pytest.mark.parametrize("name", ["2018-04-01.pkl", "fraud_handbook.parquet"])
def test_a_pickle_is_never_loaded(name):
    Path(name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="pickle"):
        FraudHandbook().load(DataRequest(path=Path(name)))
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("TX_FRAUD", 0, "above 220"),
        ("TX_AMOUNT", -1.0, "no negative"),
        ("TX_FRAUD_SCENARIO", 0, "a scenario"),
    ],
)
def test_broken_rules_are_refused_or_said(frame, column, value, said):
    row = frame.index[frame["TX_FRAUD"] == 1][2]
    frame.loc[row, column] = value
    with pytest.raises(UserError, match=said):
        load(frame)
    assert any(said in warning for warning in load(frame, accept_variant=True).warnings)


def test_published_simulation(real_data):
    table = check_dataset("fraud_handbook", DataRequest(path=real_data / "fraud_handbook"))
    assert len(table) == 1_754_155 and table.n_anomalies == 14_681
    assert not any("not the published" in warning for warning in table.warnings)
