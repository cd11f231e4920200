"""Rows stay with their natural owner: customer, terminal, site."""

from __future__ import annotations

import heapq

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import Counts, rows_by_owner


@PARTITIONERS.register("natural")
class NaturalPartitioner(Partitioner):
    """Assign the groups of ``Table.groups[column]`` whole, the largest first, to the client with fewest rows.

    Greedy scheduling by longest processing time (Graham 1969); ties go to the lower group code and
    the lower client. With as many clients as groups, each client is one owner.
    """

    name = "natural"
    title = "groups of a column (customer, terminal, site) assigned whole, balanced in rows"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        column = _column(table, request.column)
        _, group, sizes = np.unique(table.groups[column], return_inverse=True, return_counts=True)
        if request.clients > len(sizes):
            raise UserError(
                f"column {column!r} has {len(sizes)} groups, too few for {request.clients} clients: "
                f"use at most {len(sizes)} clients"
            )
        owner = _assign(sizes, request.clients)[group]
        fewest = int(np.bincount(owner, minlength=request.clients).min())
        if fewest < request.min_rows:
            raise UserError(
                f"the groups of column {column!r} leave a client {fewest} rows, fewer than {request.min_rows}"
                ": use fewer clients or another column"
            )
        return rows_by_owner(owner, request.clients)


def _column(table: Table, wanted: str) -> str:
    known = ", ".join(table.groups)
    if not known:
        raise UserError(
            f"data set {table.name!r} has no column of owners: partition 'natural' cannot split it"
        )
    if not wanted:
        return next(iter(table.groups))
    if wanted not in table.groups:
        raise UserError(f"data set {table.name!r} has no column of owners {wanted!r}; known: {known}")
    return wanted


def _assign(sizes: Counts, clients: int) -> Counts:
    """Return the client of each group."""
    client_of = np.empty(len(sizes), dtype=np.int64)
    loads = [(0, client) for client in range(clients)]
    largest_first = np.argsort(-sizes, kind="stable")
    for group, size in zip(largest_first.tolist(), sizes[largest_first].tolist(), strict=True):
        load, client = loads[0]
        client_of[group] = client
        heapq.heapreplace(loads, (load + size, client))
    return client_of
