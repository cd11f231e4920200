"""The contract of a partition: who holds which rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.registry import Registry
from fedanomaly.data.base import Table

Indices = list[npt.NDArray[np.int64]]


@dataclass(frozen=True)
class PartitionRequest:
    """What a user asked for.

    Attributes
    ----------
    clients : int
        Number of clients, at least 1.
    seed : int
        Seed of the run.
    alpha : float
        Dirichlet concentration (> 0): small means skewed.
    fraud_ratios : tuple of float
        Share of the anomalies each client gets (``uneven``, ``thesis``); empty = the defaults.
    column : str
        Which of ``Table.groups`` owns the rows (``natural``); empty = the first.
    classes_per_client : int
        Blocks each client draws from (``pathological``).
    min_rows : int
        No client gets fewer rows than this.
    """

    clients: int
    seed: int = 42
    alpha: float = 0.5
    fraud_ratios: tuple[float, ...] = field(default=())
    column: str = ""
    classes_per_client: int = 2
    min_rows: int = 10


class Partitioner(ABC):
    """One way of splitting.

    The result is deterministic (seed and rows decide), complete, and disjoint unless
    ``overlapping``; an impossible request is refused at once with a sentence, never tried in a loop.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # one line for the docs' table
    overlapping: ClassVar[bool] = False
    warning: ClassVar[str] = ""  # repeated in every report

    @abstractmethod
    def split(self, table: Table, request: PartitionRequest) -> Indices:
        """Return, for each client, the ascending row numbers it holds (int64)."""


PARTITIONERS: Registry[type[Partitioner]] = Registry("partition", "fedanomaly.partition")
