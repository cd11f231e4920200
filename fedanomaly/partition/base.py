"""The contract of a partition: who holds which rows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
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
        No client gets fewer rows than this, at least 1.
    """

    clients: int
    seed: int = 42
    alpha: float = 0.5
    fraud_ratios: tuple[float, ...] = field(default=())
    column: str = ""
    classes_per_client: int = 2
    min_rows: int = 10


class Partitioner(ABC):
    """One way of splitting: a subclass says who gets what in :meth:`_split`.

    The result is deterministic (seed and rows decide) and, unless ``overlapping``, complete and
    disjoint; an impossible request is refused at once with a sentence, never tried in a loop.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # one line for the docs' table
    overlapping: ClassVar[bool] = False
    warning: ClassVar[str] = ""  # repeated in every report

    def split(self, table: Table, request: PartitionRequest) -> Indices:
        """Return, for each client, the ascending row numbers it holds (int64).

        Raises
        ------
        UserError
            If the request is impossible for this table.
        """
        check_request(table, request)
        parts = self._split(table, request)
        check_indices(parts, len(table), request, overlapping=self.overlapping)
        return parts

    @abstractmethod
    def _split(self, table: Table, request: PartitionRequest) -> Indices:
        """Split a table for a request that is already known to be sound."""

    def notes(self, table: Table, request: PartitionRequest) -> tuple[str, ...]:
        """Return the sentences the report must repeat for this table: the warning, if there is one."""
        return (self.warning,) if self.warning else ()


PARTITIONERS: Registry[type[Partitioner]] = Registry("partition", "fedanomaly.partition")


def check_request(table: Table, request: PartitionRequest) -> None:
    """Raise :class:`UserError` if no partition at all could serve ``request``."""
    if request.clients < 1:
        raise UserError(f"a partition needs at least 1 client, got {request.clients}")
    if request.min_rows < 1:
        raise UserError(f"every client needs at least 1 row, got min_rows={request.min_rows}")
    if not (math.isfinite(request.alpha) and request.alpha > 0):
        raise UserError(f"alpha must be a finite number above 0, got {request.alpha}")
    if request.classes_per_client < 1:
        raise UserError(f"classes_per_client must be at least 1, got {request.classes_per_client}")
    if len(table) < request.clients * request.min_rows:
        raise UserError(
            f"data set {table.name!r} has {len(table)} rows, too few to give {request.clients} clients "
            f"at least {request.min_rows} each: use at most {len(table) // request.min_rows} clients"
        )


def check_indices(parts: Indices, n_rows: int, request: PartitionRequest, *, overlapping: bool) -> None:
    """Raise ``AssertionError`` unless ``parts`` keeps the contract: a bug of the partition, not of a user."""
    assert len(parts) == request.clients, f"{len(parts)} parts for {request.clients} clients"
    for client, part in enumerate(parts):
        assert part.dtype == np.int64 and part.ndim == 1, f"client {client}: not a vector of int64"
        assert len(part) >= request.min_rows, f"client {client}: {len(part)} rows"
        assert part[0] >= 0 and part[-1] < n_rows, f"client {client}: row numbers out of range"
        assert bool((np.diff(part) > 0).all()), f"client {client}: row numbers not strictly ascending"
    if not overlapping:
        holders = np.bincount(np.concatenate(parts), minlength=n_rows)
        assert bool((holders == 1).all()), "a row is held by no client, or by several"
