"""The classical tables of ADBench (Han et al. 2022), one ``.npz`` each: ``adbench:2_annthyroid``."""

from __future__ import annotations

import zipfile
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import DATASETS, DataRequest, Table
from fedanomaly.data.build import build_table, checked_rows
from fedanomaly.data.files import FileDataset
from fedanomaly.data.places import data_folder


@DATASETS.register("adbench")
class ADBench(FileDataset):
    """One ADBench table: ``adbench:2_annthyroid``, or without its number ``adbench:annthyroid``.

    Of a table with more than ``rows`` rows a keyed sample is kept, uniform and the same for every seed:
    many files are sorted by class, so that their first rows would be of one class only.
    """

    name: ClassVar[str] = "adbench"
    title: ClassVar[str] = "ADBench's classical tables (Han et al. 2022): adbench:2_annthyroid, ..."
    takes_variant: ClassVar[bool] = True
    patterns: ClassVar[tuple[str, ...]] = ("*.npz",)
    any_name: ClassVar[tuple[str, ...]] = ()  # another table will not do
    homepage: ClassVar[str] = "https://github.com/Minqi824/ADBench (folder adbench/datasets/Classical)"
    put: ClassVar[str] = "the table's .npz file"

    def wanted(self, request: DataRequest) -> tuple[str, ...]:
        """Return the two names a table's file may have."""
        if not request.variant:
            return self.patterns
        name = request.variant.removesuffix(".npz")
        if not all(letter.isalnum() or letter in "._-" for letter in name):
            raise UserError(f"{request.variant!r} is no name of an ADBench table, e.g. 2_annthyroid")
        number = name.split("_", 1)[0]
        return (f"{name}.npz",) if number.isdigit() else (f"[0-9]_{name}.npz", f"[0-9][0-9]_{name}.npz")

    def locate(self, request: DataRequest) -> Path:
        """Return the table's file; the error lists the tables that are there."""
        if not request.variant and not (request.path is not None and request.path.is_file()):
            raise UserError(f"which ADBench table? {_listed(available(request))}")
        try:
            return super().locate(request)
        except UserError as error:
            tables = available(request)
            if not tables:
                raise
            plain = {table.split("_", 1)[-1]: table for table in tables}
            close = get_close_matches(request.variant.split("_", 1)[-1], plain, n=1)
            hint = f" (did you mean {plain[close[0]]!r}?)" if close else ""
            raise UserError(
                f"there is no ADBench table {request.variant!r}{hint}; {_listed(tables)}"
            ) from error

    def read(self, path: Path, request: DataRequest) -> Table:
        """Return the rows of one table."""
        X, y = read_npz(path)
        if request.rows is not None and checked_rows(request.rows) < len(y):
            kept = keyed_generator(0, "adbench", path.stem).choice(len(y), request.rows, replace=False)
            X, y = X[np.sort(kept)], y[np.sort(kept)]
        return build_table(
            f"{self.name}:{path.stem}",
            X,
            y,
            [f"x{j}" for j in range(X.shape[1])],
            source=path.name,
        )


def available(request: DataRequest) -> list[str]:
    """Return the names of the tables that can be loaded, by number."""
    roots = [request.path] if request.path is not None else [Path("data"), data_folder()]
    folders = [place for root in roots if root is not None for place in (root, root / ADBench.name)]
    names = {file.stem for folder in folders for file in folder.glob("[0-9]*_*.npz")}
    return sorted(names, key=lambda name: (int("".join(filter(str.isdigit, name.split("_")[0]))), name))


def read_npz(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Return ``X`` (n_rows, n_features) and ``y`` (n_rows,) of an ADBench file; never unpickles.

    Raises
    ------
    UserError
        If the file is not an ``.npz`` with numeric ``X`` and labels ``y`` of 0 and 1.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            X, y = file["X"], file["y"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path.name} is not an ADBench table (an .npz with X and y): {error}") from error
    y = y.reshape(-1) if y.ndim == 2 and 1 in y.shape else y
    if X.ndim != 2 or X.dtype.kind not in "biuf" or y.dtype.kind not in "biuf" or y.shape != (len(X),):
        raise UserError(
            f"{path.name}: X {X.dtype}{X.shape} and y {y.dtype}{y.shape} are no table with labels"
        )
    if not np.isin(y, (0, 1)).all():
        raise UserError(f"{path.name}: y holds other values than 0 (normal) and 1 (anomaly)")
    return X.astype(np.float64), y.astype(np.int8)


def _listed(tables: list[str]) -> str:
    if not tables:
        return f"none is in data/adbench or $FEDANOMALY_DATA/adbench; get them from {ADBench.homepage}"
    return f"available: {', '.join(tables)}"
