import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import fedanomaly
from fedanomaly.core.errors import UserError
from fedanomaly.data import DATASETS, DataRequest, Dataset, build_table, load_table
from fedanomaly.data import cache as cache_module
from fedanomaly.data.places import cache_folder

SMALL = DataRequest(rows=500, seed=1)


class Counted(Dataset):
    """A data set that counts how often it is really read."""

    name: ClassVar[str] = "counted"
    title: ClassVar[str] = "for tests"
    reads: ClassVar[int] = 0
    key: ClassVar[str | None] = "k"

    def cache_key(self, request):
        return None if self.key is None else f"{self.key}{request.rows}"

    def load(self, request):
        type(self).reads += 1
        X = np.arange(40.0).reshape(20, 2)
        y = np.r_[np.ones(2), np.zeros(18)]
        site = np.arange(20) % 3
        return build_table(
            self.name,
            X,
            y,
            ["a", "b"],
            source="here",
            rows=request.rows,
            groups={"../site": site},
            time=X[:, 0],
        )


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setitem(DATASETS._entries, "counted", Counted)
    monkeypatch.setattr(Counted, "reads", 0)
    return Counted


def python(code: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(fedanomaly.__file__).parents[1])}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)


def entries(cache_dir: Path) -> list[Path]:
    return sorted((cache_dir / "tables").iterdir())


def same(a, b) -> bool:
    facts = ("name", "feature_names", "source", "fingerprint", "synthetic", "warnings")
    arrays = all(
        (x is None and y is None) or (np.array_equal(x, y) and x.dtype == y.dtype)
        for x, y in ((a.X, b.X), (a.y, b.y), (a.time, b.time), (a.amount, b.amount))
    )
    groups = list(a.groups) == list(b.groups) and all(
        np.array_equal(a.groups[g], b.groups[g]) for g in a.groups
    )
    return arrays and groups and all(getattr(a, fact) == getattr(b, fact) for fact in facts)


@pytest.mark.parametrize("name", ["synthetic", "payments", "wdbc"])
def test_the_cache_changes_nothing(name):
    fresh = DATASETS.get(name)().load(SMALL)
    for _ in range(2):
        assert same(load_table(name, SMALL), fresh)


def test_read_once(counted):
    first, second = load_table("counted"), load_table("counted")
    assert counted.reads == 1 and same(first, second)
    assert not second.X.flags.writeable and not second.groups["../site"].flags.writeable
    load_table("counted", DataRequest(rows=10))
    assert counted.reads == 2


def test_a_later_process_maps_it_without_pandas(cache_dir):
    load_table("synthetic", SMALL)
    code = (
        "import sys; from fedanomaly.data import *; "
        "t = load_table('synthetic', DataRequest(rows=500, seed=1)); "
        "print(t.fingerprint, *{'pandas', 'pyarrow', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    out, _ = python(code).communicate()
    assert out.split() == [load_table("synthetic", SMALL).fingerprint]


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "table.json").write_text("{"),
        lambda entry: (entry / "table.json").write_text("[]"),
        lambda entry: (entry / "table.json").write_text(json.dumps({"columns": ["../../x"], "groups": []})),
        lambda entry: (entry / "table.json").unlink(),
        lambda entry: (entry / "X.npy").unlink(),
        lambda entry: (entry / "X.npy").write_bytes(b""),
        lambda entry: (entry / "X.npy").write_bytes((entry / "X.npy").read_bytes()[:-8]),
        lambda entry: np.save(entry / "X.npy", np.zeros((20, 2))),
        lambda entry: np.save(entry / "X.npy", np.zeros((7, 2))),
        lambda entry: np.save(entry / "y.npy", np.array([object()] * 20), allow_pickle=True),
        lambda entry: np.save(entry / "y.npy", np.zeros(20, np.int8)),
        lambda entry: np.save(entry / "time.npy", np.zeros(20)),
        lambda entry: np.save(entry / "group-0.npy", np.zeros(3, np.int64)),
    ],
)
def test_a_damaged_entry_is_prepared_anew(counted, cache_dir, damage):
    fresh = load_table("counted")
    fresh = build_table(
        "counted", fresh.X, fresh.y, ["a", "b"], source="here", time=fresh.time, groups=dict(fresh.groups)
    )
    (entry,) = entries(cache_dir)
    damage(entry)
    assert same(load_table("counted"), fresh) and counted.reads == 2
    assert same(load_table("counted"), fresh) and counted.reads == 2
    assert entries(cache_dir) == [entry]


def test_a_file_where_the_entry_should_be(counted, cache_dir):
    load_table("counted")
    (entry,) = entries(cache_dir)
    cache_module._remove(entry)
    entry.write_text("not a folder")
    assert len(load_table("counted")) == 20


def test_a_changed_loader_is_not_outlived(counted, monkeypatch):
    load_table("counted")
    monkeypatch.setattr(cache_module, "_code", lambda cls: "another version")
    load_table("counted")
    assert counted.reads == 2


def test_no_key_no_cache(counted, cache_dir, monkeypatch):
    monkeypatch.setattr(counted, "key", None)
    load_table("counted")
    load_table("counted")
    assert counted.reads == 2 and not (cache_dir / "tables").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs fcntl")
def test_many_at_once_read_it_once(counted):
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: load_table("counted"), range(24)))
    assert counted.reads == 1
    assert all(same(table, tables[0]) for table in tables)


def test_many_processes_at_once(cache_dir):
    code = (
        "from fedanomaly.data import *; "
        "print(load_table('synthetic', DataRequest(rows=3000, seed=4)).fingerprint)"
    )
    running = [python(code) for _ in range(4)]
    prints = {process.communicate()[0] for process in running}
    assert len(prints) == 1 and all(process.returncode == 0 for process in running)
    assert [entry.name.split("-")[0] for entry in entries(cache_dir)] == ["synthetic"]


def test_a_cache_that_cannot_be_written(counted, tmp_path):
    (tmp_path / "file").write_text("")
    assert len(load_table("counted", cache_dir=tmp_path / "file")) == 20


def test_a_read_only_cache_serves(counted, monkeypatch):
    load_table("counted")

    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    assert len(load_table("counted")) == 20 and counted.reads == 1


def test_a_changed_file_is_read_anew():
    for shift in (0, 1):
        Path("data/adbench").mkdir(parents=True, exist_ok=True)
        np.savez("data/adbench/1_t.npz", X=np.arange(6.0)[:, None] + shift, y=np.array([0, 0, 0, 0, 0, 1]))
        assert load_table("adbench:t").X[0, 0] == shift


def test_unused_entries_go_first(counted, cache_dir, monkeypatch):
    load_table("counted")
    load_table("counted", DataRequest(rows=10))
    old, new = entries(cache_dir)
    if (old / "table.json").stat().st_mtime_ns > (new / "table.json").stat().st_mtime_ns:
        old, new = new, old
    os.utime(old / "table.json", (1, 1))
    held = load_table("synthetic", SMALL)  # the limit is only looked at when something is written
    monkeypatch.setattr(cache_module, "CACHE_LIMIT_BYTES", 3_000)
    load_table("counted", DataRequest(rows=15))
    left = entries(cache_dir)
    assert old not in left and len(left) >= 1
    assert np.isfinite(held.X).all()  # a map in use stays valid


def test_places(monkeypatch, tmp_path):
    assert cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("FEDANOMALY_CACHE", "/a")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("FEDANOMALY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/fedanomaly")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().is_relative_to(Path.home())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "unknown data set 'nothing'"),
        ("synthetik", "did you mean 'synthetic'"),
        ("wdbc:x", "has no variants"),
        ("memory:0123", "in this process"),
    ],
)
def test_wrong_names(name, said):
    with pytest.raises(UserError, match=said):
        load_table(name)
