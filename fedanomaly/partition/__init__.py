"""Who holds which rows: one file a way of splitting."""

from fedanomaly.data.base import Table
from fedanomaly.partition import (  # noqa: F401 - importing a file registers its partition
    dirichlet,
    even,
    feature,
    iid,
    natural,
    pathological,
    quantity,
    thesis,
    time,
    uneven,
)
from fedanomaly.partition.base import PARTITIONERS, Indices, Partitioner, PartitionRequest
from fedanomaly.partition.contract import check_partitioner
from fedanomaly.partition.summary import Heterogeneity, summarise


def registered() -> dict[str, type[Partitioner]]:
    """Return all partitions by name."""
    return PARTITIONERS.registered()


def split(name: str, table: Table, request: PartitionRequest) -> Indices:
    """Return the ascending row numbers (int64) each client holds under the partition called ``name``.

    Raises
    ------
    UserError
        If there is no such partition, or it cannot serve the request.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.data.base import Table
    >>> table = Table("tiny", np.arange(6.0)[:, None], np.zeros(6, np.int8), ("x",), "", "")
    >>> [part.tolist() for part in split("time", table, PartitionRequest(clients=2, min_rows=1))]
    [[0, 1, 2], [3, 4, 5]]
    """
    return PARTITIONERS.get(name)().split(table, request)


__all__ = [
    "PARTITIONERS",
    "Heterogeneity",
    "Indices",
    "PartitionRequest",
    "Partitioner",
    "check_partitioner",
    "registered",
    "split",
    "summarise",
]
