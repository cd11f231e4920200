from pathlib import Path

import numpy as np
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest, check_dataset, load_table


@pytest.fixture(autouse=True)
def tables():
    folder = Path("data/adbench")
    folder.mkdir(parents=True)
    g = np.random.default_rng(0)
    y = np.r_[np.zeros(40), np.ones(5)]
    np.savez(folder / "2_annthyroid.npz", X=g.normal(size=(45, 6)), y=y.astype(np.int64))
    np.savez(
        folder / "30_satellite.npz", X=g.integers(0, 255, (45, 3)).astype(np.uint8), y=y.astype(np.int32)
    )
    np.savez(folder / "31_satimage-2.npz", X=g.normal(size=(45, 2)).astype(np.float32), y=y[:, None])
    return folder


@pytest.mark.parametrize("name", ["2_annthyroid", "annthyroid", "30_satellite", "satellite", "satimage-2"])
def test_with_or_without_the_number(name):
    table = check_dataset(f"adbench:{name}", DataRequest())
    assert table.name.split("_", 1)[1] == name.split("_", 1)[-1]
    assert table.n_anomalies == 5


def test_values_survive(tables):
    with np.load(tables / "30_satellite.npz") as file:
        assert np.array_equal(load_table("adbench:satellite").X, file["X"])


def test_without_a_name_the_tables_are_listed():
    with pytest.raises(UserError, match="available: 2_annthyroid, 30_satellite, 31_satimage-2"):
        load_table("adbench")


def test_wrong_name_suggests_the_right_one():
    with pytest.raises(UserError, match="did you mean '2_annthyroid'"):
        load_table("adbench:anthyroid")


def test_another_table_will_not_do(tables):
    for path in (None, tables, tables.parent):
        with pytest.raises(UserError, match="there is no ADBench table 'glass'"):
            load_table("adbench:glass", DataRequest(path=path))


@pytest.mark.parametrize("name", ["../secret", "*", "[0-9]_x"])
def test_a_name_is_no_path(name):
    with pytest.raises(UserError, match="there is no ADBench table"):
        load_table(f"adbench:{name}")


def test_a_file_given_needs_no_name(tables):
    table = load_table("adbench", DataRequest(path=tables / "2_annthyroid.npz"))
    assert table.name == "adbench:2_annthyroid"


@pytest.mark.parametrize(
    "arrays",
    [
        {"X": np.zeros((4, 2))},
        {"X": np.zeros((4, 2)), "y": np.zeros(3)},
        {"X": np.zeros((4, 2)), "y": np.array([0, 1, 2, 0])},
        {"X": np.full((4, 2), np.nan), "y": np.array([0, 1, 0, 0])},
        {"X": np.array([[object()] * 2] * 4), "y": np.array([0, 1, 0, 0])},
        {"X": np.zeros((4, 2)), "y": np.zeros(4)},
    ],
)
def test_wrong_tables_are_refused(tables, arrays):
    np.savez(tables / "99_wrong.npz", **arrays)
    with pytest.raises(UserError):
        load_table("adbench:wrong")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x93NUMPY", b"text"])
def test_broken_files_are_refused(tables, content):
    (tables / "99_broken.npz").write_bytes(content)
    with pytest.raises(UserError, match="not an ADBench table"):
        load_table("adbench:broken")


def test_nothing_there(tables):
    for file in tables.iterdir():
        file.unlink()
    for name in ("adbench", "adbench:annthyroid"):
        with pytest.raises(UserError, match=r"github\.com/Minqi824/ADBench"):
            load_table(name)


def test_genuine_tables(real_data):
    for file in sorted((real_data / "adbench").glob("*.npz")):
        table = load_table("adbench", DataRequest(path=file, rows=None))
        assert table.X.shape[0] == len(table.y) > table.n_anomalies > 0
