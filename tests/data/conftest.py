"""Every test of the data room runs in an empty folder, with an empty cache and without a network."""

import os
from pathlib import Path

import pytest

REAL_DATA = os.environ.get("FEDANOMALY_DATA")


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("FEDANOMALY_DATA", raising=False)
    monkeypatch.setenv("FEDANOMALY_CACHE", str(tmp_path / "cache"))
    for scheme in ("http_proxy", "https_proxy"):  # nobody listens there: what is not local fails at once
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def real_data() -> Path:
    if not REAL_DATA or not Path(REAL_DATA).is_dir():
        pytest.skip("FEDANOMALY_DATA names no folder of real data")
    return Path(REAL_DATA).resolve()
