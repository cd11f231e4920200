"""The ULB credit-card fraud data: two days of European card payments (Dal Pozzolo et al. 2015)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import DATASETS, DataRequest, Table
from fedanomaly.data.build import build_table
from fedanomaly.data.columns import read_columns
from fedanomaly.data.creditcard_figures import COMPONENTS, FEATURES, published_ranges, standard_deviations
from fedanomaly.data.download import OfficialFile
from fedanomaly.data.files import FileDataset
from fedanomaly.data.invariants import Invariants

Floats = npt.NDArray[np.float64]

ROWS = 284_807
FRAUDS = 492
LAST_SECOND = 172_792
_ENOUGH_ROWS = 5_000  # fewer say too little about a standard deviation with such heavy tails


@DATASETS.register("creditcard")
class CreditCard(FileDataset):
    """Credit-card fraud: 28 principal components and the amount; ``Time`` orders the rows.

    Kaggle's CSV, OpenML 1597 (``Class`` is text; some copies lack ``Time``) and ADBench's ``.npz``
    (29 columns, no ``Time``). ``Time`` is in :attr:`Table.time`, not among the 29 features: it is
    the second of the observation, which says nothing about later payments.
    """

    name: ClassVar[str] = "creditcard"
    title: ClassVar[str] = "ULB credit-card fraud (Worldline, 2013), 284,807 x 29, .17 % frauds"
    patterns: ClassVar[tuple[str, ...]] = ("creditcard*", "dataset_1597*", "13_fraud*.npz")
    homepage: ClassVar[str] = "https://www.kaggle.com/datasets/mlg-ulb/creditcardfraud"
    put: ClassVar[str] = "creditcard.csv (or its .zip)"
    official: ClassVar[OfficialFile | None] = OfficialFile(
        url="https://data.openml.org/datasets/0000/1597/dataset_1597.pq",
        filename="creditcard-openml-1597.parquet",
        sha256="b7efcb35a428bbe22347a05d2437d9177bab07ce61e51214a17bec584ad9496d",
        size=73_231_184,
    )

    def read(self, path: Path, request: DataRequest) -> Table:
        """Return the rows of one file after checking the published facts."""
        facts = Invariants(path.name, request.accept_variant)
        X, y, time = _read_npz(path) if path.suffix == ".npz" else _read_named(path)
        if time is None:
            facts.note("there is no column Time, so the rows have no order in time")
        else:
            facts.require_rows(
                (time < 0) | (time > LAST_SECOND) | (time != np.floor(time)),
                "Time",
                f"whole seconds from 0 to {LAST_SECOND:,}",
                value=lambda row: time[row],
            )
        _check(X, y, facts)
        return build_table(
            self.name,
            X,
            y,
            FEATURES,
            source=path.name,
            rows=request.rows,
            time=time,
            amount=X[:, -1],
            warnings=facts.warnings,
        )


def _read_named(path: Path) -> tuple[Floats, npt.NDArray[np.int8], Floats | None]:
    columns = read_columns(path, (*FEATURES, "Class"), optional=("Time",))
    X = np.empty((len(columns), len(FEATURES)))
    for j, feature in enumerate(FEATURES):
        X[:, j] = columns.numbers(feature)
    return X, columns.labels("Class"), columns.numbers("Time") if "Time" in columns else None


def _read_npz(path: Path) -> tuple[Floats, npt.NDArray[np.int8], None]:
    from fedanomaly.data.adbench import read_npz

    X, y = read_npz(path)
    if X.shape[1] != len(FEATURES):
        raise UserError(f"{path.name}: X has {X.shape[1]} columns, expected V1 to V28 and Amount")
    return X, y, None


def _check(X: Floats, y: npt.NDArray[np.int8], facts: Invariants) -> None:
    low, high = published_ranges()
    frauds = int(y.sum())
    facts.require(len(y) <= ROWS, f"there are {len(y):,} rows", f"at most {ROWS:,} (the whole file)")
    facts.require(frauds <= FRAUDS, f"there are {frauds:,} frauds", f"at most {FRAUDS}")
    for j, feature in enumerate(FEATURES):
        column = X[:, j]
        facts.require_rows(
            (column < low[j] - 1e-4) | (column > high[j] + 1e-4),
            feature,
            f"values from {low[j]:g} to {high[j]:g}",
            value=lambda row, column=column: column[row],  # type: ignore[misc]
        )
    cents = X[:, -1] * 100
    facts.require_rows(
        np.abs(cents - np.rint(cents)) > 1e-6, "Amount", "at most two decimals", value=lambda row: X[row, -1]
    )
    legitimate = X[y == 0]
    if len(legitimate) >= _ENOUGH_ROWS:
        rounded = legitimate[:, 0] == np.round(legitimate[:, 0], 5)
        facts.require(
            bool(rounded.mean() < 0.01),
            "column 'V1' is rounded to five decimals or fewer",
            "all digits (a spreadsheet may have rounded them)",
        )
        ratio = legitimate[:, :COMPONENTS].std(axis=0) / standard_deviations()
        worst = int(np.argmax(np.abs(np.log(np.maximum(ratio, 1e-9)))))
        facts.require(
            bool(0.5 < ratio[worst] < 2.0),
            f"column 'V{worst + 1}' has {ratio[worst]:.2g} times the published standard deviation "
            "in legitimate rows",
            "unscaled principal components",
        )
        if frauds >= 30:
            v14 = float(X[y == 1, 13].mean())
            facts.require(v14 < -3.5, f"the frauds' mean of V14 is {v14:.2f}", "about -7.0")
    if len(y) == ROWS:
        facts.require(frauds == FRAUDS, f"the whole file has {frauds} frauds", f"{FRAUDS}")
    else:
        facts.note(
            f"not the whole file: {len(y):,} of {ROWS:,} rows and {frauds} of {FRAUDS} frauds "
            f"({frauds / len(y):.4%} instead of {FRAUDS / ROWS:.4%})"
        )
