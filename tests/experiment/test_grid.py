"""Grids: the same figures however they are run, and nothing finished is lost when they are killed."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest

import fedanomaly
from fedanomaly.core.errors import UserError
from fedanomaly.experiment import grid
from fedanomaly.experiment.cell import MEASURED, Outcome, outcome_of, run_cell
from fedanomaly.experiment.grid import run_grid
from fedanomaly.experiment.journal import Finished, Journal
from fedanomaly.experiment.provenance import Provenance, provenance
from fedanomaly.experiment.workers import Died, Processes
from fedanomaly.federation.config import RunConfig

BASE = {"clients": 3, "rounds": 1, "rows": 600}


def cells(seeds=2):
    return [
        RunConfig(data=data, detector=detector, partition="feature", seed=seed, **BASE)
        for data in ("wdbc", "synthetic")
        for seed in range(seeds)
        for detector in ("lof", "one-class-svm")
    ]


def figures(frame):
    return frame.drop(columns=list(MEASURED))


class Watch:
    def __init__(self):
        self.told = None
        self.errors = []

    def started(self, cells, finished, outdated):
        self.told = (cells, finished, outdated)

    def done(self, config, error):
        self.errors.append(error)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    return run_grid(cells(), tmp_path_factory.mktemp("grid") / "serial.parquet", workers=1)


# -- one cell -------------------------------------------------------------------------------------


def test_a_cell_gives_what_a_run_gives(tmp_path):
    options = {"detector": "isolation-forest", "clients": 3, "rounds": 2, "partition": "iid", "seed": 5}
    run = fedanomaly.run("wdbc", **options, references=False, out=tmp_path / "run")
    rows = run_cell(RunConfig(data="wdbc", **options), keep="clients")
    assert [(row["round"], row["client"]) for row in rows] == [
        (number, client) for number in (1, 2) for client in ("all", "0", "1", "2")
    ]
    last = rows[4]
    for name, value in run.summary["metrics"].items():
        if name in ("auroc", "average_precision", "f1", "tp", "fp", "flagged", "alerts"):
            assert last[name] == value, name
    assert last["model_sha256"] == run.summary["model_sha256"]
    assert last["test_rows"] == run.summary["metrics"]["rows"]
    assert last["train_bytes_up"] == sum(row["train_bytes_up"] for row in rows[5:])
    assert last["train_bytes_up"] > rows[0]["train_bytes_up"] > 0  # so far, not in this round


def test_what_goes_wrong_is_the_cells_outcome():
    outcome = outcome_of(RunConfig(data="wdbc", clients=300))
    assert not outcome.rows and "too few to give 300 clients" in outcome.error


def test_an_undefined_figure_is_none():
    [row] = run_cell(RunConfig(data="wdbc", threshold="conformal", conformal_alpha=1e-9, **BASE))
    assert row["flagged"] == 0 and row["precision"] is None


# -- the whole grid -------------------------------------------------------------------------------


def test_parallel_equals_serial_to_the_bit(tmp_path, serial):
    parallel = run_grid(cells(), tmp_path / "parallel.parquet", workers=2)
    pd.testing.assert_frame_equal(figures(parallel), figures(serial), check_exact=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "parallel.parquet"]  # no journal is left


def test_each_row_says_where_it_comes_from(serial):
    assert len(serial) == len(cells()) and set(serial["status"]) == {"completed"}
    row, config = serial.iloc[3], cells()[3]
    options = json.loads(row["configuration"])
    assert options["aggregation"] == row["aggregation"] != ""  # defaults are spelled out
    assert replace(RunConfig.from_mapping(options), aggregation="", scaling="") == replace(config, out="")
    assert row["data_fingerprint"] == serial.iloc[1]["data_fingerprint"] and row["seed"] == 1
    here = provenance()
    assert (row["code"], row["environment"], row["version"]) == (here.code, here.environment, here.version)


class Killer:
    """Kills its process, as hard as that can be done, when three cells are done."""

    left = 3

    def started(self, cells, finished, outdated):
        pass

    def done(self, config, error):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def _killed(out):
    run_grid(cells(), out, workers=2, view=Killer())


def test_a_killed_grid_goes_on_where_it_stopped(tmp_path, serial):
    out = tmp_path / "grid.parquet"
    process = get_context("fork").Process(target=_killed, args=(out,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and not out.exists()
    journal = tmp_path / "grid.journal.jsonl"
    before = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(before) == 3
    with journal.open("a") as file:
        file.write('{"cell": "torn')  # as if it had been killed while it wrote

    watch = Watch()
    resumed = run_grid(cells(), out, workers=1, view=watch)
    assert watch.told == (len(cells()), 3, 0) and len(watch.errors) == len(cells()) - 3
    spent = resumed.set_index("cell")["cell_seconds"]
    assert all(spent[entry["cell"]] == entry["rows"][0]["cell_seconds"] for entry in before)  # taken over
    pd.testing.assert_frame_equal(figures(resumed), figures(serial), check_exact=True)


def test_a_grown_grid_runs_only_what_is_new(tmp_path):
    out, watch = tmp_path / "grid.parquet", Watch()
    small = run_grid(cells(1), out, workers=1)
    grown = run_grid(cells(2), out, workers=1, view=watch)
    assert watch.told == (8, 4, 0)
    assert small.set_index("cell")["cell_seconds"].isin(grown["cell_seconds"]).all()
    with pytest.raises(UserError, match="4 finished cells that are not asked for"):
        run_grid(cells(1), out, workers=1)


def test_cells_of_other_code_are_run_again(tmp_path, monkeypatch):
    out, watch = tmp_path / "grid.parquet", Watch()
    before = run_grid(cells(1), out, workers=1)
    monkeypatch.setattr(grid, "provenance", lambda: replace(provenance(), code="another"))
    after = run_grid(cells(1), out, workers=1, view=watch)
    assert watch.told == (4, 0, 4) and set(after["code"]) == {"another"}
    assert (after["cell_seconds"] != before["cell_seconds"]).any()


def test_a_failed_cell_is_recorded_and_tried_again(tmp_path):
    out, watch = tmp_path / "grid.parquet", Watch()
    asked = [*cells(1)[:1], RunConfig(data="wdbc", clients=300, detector="lof")]
    first = run_grid(asked, out, workers=1)
    assert list(first["status"]) == ["completed", "failed"]
    assert "too few" in first["error"][1] and pd.isna(first["auroc"][1])
    again = run_grid(asked, out, workers=1, view=watch)
    assert watch.told == (2, 1, 0) and len(watch.errors) == 1 and "too few" in watch.errors[0]
    pd.testing.assert_frame_equal(figures(again), figures(first))


def test_an_impossible_cell_is_refused_before_any_runs(tmp_path):
    for bad, sentence in (
        ({"detector": "crystal-ball"}, "unknown detector"),
        ({"detector": "lof", "params": "n_neighbors=5,k=3"}, "no parameter 'k'"),
    ):
        with pytest.raises(UserError, match=sentence):
            run_grid([*cells(1), RunConfig(data="wdbc", **bad)], tmp_path / "grid.parquet")
    with pytest.raises(UserError, match="no cells"):
        run_grid([], tmp_path / "grid.parquet")
    with pytest.raises(UserError, match=r"\.parquet"):
        run_grid(cells(1), tmp_path / "grid.csv")
    assert not list(tmp_path.iterdir())


# -- the store ------------------------------------------------------------------------------------


def _opened(out):
    try:
        with Journal(Path(out)):
            return "mine"
    except UserError as error:
        return str(error)


def test_only_one_process_fills_a_file(tmp_path):
    out = tmp_path / "grid.parquet"
    with Journal(out):
        refused = [result for _, result in Processes(2).each([[str(out)], [str(out)]], _opened)]
    assert len(refused) == 2 and all("another process is filling" in text for text in refused)
    assert _opened(out) == "mine"


def test_a_strangers_parquet_is_left_alone(tmp_path):
    out = tmp_path / "grid.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(out)
    with pytest.raises(UserError, match="no results of a grid"), Journal(out):
        pass
    assert list(pd.read_parquet(out)["a"]) == [1]


def test_rows_survive_the_parquet(tmp_path):
    config = RunConfig(data="wdbc")
    rows = [{"round": 1, "client": "all", "auroc": 0.1 + 0.2, "f1": None}, {"round": 2, "client": "all"}]
    origin = Provenance("1", "", "e", "c")
    with Journal(tmp_path / "grid.parquet") as journal:
        journal.append("k", Finished(Outcome(rows), origin))
        journal.write({"k": config}, "{}")
    with Journal(tmp_path / "grid.parquet") as again:
        found = again.finished["k"]
    assert found.provenance == origin and found.outcome.rows[0]["auroc"] == 0.1 + 0.2
    assert [row["round"] for row in found.outcome.rows] == [1, 2]


# -- processes ------------------------------------------------------------------------------------


def _square_or_die(parent, number):
    if number == 3 and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.parametrize("workers", [2, 3])
def test_a_process_that_dies_costs_only_its_task(workers):
    groups = [[1, 2], [3, 4, 5], [6], [7, 8, 9, 10]]
    done = dict(Processes(workers).each(groups, partial(_square_or_die, os.getpid())))
    assert sorted(done) == list(range(1, 11))
    assert isinstance(done.pop(3), Died)
    assert all(result == number**2 for number, result in done.items())


def test_leaving_early_ends_the_processes():
    working = Processes(2).each([[1], [2], [3], [4]], _own_process)
    seen = Counter(result for _, result in (next(working), next(working), next(working)))
    working.close()
    for process in seen:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def _own_process(_):
    return os.getpid()


def test_a_cell_crosses_the_border_as_json_and_stays_itself():
    config = RunConfig(
        data="wdbc", fraud_ratios="0.5,0.3,0.2", contamination="0.05", dp_delta=1e-7, params="n_estimators=50"
    )
    asked = grid._as_cell(config)
    [[task]] = grid._groups({"key": asked})
    carried = json.loads(json.dumps(task))
    assert carried["cell"] == "key"
    assert RunConfig.from_mapping({**carried["options"], "references": False}) == asked
