"""The rows one client holds, by fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table
from fedanomaly.prepare.split import CALIBRATION, TEST, TRAIN

TRAIN_ON = ("all", "legitimate")


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of a table.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features), float64, C order
        Features, not scaled.
    y : ndarray of shape (n_rows,), int8
        1 = anomaly, 0 = normal.
    index : ndarray of shape (n_rows,), int64
        Row numbers in the table, ascending.
    amount : ndarray of shape (n_rows,), float64, or None
        Money at stake, where the table knows it.
    """

    X: npt.NDArray[np.float64]
    y: npt.NDArray[np.int8]
    index: npt.NDArray[np.int64]
    amount: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        amounts = 0 if self.amount is None else self.amount.nbytes
        return self.X.nbytes + self.y.nbytes + self.index.nbytes + amounts


@dataclass(frozen=True, eq=False)
class ClientRows:
    """What a client trains on, chooses a threshold on, and is tested on."""

    client: int
    train: Rows
    calibration: Rows
    test: Rows


def client_rows(
    table: Table,
    indices: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int8],
    client: int,
    train_on: str = "all",
) -> ClientRows:
    """Return copies of one client's rows, by fold; of a memory map only these are read.

    Parameters
    ----------
    table : Table
        All rows.
    indices : ndarray of shape (n_held,), int64
        Row numbers the client holds, ascending.
    folds : ndarray of shape (n_rows,), int8
        Of :func:`~fedanomaly.prepare.assign_folds`, for all rows of the table.
    client : int
        Partition id, for messages.
    train_on : {"all", "legitimate"}
        Whether anomalies stay among the training rows (they always stay in the other folds).

    Raises
    ------
    UserError
        If the client has no row to train on.
    """
    if train_on not in TRAIN_ON:
        raise UserError(f"train_on must be one of {', '.join(TRAIN_ON)}, got {train_on!r}")
    fold = folds[indices]
    train = indices[fold == TRAIN]
    if train_on == "legitimate":
        train = train[table.y[train] != 1]
    if not len(train):
        which = "legitimate training row" if train_on == "legitimate" else "training row"
        raise UserError(f"client {client} holds {len(indices)} rows but no {which}: use fewer clients")
    calibration, test = indices[fold == CALIBRATION], indices[fold == TEST]
    return ClientRows(client, _take(table, train), _take(table, calibration), _take(table, test))


def _take(table: Table, index: npt.NDArray[np.int64]) -> Rows:
    amount = None if table.amount is None else np.asarray(table.amount[index])
    X = np.ascontiguousarray(table.X[index], dtype=np.float64)
    return Rows(X, np.asarray(table.y[index], dtype=np.int8), index, amount)
