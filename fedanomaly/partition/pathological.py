"""Extreme label skew: label-sorted shards, a few to each client."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import equal_sizes, rows_by_owner, shuffled_by_label, top_up


@PARTITIONERS.register("pathological")
class PathologicalPartitioner(Partitioner):
    """Sort the rows by label, cut them into equal shards and deal ``classes_per_client`` to each client.

    McMahan et al. 2017 (AISTATS, arXiv 1602.05629), section 3. With two labels, one of them rare,
    the anomalies all lie in the first shard or few, so one or few clients hold every anomaly.
    """

    name = "pathological"
    title = "label-sorted shards, a few to each client: few clients hold all anomalies"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        n_shards = request.clients * request.classes_per_client
        if n_shards > len(table):
            raise UserError(
                f"{request.clients} clients with {request.classes_per_client} shards need {n_shards} rows"
                f", data set {table.name!r} has {len(table)}: use fewer clients or classes_per_client"
            )
        rng = keyed_generator(request.seed, "partition", "pathological")
        owner_of_shard = rng.permutation(n_shards) % request.clients
        owner = np.empty(len(table), dtype=np.int64)
        owner[np.concatenate(shuffled_by_label(table.y, rng))] = np.repeat(
            owner_of_shard, equal_sizes(len(table), n_shards)
        )
        # shards differ by a row, so the smallest client may miss min_rows by a few
        return rows_by_owner(top_up(owner, request.clients, request.min_rows, rng), request.clients)
