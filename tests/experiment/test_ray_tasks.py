"""Grids on Ray: the same figures as with processes, and one sentence where it cannot be."""

import os
import signal
import sys
from functools import partial

import pandas as pd
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.experiment import ray_tasks
from fedanomaly.experiment.cell import MEASURED
from fedanomaly.experiment.grid import run_grid
from fedanomaly.experiment.ray_tasks import RayTasks
from fedanomaly.experiment.workers import Died
from fedanomaly.federation.config import RunConfig

CELLS = [
    RunConfig(data="wdbc", clients=3, rounds=1, partition="feature", detector=detector, seed=seed)
    for seed in (0, 1)
    for detector in ("isolation-forest", "lof")
]


@pytest.fixture(scope="module")
def cluster():
    """One small cluster for all tests: starting it takes longer than they do."""
    ray = pytest.importorskip("ray", reason="Ray is optional: pip install 'flwr[simulation]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def test_without_ray_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs Ray; install it with: pip install 'fedanomaly\[ray\]'"):
        run_grid(CELLS, tmp_path / "grid.parquet", executor=RayTasks())


def test_the_figures_are_those_of_processes(cluster, tmp_path):
    cells = [*CELLS, RunConfig(data="wdbc", clients=300, detector="lof")]
    on_ray = run_grid(cells, tmp_path / "ray.parquet", executor=RayTasks())
    here = run_grid(cells, tmp_path / "here.parquet", workers=1)
    assert list(on_ray["status"]) == ["completed"] * 4 + ["failed"]
    pd.testing.assert_frame_equal(
        on_ray.drop(columns=list(MEASURED)), here.drop(columns=list(MEASURED)), check_exact=True
    )


def test_a_worker_that_dies_costs_only_its_task(cluster):
    def square_or_die(parent, number):  # a function of a test file: Ray carries it along by value
        if number == 3 and os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2

    groups = [[1, 2], [3, 4, 5], [6], []]
    done = dict(RayTasks().each(groups, partial(square_or_die, os.getpid())))
    assert isinstance(done.pop(3), Died)
    assert done == {1: 1, 2: 4, 4: 16, 5: 25, 6: 36}


def test_workers_that_run_other_code_are_refused(cluster, monkeypatch):
    monkeypatch.setattr(ray_tasks, "_running", lambda: ("other code", "other packages"))
    with pytest.raises(UserError, match=r"a Ray worker cannot do the work: .*other packages than this"):
        list(RayTasks().each([[1]], abs))


def test_a_cluster_that_is_not_there(monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is optional: pip install 'flwr[simulation]'")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(**_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match="there is no Ray cluster at auto: Could not find any running Ray"):
        list(RayTasks("auto").each([[1]], abs))
