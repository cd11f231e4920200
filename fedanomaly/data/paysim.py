"""PaySim: simulated mobile money transfers (Lopez-Rojas et al. 2016)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import DATASETS, DataRequest, Table
from fedanomaly.data.build import build_table
from fedanomaly.data.columns import Columns, read_columns
from fedanomaly.data.files import FileDataset
from fedanomaly.data.invariants import Invariants

PAYSIM_TYPES = ("CASH_IN", "CASH_OUT", "DEBIT", "PAYMENT", "TRANSFER")
"""What the codes 0 to 4 in the feature ``type`` stand for."""

FEATURES = (
    "step",
    "type",
    "amount",
    "oldbalanceOrg",
    "newbalanceOrig",
    "oldbalanceDest",
    "newbalanceDest",
)
LABEL_LEAK = (
    "PaySim's labels leak: a TRANSFER or CASH_OUT whose amount equals oldbalanceOrg and leaves a balance "
    "of 0 is nearly always fraud, nearly all frauds are such rows, and from step 719 on every row is fraud; "
    "compare with the one-rule baseline"
)
ROWS = 6_362_620
FRAUDS = 8_213
SPREADSHEET_ROWS = 1_048_575
_ALIASES = {"oldbalanceOrig": "oldbalanceOrg", "newbalanceOrg": "newbalanceOrig"}
_CENT = 0.011  # balances are rounded to cents after the sum
_LARGEST_FRAUD = 10_000_000

_Mask = npt.NDArray[np.bool_]


@DATASETS.register("paysim")
class PaySim(FileDataset):
    """Mobile money: seven raw columns; ``type`` is a code into :data:`PAYSIM_TYPES`, ``step`` an hour."""

    name: ClassVar[str] = "paysim"
    title: ClassVar[str] = (
        "PaySim mobile money (simulated, 2016), 6,362,620 x 7, .13 % frauds, leaking labels"
    )
    patterns: ClassVar[tuple[str, ...]] = ("paysim*", "PS_*_log.*")
    homepage: ClassVar[str] = "https://www.kaggle.com/datasets/ealaxi/paysim1"
    put: ClassVar[str] = "PS_20174392719_1491204439457_log.csv (or its .zip)"

    def read(self, path: Path, request: DataRequest) -> Table:
        """Return the rows of one file after checking the published facts."""
        facts = Invariants(path.name, request.accept_variant)
        columns = read_columns(
            path,
            (*FEATURES, "isFraud"),
            optional=("nameOrig", "nameDest", "isFlaggedFraud"),
            aliases=_ALIASES,
            text=("type", "nameOrig", "nameDest"),
        )
        X = np.empty((len(columns), len(FEATURES)))
        for j, feature in enumerate(FEATURES):
            X[:, j] = _type_codes(columns) if feature == "type" else columns.numbers(feature)
        y = columns.labels("isFraud")
        _check_names(columns, X[:, 1] == PAYSIM_TYPES.index("PAYMENT"), facts)
        _check_money(X, y.astype(bool), facts)
        _check_size(len(y), int(y.sum()), "isFlaggedFraud" in columns, facts)
        return build_table(
            self.name,
            X,
            y,
            FEATURES,
            source=path.name,
            rows=request.rows,
            time=X[:, 0],
            amount=X[:, 2],
            warnings=(LABEL_LEAK, *facts.warnings),
        )


def _type_codes(columns: Columns) -> npt.NDArray[np.int64]:
    codes, names = columns.codes("type")
    if unknown := sorted(set(names) - set(PAYSIM_TYPES)):
        row = int(np.argmax(codes == names.index(unknown[0]))) + 1
        raise UserError(
            f"{columns.path.name}: column 'type' holds {unknown[0]!r} in row {row}, "
            f"expected one of {', '.join(PAYSIM_TYPES)}"
        )
    return np.array([PAYSIM_TYPES.index(name) for name in names])[codes]


def _check_names(columns: Columns, payment: _Mask, facts: Invariants) -> None:
    facts.require("nameOrig" in columns, "there is no column 'nameOrig'", "who pays (C and digits)")
    facts.require("nameDest" in columns, "there is no column 'nameDest'", "who is paid (M or C and digits)")
    if "nameOrig" in columns:
        names = columns.raw("nameOrig")
        facts.require_rows(~_match(names, r"^C\d+$"), "nameOrig", "C and digits", value=_at(names))
    if "nameDest" in columns:
        names = columns.raw("nameDest")
        facts.require_rows(~_match(names, r"^[CM]\d+$"), "nameDest", "C or M and digits", value=_at(names))
        facts.require_rows(
            payment & ~_match(names, "^M"),
            "nameDest",
            "a PAYMENT goes to a merchant (M...)",
            value=_at(names),
        )


def _check_money(X: npt.NDArray[np.float64], fraud: _Mask, facts: Invariants) -> None:
    step, code, amount, old, new, old_dest, new_dest = X.T
    cash_in, cash_out, _, payment, transfer = (code == k for k in range(len(PAYSIM_TYPES)))
    facts.require_rows(
        (step < 1) | (step > 744) | (step != np.floor(step)),
        "step",
        "whole hours from 1 to 744",
        value=_at(step),
    )
    for name, money in zip(FEATURES[2:], (amount, old, new, old_dest, new_dest), strict=True):
        facts.require_rows(money < 0, name, "no negative sums", value=_at(money))
    facts.require_rows(
        payment & ((old_dest != 0) | (new_dest != 0)),
        "oldbalanceDest",
        "a PAYMENT has destination balances 0",
    )
    facts.require_rows(
        payment & (np.abs(new - np.maximum(old - amount, 0)) > _CENT),
        "newbalanceOrig",
        "after a PAYMENT it is oldbalanceOrg - amount, or 0",
        value=_at(new),
    )
    facts.require_rows(
        cash_in & (np.abs(new - old - amount) > _CENT),
        "newbalanceOrig",
        "after a CASH_IN it is oldbalanceOrg + amount",
        value=_at(new),
        tolerated=0.01 * float(cash_in.mean()),  # genuine: .1 % of them, where payer and agent are one
    )
    facts.require_rows(
        fraud & ~(cash_out | transfer), "isFraud", "only TRANSFER and CASH_OUT rows are frauds"
    )
    facts.require_rows(
        fraud & (amount > _LARGEST_FRAUD), "amount", "no fraud moves more than 10,000,000", value=_at(amount)
    )
    if fraud.sum() >= 100:
        emptied = float((amount[fraud] == old[fraud]).mean())
        facts.require(
            emptied > 0.9, f"amount equals oldbalanceOrg in {emptied:.1%} of the frauds", "about 98 %"
        )


def _check_size(rows: int, frauds: int, flagged: bool, facts: Invariants) -> None:
    facts.require(rows <= ROWS, f"there are {rows:,} rows", f"at most {ROWS:,} (the whole file)")
    facts.require(frauds <= FRAUDS, f"there are {frauds:,} frauds", f"at most {FRAUDS:,}")
    if rows == SPREADSHEET_ROWS:
        facts.note(f"cut by a spreadsheet at {SPREADSHEET_ROWS:,} rows")
    if rows < ROWS:
        facts.note(
            f"not the whole file: {rows:,} of {ROWS:,} rows and {frauds:,} of {FRAUDS:,} frauds "
            f"({frauds / rows:.3%} instead of {FRAUDS / ROWS:.3%})"
        )
    if not flagged:
        facts.note("there is no column isFlaggedFraud (it is not used)")


def _match(names: Any, pattern: str) -> _Mask:
    import pyarrow.compute as pc

    return np.asarray(pc.match_substring_regex(names, pattern).to_numpy(), dtype=bool)


def _at(values: Any) -> Any:
    return lambda row: values[row]
