"""Contiguous stretches of time."""

from __future__ import annotations

import numpy as np

from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import deal, equal_sizes


@PARTITIONERS.register("time")
class TimePartitioner(Partitioner):
    """Cut the rows, ordered by ``Table.time``, into stretches of equally many rows; client 0 is the earliest.

    Rows of one instant stay in the order of the table. A table without times is cut in its row
    order, which :meth:`notes` says.
    """

    name = "time"
    title = "contiguous stretches of time, equally many rows each (row order if there is no time)"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        order = np.arange(len(table)) if table.time is None else np.argsort(table.time, kind="stable")
        return deal(order, equal_sizes(len(table), request.clients))

    def notes(self, table: Table, request: PartitionRequest) -> tuple[str, ...]:
        """Return a sentence if the table has no times."""
        if table.time is not None:
            return ()
        return (f"Data set {table.name!r} has no times: partition 'time' cut it in the order of its rows.",)
