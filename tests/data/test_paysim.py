from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.data import PAYSIM_TYPES, DataRequest, check_dataset
from fedanomaly.data.paysim import FEATURES, PaySim


@pytest.fixture
def frame() -> pd.DataFrame:
    """A few hundred rows that keep PaySim's rules."""
    g = np.random.default_rng(0)
    n = 400
    kind = g.choice(PAYSIM_TYPES, n)
    kind[:3] = ("TRANSFER", "CASH_OUT", "CASH_IN")
    amount = g.integers(1, 10_000_000, n) / 100
    old = g.integers(0, 10_000_000, n) / 100
    fraud = np.isin(kind, ("TRANSFER", "CASH_OUT")) & (np.arange(n) % 3 == 0)
    fraud[:2] = True
    old = np.where(fraud, amount, old)
    new = np.where(kind == "CASH_IN", old + amount, np.maximum(old - amount, 0)).round(2)
    payment = kind == "PAYMENT"
    at_destination = np.where(payment, 0.0, g.integers(0, 10_000_000, n) / 100)
    return pd.DataFrame(
        {
            "step": np.sort(g.integers(1, 744, n)),
            "type": kind,
            "amount": amount,
            "nameOrig": [f"C{i}" for i in range(n)],
            "oldbalanceOrg": old,
            "newbalanceOrig": new,
            "nameDest": [f"{'M' if p else 'C'}{i}" for i, p in enumerate(payment)],
            "oldbalanceDest": at_destination,
            "newbalanceDest": at_destination,
            "isFraud": fraud.astype(int),
            "isFlaggedFraud": 0,
        }
    )


def load(frame, **options):
    path = Path("paysim.csv")
    frame.to_csv(path, index=False)
    return PaySim().load(DataRequest(path=path, **options))


def test_table(frame):
    table = load(frame)
    assert table.feature_names == FEATURES
    assert [PAYSIM_TYPES[int(code)] for code in table.X[:, 1]] == list(frame["type"])
    assert np.array_equal(table.amount, frame["amount"]) and np.array_equal(table.time, frame["step"])
    assert "labels leak" in table.warnings[0]
    assert np.array_equal(table.y, frame["isFraud"])


def test_parquet_and_aliases_give_the_same_rows(frame):
    expected = load(frame).fingerprint
    assert load(frame.rename(columns={"oldbalanceOrg": "oldbalanceOrig"})).fingerprint == expected
    assert load(frame[frame.columns[::-1]]).fingerprint == expected
    frame.to_parquet("p.parquet")
    assert PaySim().load(DataRequest(path=Path("p.parquet"))).fingerprint == expected


def test_a_copy_without_flags_is_noted(frame):
    assert any("isFlaggedFraud" in warning for warning in load(frame.drop(columns="isFlaggedFraud")).warnings)


def put(frame, column, value, rows):
    frame = frame.copy()
    frame.loc[rows(frame), column] = value
    return frame


BREAKS = [
    (lambda f: put(f, "nameOrig", "X1", lambda f: f.index == 6), "column 'nameOrig', row 7 holds X1"),
    (lambda f: put(f, "nameDest", "C9", lambda f: f.type == "PAYMENT"), "goes to a merchant"),
    (lambda f: put(f, "oldbalanceDest", 5.0, lambda f: f.type == "PAYMENT"), "destination balances 0"),
    (lambda f: put(f, "newbalanceOrig", 1e6, lambda f: f.type == "PAYMENT"), "after a PAYMENT"),
    (lambda f: put(f, "newbalanceOrig", 0.5, lambda f: f.type == "CASH_IN"), "after a CASH_IN"),
    (lambda f: put(f, "isFraud", 1, lambda f: f.type == "DEBIT"), "only TRANSFER and CASH_OUT"),
    (lambda f: put(f, "amount", 1.1e7, lambda f: f.isFraud == 1), "10,000,000"),
    (lambda f: put(f, "step", 745, lambda f: f.index == 399), "1 to 744"),
    (lambda f: put(f, "oldbalanceDest", -1.0, lambda f: f.type == "DEBIT"), "no negative"),
    (lambda f: f.drop(columns="nameOrig"), "no column 'nameOrig'"),
    (lambda f: pd.concat([put(f, "oldbalanceOrg", 7.0, lambda f: f.isFraud == 1)] * 3), "98 %"),
]


@pytest.mark.parametrize(("broken", "said"), BREAKS)
def test_broken_rules_are_refused_or_said(frame, broken, said):
    with pytest.raises(UserError) as error:
        load(broken(frame))
    assert said in str(error.value)
    assert any(said in warning for warning in load(broken(frame), accept_variant=True).warnings)


def test_one_odd_cash_in_in_a_thousand_is_genuine(frame):
    cash_in = frame[frame.type == "CASH_IN"]
    many = pd.concat([frame, *[cash_in] * 3], ignore_index=True)
    odd = many.index[many.type == "CASH_IN"][:1]
    many.loc[odd, "newbalanceOrig"] = many.loc[odd, "oldbalanceOrg"]
    assert len(load(many)) == len(many)


def test_unknown_types_are_refused(frame):
    with pytest.raises(UserError, match="'type' holds 'GIFT' in row 10"):
        load(put(frame, "type", "GIFT", lambda f: f.index == 9), accept_variant=True)


def test_genuine_sample(real_data):
    table = check_dataset("paysim", DataRequest(path=real_data / "paysim"))
    assert table.X.shape == (99_872, 7) and table.n_anomalies == 2_836
    assert not any("accepted though" in warning for warning in table.warnings)
