"""Where rows come from: one file a data set; each checks what it reads."""

from fedanomaly.data import (  # noqa: F401  (each module registers its data set, in this order)
    adbench,
    blobs,
    creditcard,
    fraud_handbook,
    kddcup99,
    payments,
    paysim,
    synthetic,
    wdbc,
)
from fedanomaly.data.base import DATASETS, DataRequest, Dataset, Progress, Table
from fedanomaly.data.build import build_table, table_fingerprint
from fedanomaly.data.cache import cached_table, load_table
from fedanomaly.data.contract import check_dataset
from fedanomaly.data.memory import register_memory_table
from fedanomaly.data.paysim import PAYSIM_TYPES


def registered() -> dict[str, type[Dataset]]:
    """Return all data sets by name."""
    return DATASETS.registered()


__all__ = [
    "DATASETS",
    "PAYSIM_TYPES",
    "DataRequest",
    "Dataset",
    "Progress",
    "Table",
    "build_table",
    "cached_table",
    "check_dataset",
    "load_table",
    "register_memory_table",
    "registered",
    "table_fingerprint",
]
