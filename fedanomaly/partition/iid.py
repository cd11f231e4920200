"""Rows spread at random, equally many each."""

from __future__ import annotations

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import deal, equal_sizes


@PARTITIONERS.register("iid")
class IidPartitioner(Partitioner):
    """Shuffle all rows and cut them into equal pieces; a client may end up without an anomaly."""

    name = "iid"
    title = "rows spread at random, equally many each"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        order = keyed_generator(request.seed, "partition", "iid").permutation(len(table))
        return deal(order, equal_sizes(len(table), request.clients))
