"""What a cell is charged for: its own memory, whichever cell of its group read the table."""

from pathlib import Path

import numpy as np
import pytest

from fedanomaly.experiment import resources
from fedanomaly.experiment.cell import run_cell
from fedanomaly.experiment.resources import Clock, memory_before, peak_memory, restart_peak
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.layout import layout_key

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells, others do not")
MB = 1_000_000


@linux
def test_the_peak_is_seen_although_it_is_gone():
    restart_peak()
    before = peak_memory()
    np.ones(80 * MB, np.uint8)
    after = peak_memory()
    assert before is not None and after is not None and 75 < after - before < 100
    restart_peak()
    assert peak_memory() < after - 60  # forgotten


@linux
def test_every_cell_of_a_group_is_charged_for_the_table():
    config = RunConfig(rows=60_000, clients=3, rounds=1, detector="z-score")
    run_cell(config)  # whatever it imports
    memory_before.cache_clear()
    table = 60_000 * 29 * 8 / MB
    charged = [run_cell(config)[0]["memory_mb"] for _ in range(2)]
    assert all(memory > table for memory in charged)
    assert charged[1] == pytest.approx(charged[0], abs=0.7 * table)


def test_another_layout_forgets_the_rows_of_the_last():
    first, second = (layout_key(RunConfig(data="wdbc", seed=seed)) for seed in (1, 2))
    memory_before(first)
    kept = resources.layout_of(first)
    memory_before(first)
    assert resources.layout_of(first) is kept
    memory_before(second)
    assert resources.layout_of(first) is not kept


def test_where_the_system_does_not_tell_there_is_no_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_PROCESS", tmp_path / "none")
    memory_before.cache_clear()
    [row] = run_cell(RunConfig(data="wdbc", clients=3, rounds=1, detector="z-score"))
    assert row["memory_mb"] is None and row["run_seconds"] > 0
    memory_before.cache_clear()


def test_a_clock_knows_work_from_waiting():
    clock = Clock()
    assert clock.processor() >= 0 and clock.wall() >= 0
    while clock.processor() == 0:
        pass
    assert clock.processor() > 0 and clock.wall() > 0
