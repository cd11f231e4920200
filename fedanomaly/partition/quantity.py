"""Quantity skew: rows spread at random, sizes from a Dirichlet distribution."""

from __future__ import annotations

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import apportion, deal, raise_to, shares


@PARTITIONERS.register("quantity")
class QuantityPartitioner(Partitioner):
    """Draw the clients' sizes from Dirichlet(``alpha``), raised to ``min_rows``; rows are dealt at random.

    Li et al. 2022, Federated learning on non-IID data silos (arXiv 2102.02079), section 4.3.
    """

    name = "quantity"
    title = "quantity skew: sizes drawn from Dirichlet(alpha), rows at random"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        rng = keyed_generator(request.seed, "partition", "quantity")
        sizes = apportion(len(table), shares(rng, request.alpha, request.clients))
        return deal(rng.permutation(len(table)), raise_to(sizes, request.min_rows))
