import re
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from fedanomaly.data import DATASETS, DataRequest, Dataset, build_table, check_dataset, registered

EMBEDDED = ("synthetic", "payments", "blobs", "wdbc")


@pytest.mark.parametrize("name", registered())
def test_every_registered_data_set_is_described(name):
    cls = DATASETS.get(name)
    assert cls.name == name and re.fullmatch(r"[a-z0-9_]+", name)
    assert cls.title and cls.__doc__


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("rows", [None, 500])
def test_embedded_data_sets_keep_the_contract(name, rows):
    table = check_dataset(name, DataRequest(rows=rows))
    assert len(table) == (rows or len(table))


def test_names_that_stay():
    expected = {
        "synthetic",
        "payments",
        "creditcard",
        "paysim",
        "wdbc",
        "adbench",
        "kddcup99",
        "fraud_handbook",
    }
    assert expected <= set(registered())


class Sound(Dataset):
    """Keeps the contract."""

    name: ClassVar[str] = "sound"
    title: ClassVar[str] = "for tests"

    def load(self, request):
        return build_table(
            self.name,
            np.arange(10.0)[:, None],
            np.r_[1, np.zeros(9)],
            ["a"],
            source="here",
            groups={"g": np.zeros(10)},
        )


def test_a_users_own_class():
    assert len(check_dataset(Sound)) == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {"name": "other"}, "is called 'other'"),
        (lambda t: {"X": t.X.astype(np.float32)}, "float64"),
        (lambda t: {"X": t.X.copy()}, "read-only"),
        (lambda t: {"X": np.asfortranarray(np.zeros((10, 2)))}, "disagree in size"),
        (lambda t: {"y": t.y.astype(np.int64)}, "int8"),
        (lambda t: {"y": np.zeros(10, np.int8)}, "both 0 and 1"),
        (lambda t: {"feature_names": ("",)}, "has no name"),
        (lambda t: {"time": np.zeros(3)}, "time must be"),
        (lambda t: {"groups": {"g": np.full(10, -1)}}, "negative codes"),
        (lambda t: {"fingerprint": "0"}, "fingerprint"),
        (lambda t: {"source": "/somewhere/x.csv"}, "absolute path"),
        (lambda t: {"warnings": ("",)}, "warning is empty"),
    ],
)
def test_a_broken_class_is_found(change, said):
    class Broken(Sound):
        def load(self, request):
            table = super().load(request)
            return replace(table, **change(table))

    with pytest.raises(AssertionError, match=said):
        check_dataset(Broken)


def test_an_unsteady_class_is_found():
    class Unsteady(Sound):
        calls = 0

        def load(self, request):
            type(self).calls += 1
            return build_table(
                self.name, np.full((3, 1), self.calls), np.array([0, 0, 1]), ["a"], source="here"
            )

    with pytest.raises(AssertionError, match="different rows"):
        check_dataset(Unsteady)
