"""Label skew: each label's rows spread by shares of their own from a Dirichlet distribution."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import apportion, rows_by_owner, shares, shuffled_by_label, top_up


@PARTITIONERS.register("dirichlet")
class DirichletPartitioner(Partitioner):
    """Draw, for each label, the clients' shares of its rows from Dirichlet(``alpha``).

    The usual model of label skew (Yurochkin et al. 2019, Bayesian nonparametric federated learning,
    section 4; Li et al. 2022, arXiv 2102.02079, section 4.1). Sizes differ too, since the normal
    rows are a label like the other. Clients left with fewer than ``min_rows`` rows are topped up
    once from those that can spare some.
    """

    name = "dirichlet"
    title = "label skew: each label's shares drawn from Dirichlet(alpha)"

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        rng = keyed_generator(request.seed, "partition", "dirichlet")
        owner = np.empty(len(table), dtype=np.int64)
        for rows in shuffled_by_label(table.y, rng):
            counts = apportion(len(rows), shares(rng, request.alpha, request.clients))
            owner[rows] = np.repeat(np.arange(request.clients), counts)
        return rows_by_owner(top_up(owner, request.clients, request.min_rows, rng), request.clients)
