"""Anomalies spread by given ratios, disjoint; normal rows spread evenly."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import (
    apportion,
    fill_with_normal,
    raise_to,
    rows_by_owner,
    shuffled_by_label,
)
from fedanomaly.partition.ratios import THESIS_RATIOS, given_ratios


@PARTITIONERS.register("uneven")
class UnevenPartitioner(Partitioner):
    """Share the anomalies in proportion to ``fraud_ratios``, every anomaly to exactly one client.

    Ratios are relative: they are divided by their sum, since every anomaly must be held by someone.
    Without ratios five clients get the thesis' 0.2 : 0.3 : 0.1 : 0.4 : 0.5, and any other number of
    clients 1 : 2 : ... : n. A client with a ratio above 0 gets at least one anomaly.
    """

    name = "uneven"
    title = "anomalies spread by given ratios, disjoint; normal rows spread evenly"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        default = THESIS_RATIOS if request.clients == 5 else range(1, request.clients + 1)
        ratios = np.array(given_ratios(request) or default, dtype=np.float64)
        holders = int((ratios > 0).sum())
        if holders > table.n_anomalies:
            raise UserError(
                f"partition 'uneven' cannot spread {table.n_anomalies} anomalies over {holders} clients: "
                "use at most one client an anomaly, or partition 'iid'"
            )
        n_anomalies = raise_to(apportion(table.n_anomalies, ratios), ratios > 0)
        n_normal = fill_with_normal(n_anomalies, len(table) - table.n_anomalies, request.min_rows)
        anomalies, normal = shuffled_by_label(table.y, keyed_generator(request.seed, "partition", "uneven"))
        owner = np.empty(len(table), dtype=np.int64)
        owner[anomalies] = np.repeat(np.arange(request.clients), n_anomalies)
        owner[normal] = np.repeat(np.arange(request.clients), n_normal)
        return rows_by_owner(owner, request.clients)
