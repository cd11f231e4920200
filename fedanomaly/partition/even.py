"""Anomalies and normal rows both spread evenly."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import rows_by_owner, shuffled_by_label


@PARTITIONERS.register("even")
class EvenPartitioner(Partitioner):
    """Deal shuffled anomalies, then shuffled normal rows, to one client after the other.

    Counts of anomalies, of normal rows and of all rows each differ by at most one over clients.
    """

    name = "even"
    title = "anomalies and normal rows both spread evenly"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        if request.clients > table.n_anomalies:
            raise UserError(
                f"partition 'even' cannot spread {table.n_anomalies} anomalies over {request.clients} clients"
                ": use at most one client an anomaly, or partition 'iid'"
            )
        anomalies, normal = shuffled_by_label(table.y, keyed_generator(request.seed, "partition", "even"))
        owner = np.empty(len(table), dtype=np.int64)
        owner[np.concatenate([anomalies, normal])] = np.arange(len(table)) % request.clients
        return rows_by_owner(owner, request.clients)
