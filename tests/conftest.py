"""Shared by all tests: a cache and a state of their own, so that no test sees another's or the user's."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("cache")
    os.environ["FEDANOMALY_CACHE"] = str(folder)
    yield
