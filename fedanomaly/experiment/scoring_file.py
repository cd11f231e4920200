"""New rows from a file, in the order of a model's features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.data import PAYSIM_TYPES, Table
from fedanomaly.data.paysim import FEATURES as PAYSIM
from fedanomaly.prepare import engineer

if TYPE_CHECKING:
    import pandas as pd


def read_rows(path: Path, feature_names: tuple[str, ...], n_features: int) -> npt.NDArray[np.float64]:
    """Return rows of shape (n_rows, n_features) from a CSV or parquet file.

    Parameters
    ----------
    path : Path
        The file; columns besides the model's features (ids, labels) are ignored.
    feature_names : tuple of str
        The model's features; empty: take the file's columns as they come.
    n_features : int
        How many there must be.

    Raises
    ------
    UserError
        If the file cannot be read, a feature is missing or a value is no finite number.
    """
    import pandas as pd

    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as {path.suffix or 'CSV'}: {error}") from None
    frame = frame.rename(columns={"oldbalanceOrig": "oldbalanceOrg"})
    if feature_names and set(feature_names) - set(frame.columns) and set(PAYSIM) <= set(frame.columns):
        frame = _engineered(frame)
    names = feature_names or tuple(frame.columns)
    if missing := [name for name in names if name not in frame.columns]:
        has = ", ".join(map(str, frame.columns))
        raise UserError(f"{path} lacks the model's column {missing[0]!r}; it has {has}")
    if len(names) != n_features:
        raise UserError(f"{path} has {len(names)} columns but the model takes {n_features} features")
    columns: npt.NDArray[np.float64] = (
        frame[list(names)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    )
    bad = np.argwhere(~np.isfinite(columns))
    if len(bad):
        row, column = (int(number) for number in bad[0])
        raise UserError(
            f"{path}, data row {row + 1}, column {names[column]!r} is no finite number; fill or drop it first"
        )
    return columns


def _engineered(frame: pd.DataFrame) -> pd.DataFrame:
    """Return raw PaySim rows with the columns a model was trained on."""
    import pandas as pd

    codes = {name: float(code) for code, name in enumerate(PAYSIM_TYPES)}
    raw = frame[list(PAYSIM)].assign(type=frame["type"].map(codes))
    X = raw.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    table = engineer(Table("rows", X, np.zeros(len(X), np.int8), tuple(PAYSIM), "", ""))
    return pd.DataFrame(table.X, columns=list(table.feature_names))
