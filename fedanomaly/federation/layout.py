"""Who holds which rows, and in which fold each row lies: computed once, then read from disk."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedanomaly.data import DataRequest, Progress, Table, cached_table, load_table
from fedanomaly.federation.config import RunConfig
from fedanomaly.partition import PARTITIONERS, PartitionRequest
from fedanomaly.prepare import assign_folds, engineer, needs_engineering

DOWNLOAD_PROGRESS: ContextVar[Progress | None] = ContextVar("download_progress", default=None)
"""Who is told how far an official download has come: a program may set it before it reads data."""

LayoutKey = tuple[tuple[str, object], ...]

_DECIDING = (
    *("data", "data_path", "rows", "accept_variant", "download"),
    *("partition", "alpha", "fraud_ratios", "partition_column", "classes_per_client", "clients"),
    *("calibration_share", "test_share", "seed"),
)


@dataclass(frozen=True, eq=False)
class Layout:
    """A table, its partition and its folds.

    Attributes
    ----------
    table : Table
        All rows, with engineered columns.
    indices : list of ndarray of int64
        Row numbers each client holds.
    folds : ndarray of shape (n_rows,), int8
        0 train, 1 calibration, 2 test; the same for a row whoever holds it.
    notes : tuple of str
        What every report must say of the data and the partition.
    """

    table: Table
    indices: list[npt.NDArray[np.int64]]
    folds: npt.NDArray[np.int8]
    notes: tuple[str, ...]


def layout(config: RunConfig) -> Layout:
    """Return the layout of a run; runs that differ only in their detector share it.

    Raises
    ------
    UserError
        If the data cannot be read or the partition is impossible.
    """
    return layout_of(layout_key(config))


@lru_cache(maxsize=32)
def layout_key(config: RunConfig) -> LayoutKey:
    """Return the options that decide the layout."""
    return tuple((name, getattr(config, name)) for name in _DECIDING)


@lru_cache(maxsize=4)
def layout_of(key: LayoutKey) -> Layout:
    """Return the layout of a key."""
    config = RunConfig.from_mapping(dict(key))
    table = load_data(config)
    if needs_engineering(table):  # mapped from disk like the raw table: a client touches its own rows only
        raw = table
        table = cached_table("prepared", f"engineered|{raw.fingerprint}", lambda: engineer(raw))
    request = PartitionRequest(
        clients=config.clients,
        seed=config.seed,
        alpha=config.alpha,
        fraud_ratios=config.ratios,
        column=config.partition_column,
        classes_per_client=config.classes_per_client,
    )
    partitioner = PARTITIONERS.get(config.partition)()
    indices = partitioner.split(table, request)
    folds = assign_folds(
        table.X, table.y, seed=config.seed, calibration=config.calibration_share, test=config.test_share
    )
    return Layout(table, indices, folds, (*partitioner.notes(table, request), *table.warnings))


def load_data(config: RunConfig) -> Table:
    """Return the table a configuration names."""
    request = DataRequest(
        path=Path(config.data_path) if config.data_path else None,
        rows=config.rows or None,
        seed=config.seed,
        accept_variant=config.accept_variant,
        download=config.download,
        progress=DOWNLOAD_PROGRESS.get(),
    )
    return load_table(config.data, request)
