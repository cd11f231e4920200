"""A table of rows, whoever supplied it, and the contract of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.registry import Registry

Progress = Callable[[str, int, int | None], None]
"""Told (file, bytes so far, bytes in all or None) while something is downloaded."""


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as arrays, so that a client can map them from disk and touch only its own.

    Attributes
    ----------
    name : str
        Registered name of the data set (``"creditcard"``, ``"adbench:2_annthyroid"``).
    X : ndarray of shape (n_rows, n_features), float64
        Numeric features, finite. May be a read-only memory map.
    y : ndarray of shape (n_rows,), int8
        1 = anomaly (fraud), 0 = normal (legitimate).
    feature_names : tuple of str
        One a column of ``X``.
    time : ndarray of shape (n_rows,), float64, or None
        When a row happened, in the data set's own unit; orders rows for the ``time`` partition.
    groups : mapping of str to ndarray of shape (n_rows,), int64
        Natural owners of a row (``customer``, ``terminal``, ``site``) as codes from 0.
    amount : ndarray of shape (n_rows,), float64, or None
        Money at stake in a row, for expected cost.
    source : str
        Where the rows came from, for the report (never an absolute path of the machine).
    fingerprint : str
        SHA-256 (hex) of the content; equal content means equal fingerprint.
    synthetic : bool
        True if the rows were generated; printed wherever numbers are shown.
    warnings : tuple of str
        Sentences the report must repeat (a variant that was accepted, known label leaks).
    """

    name: str
    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.int8]
    feature_names: tuple[str, ...]
    source: str
    fingerprint: str
    time: npt.NDArray[np.float64] | None = None
    groups: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    amount: npt.NDArray[np.float64] | None = None
    synthetic: bool = False
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    @property
    def n_anomalies(self) -> int:
        """Number of rows with label 1."""
        return int(self.y.sum())


@dataclass(frozen=True)
class DataRequest:
    """What a user asked for.

    Attributes
    ----------
    path : Path or None
        ``--data-path``: a file, or a folder to look in first.
    rows : int or None
        ``--rows``: how many rows to generate (synthetic sets) or to keep (real sets: the first;
        ADBench: a keyed sample).
    seed : int
        Seed of a generator; real files ignore it.
    variant : str
        What stands behind the colon of ``--data adbench:2_annthyroid``.
    accept_variant : bool
        Accept a file that breaks the published invariants, with a warning in the report.
    download : bool
        Whether an official download may be tried.
    cache_dir : Path or None
        Where downloads and prepared tables are kept; None = ``$FEDANOMALY_CACHE`` or the user's cache.
    progress : callable or None
        Told how far a download is; see :data:`Progress`.
    """

    path: Path | None = None
    rows: int | None = None
    seed: int = 42
    variant: str = ""
    accept_variant: bool = False
    download: bool = True
    cache_dir: Path | None = field(default=None, compare=False)
    progress: Progress | None = field(default=None, compare=False, repr=False)


class Dataset(ABC):
    """One data set: where its file may lie, how it is read, what must hold."""

    name: ClassVar[str]
    title: ClassVar[str]  # one line for the docs' table
    takes_variant: ClassVar[bool] = False  # whether ``name:variant`` means something

    def cache_key(self, request: DataRequest) -> str | None:
        """Return all that the rows depend on, as text, or None (default): never cached."""
        return None

    @abstractmethod
    def load(self, request: DataRequest) -> Table:
        """Return validated rows, or raise :class:`~fedanomaly.core.errors.UserError` in one sentence."""


DATASETS: Registry[type[Dataset]] = Registry("data set", "fedanomaly.data")
