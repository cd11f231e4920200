"""The split of the thesis as published: every client draws its anomalies from all of them."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.owners import fill_with_normal, shuffled_by_label
from fedanomaly.partition.ratios import THESIS_RATIOS, given_ratios


@PARTITIONERS.register("thesis")
class ThesisPartitioner(Partitioner):
    """Let each client draw its ratio of ALL anomalies, independently; spread normal rows evenly, disjoint.

    Ratios lie in [0, 1] and need not add up to 1. Without ratios the published 0.2, 0.3, 0.1, 0.4, 0.5
    are taken, repeated in this order if there are more than five clients. A client with a ratio
    above 0 draws at least one anomaly. Normal rows are complete; an anomaly that no client happens
    to draw (with the published ratios 15 % of them) takes no part, as in the study.
    """

    name = "thesis"
    title = "as published: each client draws its ratio of ALL anomalies, so clients overlap"
    overlapping = True
    warning = (
        "Partition 'thesis' repeats a published fault: each client draws from all anomalies, so the same "
        "anomaly lies at several clients and some anomalies at none; use 'uneven' for the disjoint split."
    )

    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        default = np.resize(THESIS_RATIOS, request.clients)
        ratios = np.array(given_ratios(request) or default, dtype=np.float64)
        if (ratios > 1).any():
            raise UserError(
                f"fraud ratio {ratios.max():g} is above 1: partition 'thesis' takes shares of all anomalies"
            )
        if table.n_anomalies == 0:
            raise UserError(f"data set {table.name!r} has no anomalies for partition 'thesis' to draw")
        n_anomalies = np.rint(ratios * table.n_anomalies).astype(np.int64)
        n_anomalies = np.maximum(n_anomalies, ratios > 0)
        n_normal = fill_with_normal(n_anomalies, len(table) - table.n_anomalies, request.min_rows)
        anomalies, normal = shuffled_by_label(table.y, keyed_generator(request.seed, "partition", "thesis"))
        parts: Indices = []
        for client, own in enumerate(np.split(normal, np.cumsum(n_normal)[:-1])):
            rng = keyed_generator(request.seed, "partition", "thesis", client)
            drawn = rng.choice(anomalies, int(n_anomalies[client]), replace=False, shuffle=False)
            parts.append(np.sort(np.concatenate([drawn, own])).astype(np.int64, copy=False))
        return parts
