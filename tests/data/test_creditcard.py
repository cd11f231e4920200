import gzip
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest, check_dataset
from fedanomaly.data.creditcard import CreditCard
from fedanomaly.data.creditcard_figures import FEATURES
from fedanomaly.data.synthetic import generate


@pytest.fixture(scope="module")
def genuine_like() -> pd.DataFrame:
    """Generated rows in Kaggle's schema: no genuine row may lie in the repository."""
    X, y, time = generate(20_000, 3)
    frame = pd.DataFrame(X, columns=FEATURES)
    frame.insert(0, "Time", time)
    frame["Class"] = y.astype(np.int64)
    return frame


@pytest.fixture
def frame(genuine_like):
    return genuine_like.copy()


def load(path: Path, **options):
    return CreditCard().load(DataRequest(path=path, **options))


def write(frame, name="creditcard.parquet") -> Path:
    path = Path(name)
    frame.to_csv(path, index=False) if ".csv" in name else frame.to_parquet(path)
    return path


def refused(frame, **options) -> str:
    with pytest.raises(UserError) as error:
        load(write(frame), **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_table(frame):
    table = check_dataset(CreditCard, DataRequest(path=write(frame)))
    assert table.feature_names == FEATURES and table.X.shape == (20_000, 29)
    assert np.array_equal(table.time, frame["Time"]) and np.array_equal(table.amount, frame["Amount"])
    assert not table.synthetic and table.source == "creditcard.parquet"
    assert any("20,000 of 284,807 rows" in warning for warning in table.warnings)


def test_every_packing_gives_the_same_rows(frame):
    prints = {load(write(frame)).fingerprint}
    csv = write(frame, "creditcard.csv")
    prints.add(load(csv).fingerprint)
    Path("packed.gz").write_bytes(gzip.compress(csv.read_bytes(), 1))
    prints.add(load(Path("packed.gz")).fingerprint)
    for inner in ("creditcard.csv", "creditcard.parquet"):
        with zipfile.ZipFile("packed.zip", "w") as archive:
            archive.write(inner)
            archive.writestr("__MACOSX/._x", b"")
        prints.add(load(Path("packed.zip")).fingerprint)
    assert len(prints) == 1


def test_openml_writes_classes_as_text_and_may_lack_time(frame):
    expected = load(write(frame))
    for kind in ("str", "category"):
        frame["Class"] = frame["Class"].astype(str).astype(kind)
        assert load(write(frame)).fingerprint == expected.fingerprint
    table = load(write(frame.drop(columns="Time"), "creditcard.csv"))
    assert table.time is None and np.array_equal(table.X, expected.X)
    assert any("no column Time" in warning for warning in table.warnings)


def test_kaggle_quotes_its_header_and_classes(frame):
    frame["Class"] = frame["Class"].map('"{}"'.format)
    text = frame.to_csv(index=False, quoting=3).split("\n", 1)
    header = ",".join(f'"{column}"' for column in frame.columns)
    Path("quoted.csv").write_text(f"\ufeff{header}\n{text[1]}", encoding="utf-8")
    assert load(Path("quoted.csv")).n_anomalies == 35


def test_adbench_table(frame):
    np.savez("13_fraud.npz", X=frame[list(FEATURES)].to_numpy(), y=frame["Class"].to_numpy())
    assert np.array_equal(load(Path("13_fraud.npz")).X, load(write(frame)).X)
    np.savez("narrow.npz", X=np.zeros((5, 3)), y=np.array([0, 0, 0, 0, 1]))
    with pytest.raises(UserError, match="3 columns"):
        load(Path("narrow.npz"))


def test_row_and_column_are_named(frame):
    frame.loc[16, "Time"] = 1.5
    assert "column 'Time', row 17 holds 1.5" in refused(frame)
    frame.loc[16, "Time"] = np.nan
    assert "'Time'" in refused(frame) and "row 17" in refused(frame)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda f: f.assign(V1=f.V1 + 5), "'V1'.*-56.4.* to 2.45"),
        (
            lambda f: f.assign(**{v: f[v] / f[v].std() for v in FEATURES[:-1]}),
            "standard deviation|values from",
        ),
        (lambda f: f.round(4), "rounded"),
        (lambda f: f.assign(Amount=f.Amount / 88.3), "two decimals"),
        (lambda f: f.assign(Amount=-f.Amount), "'Amount'.*values from 0"),
        (lambda f: f.assign(Time=f.Time / 172_792), "whole seconds"),
        (lambda f: f.assign(Class=np.random.default_rng(0).permutation(f.Class)), "mean of V14"),
        (lambda f: f.assign(Class=1 - f.Class), "frauds, expected at most 492"),
    ],
)
def test_wrong_copies_are_refused_or_said(frame, broken, said):
    sentence = refused(broken(frame))
    assert pd.Series([sentence]).str.contains(said)[0], sentence
    assert "--accept-variant" in sentence
    table = load(write(broken(frame)), accept_variant=True)
    assert any("accepted though" in warning for warning in table.warnings)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda f: f.drop(columns="V7"), "no column 'V7'"),
        (lambda f: f.assign(Class=f.Class * 2), "expected 0 or 1"),
        (lambda f: f.assign(V3=np.where(f.index == 4, np.inf, f.V3)), "'V3' holds inf in row 5"),
        (lambda f: f.assign(V3="x"), "'V3' must hold numbers"),
        (lambda f: f.assign(Class=0), "both classes"),
        (lambda f: f.iloc[:0], "no rows"),
    ],
)
def test_unusable_files_are_refused_in_any_case(frame, broken, said):
    assert said in refused(broken(frame), accept_variant=True)


def test_too_many_rows(frame):
    many = pd.concat([frame] * 15)
    assert "at most 284,807" in refused(many)


def test_first_rows(frame):
    table = load(write(frame), rows=5_000)
    assert np.array_equal(table.X, load(write(frame)).X[:5_000])
    with pytest.raises(UserError, match="keep more rows"):
        load(write(frame), rows=1)


def test_genuine_sample(real_data):
    table = check_dataset("creditcard", DataRequest(path=real_data / "creditcard"))
    assert table.X.shape == (24_110, 29) and table.n_anomalies == 334
    assert len(table.warnings) == 1 and "not the whole file" in table.warnings[0]
