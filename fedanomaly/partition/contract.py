"""What every partition must keep: a test to run on a partition of your own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table
from fedanomaly.partition.base import Indices, Partitioner, PartitionRequest, check_indices


def check_partitioner(partitioner: type[Partitioner]) -> None:
    """Raise ``AssertionError`` unless a partition keeps the contract of :class:`Partitioner`.

    Checks name and title; for tables with and without times, duplicates and constant columns that
    the result is deterministic, ascending, in range, never below ``min_rows`` and, unless
    ``overlapping``, complete and disjoint; that the table is left alone; and that impossible
    requests are refused with :class:`UserError`.

    Parameters
    ----------
    partitioner : type
        The class; it is instantiated without arguments.

    Examples
    --------
    >>> from fedanomaly.partition import check_partitioner, registered
    >>> check_partitioner(registered()["iid"])
    """
    assert getattr(partitioner, "name", ""), "a partition needs a name"
    assert getattr(partitioner, "title", ""), "a partition needs a title, one line for the docs"
    if partitioner.overlapping:
        assert partitioner.warning, "a partition whose clients overlap must say so in its warning"
    for table in _tables():
        for request in _requests():
            parts = partitioner().split(table, request)
            check_indices(parts, len(table), request, overlapping=partitioner.overlapping)
            assert _same(parts, partitioner().split(table, request)), "the same request gave two results"
        for impossible in _impossible(table):
            _check_refused(partitioner, table, impossible)


def _tables() -> Iterator[Table]:
    rng = np.random.default_rng(0)
    n_rows = 240
    X = rng.normal(size=(n_rows, 4))
    X[:, 3] = 1.0
    X[100:150] = X[:50]
    y = (rng.permutation(n_rows) < 24).astype(np.int8)
    time = np.sort(rng.integers(0, 90, n_rows)).astype(np.float64)
    groups = {"site": rng.integers(0, 40, n_rows)}
    for array in (X, y, time, groups["site"]):
        array.setflags(write=False)  # a partition that writes into its table fails here
    table = Table("contract", X, y, ("a", "b", "c", "d"), "generated", "0" * 64, time=time, groups=groups)
    yield table
    yield replace(table, time=None)


def _requests() -> Iterator[PartitionRequest]:
    for clients in (1, 2, 5, 11):
        for seed in (0, 1):
            yield PartitionRequest(clients, seed=seed, min_rows=5)
    yield PartitionRequest(3, alpha=1e-3, min_rows=10)
    yield PartitionRequest(3, alpha=1e6, fraud_ratios=(0.0, 0.25, 1.0), classes_per_client=1)


def _impossible(table: Table) -> Iterator[PartitionRequest]:
    yield PartitionRequest(0)
    yield PartitionRequest(len(table) + 1, min_rows=1)
    yield PartitionRequest(2, min_rows=len(table))
    yield PartitionRequest(2, min_rows=0)
    yield PartitionRequest(2, alpha=0.0)
    yield PartitionRequest(2, alpha=float("nan"))
    yield PartitionRequest(2, classes_per_client=0)


def _check_refused(partitioner: type[Partitioner], table: Table, request: PartitionRequest) -> None:
    try:
        partitioner().split(table, request)
    except UserError as error:
        assert "\n" not in str(error), "a refusal must be one sentence"
    else:
        raise AssertionError(f"the impossible {request} was not refused")


def _same(one: Indices, other: Indices) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))
