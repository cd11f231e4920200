"""Every detector, built in every way, under every kind of skew, over the tables of ADBench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest
from fedanomaly.data.adbench import ADBench, available
from fedanomaly.detectors import Detector, aggregations_of
from fedanomaly.detectors import registered as detectors
from fedanomaly.experiment.grid import View, run_grid
from fedanomaly.experiment.workers import Executor
from fedanomaly.federation.config import RunConfig
from fedanomaly.partition import PARTITIONERS

if TYPE_CHECKING:
    import pandas as pd

PARTITIONS: dict[str, str] = {
    "iid": "iid",
    "dirichlet": "dirichlet",
    "label": "pathological",
    "feature": "feature",
    "quantity": "quantity",
}
"""Kinds of skew, and the partitions they are made by; other partitions go by their own names."""

REFERENCES = ("local", "pooled")


@dataclass(frozen=True)
class BenchmarkOptions:
    """What the benchmark spans; empty: all there are.

    Attributes
    ----------
    tables : tuple of str
        Names of ADBench tables, ``6_cardio`` or ``cardio``.
    detectors : tuple of str
        Default: every registered detector that needs no labels.
    aggregations : tuple of str
        Default: every aggregation of each detector. ``local`` and ``pooled`` are always beside them.
    partitions : tuple of str
        See :data:`PARTITIONS`.
    seeds : int
        How many, from 0.
    clients : int
        Clients of every federation.
    rounds : int
        Rounds of aggregations that improve with rounds; all others are complete after one.
    rows : int
        Tables with more are cut to a keyed sample of so many, as in ADBench itself (10,000).
    alpha : float
        Dirichlet concentration of label and quantity skew.
    """

    tables: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    aggregations: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    seeds: int = 5
    clients: int = 10
    rounds: int = 5
    rows: int = 10_000
    alpha: float = 0.5


def benchmark_cells(options: BenchmarkOptions) -> list[RunConfig]:
    """Return the cells of a benchmark: table by table, partition by partition, seed by seed.

    ``pooled`` is run once a table and seed, on the first partition: all rows are in one place,
    whoever held them.

    Raises
    ------
    UserError
        If a name is unknown, or nothing is left.
    """
    methods = methods_of(options)
    partitions = [partition_called(name) for name in options.partitions or PARTITIONS]
    if options.seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {options.seeds}")
    return [
        RunConfig(
            data=f"{ADBench.name}:{table}",
            rows=options.rows,
            partition=partition,
            alpha=options.alpha,
            clients=options.clients,
            detector=detector,
            aggregation=aggregation,
            rounds=options.rounds if improves(detector, aggregation) else 1,
            seed=seed,
        )
        for table in tables_of(options)
        for place, partition in enumerate(partitions)
        for seed in range(options.seeds)
        for detector, aggregation in methods
        if aggregation != "pooled" or place == 0
    ]


def run_benchmark(
    options: BenchmarkOptions,
    out: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    view: View | None = None,
) -> pd.DataFrame:
    """Run a benchmark, or what is left of it; see :func:`~fedanomaly.experiment.grid.run_grid`."""
    return run_grid(benchmark_cells(options), out, workers=workers, executor=executor, view=view)


def methods_of(options: BenchmarkOptions) -> list[tuple[str, str]]:
    """Return pairs of detector and aggregation, each detector's references after its own."""
    known = {name: cls for name, cls in detectors().items() if not cls.supervised}
    chosen: Mapping[str, type[Detector]] = {name: detectors()[name] for name in _known(options.detectors)}
    methods = []
    for name, cls in (chosen or known).items():
        pooled = {way.pooled_by for way in aggregations_of(cls).values()}  # not federated: only if asked for
        own = [way for way in aggregations_of(cls) if way not in REFERENCES]
        wanted = [way for way in own if way in (options.aggregations or set(own) - pooled)]
        methods += [(name, way) for way in (*wanted, *REFERENCES) if wanted]
    ways = {way for cls in detectors().values() for way in aggregations_of(cls)}
    if unknown := [way for way in options.aggregations if way not in ways]:
        raise UserError(f"unknown aggregation {unknown[0]!r}; known: {', '.join(sorted(ways))}")
    if not methods:
        raise UserError("none of the detectors can be built by any of the aggregations named")
    return methods


def tables_of(options: BenchmarkOptions) -> list[str]:
    """Return the full names of the tables, by number."""
    there = available(DataRequest())
    if not options.tables:
        if not there:
            raise UserError(
                f"no table is in data/adbench or $FEDANOMALY_DATA/adbench; see {ADBench.homepage}"
            )
        return there
    return [ADBench().locate(DataRequest(variant=name)).stem for name in options.tables]


def partition_called(name: str) -> str:
    """Return the registered name of a kind of skew."""
    partition = PARTITIONS.get(name, name)
    if PARTITIONERS.get(partition).overlapping:
        raise UserError(f"under {name!r} clients share rows; the benchmark takes disjoint partitions only")
    return partition


@lru_cache
def improves(detector: str, aggregation: str) -> bool:
    """Return whether an aggregation gets better with rounds; all others are run for one."""
    way = aggregations_of(detectors()[detector])[aggregation]
    return way.weights or way.iterative


def _known(names: Sequence[str]) -> Sequence[str]:
    from fedanomaly.detectors import DETECTORS

    for name in names:
        DETECTORS.get(name)  # lists the known ones
    return names
