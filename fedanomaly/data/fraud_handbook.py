"""Simulated card payments of the Fraud Detection Handbook (Le Borgne et al. 2022)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import DATASETS, DataRequest, Table
from fedanomaly.data.build import build_table
from fedanomaly.data.columns import read_columns
from fedanomaly.data.files import FileDataset
from fedanomaly.data.invariants import Invariants

ROWS = 1_754_155
FRAUDS = 14_681
FEATURES = ("TX_AMOUNT", "HOUR", "WEEKDAY")
_DAY = 86_400
_FIRST_WEEKDAY = 6  # the simulation starts on Sunday, 1 April 2018; Monday is 0
_ALWAYS_FRAUD = 220  # the handbook's scenario 1


@DATASETS.register("fraud_handbook")
class FraudHandbook(FileDataset):
    """Card payments with a customer, a terminal and a time: three fraud scenarios, drift over 183 days.

    The features are what a payment itself shows: its amount, the hour of the day (0 to 24) and the
    weekday (0 = Monday). Only scenario 1 can be told from these; scenarios 2 (terminals) and 3
    (customers) need a history, which ``groups`` and ``time`` allow to compute.
    """

    name: ClassVar[str] = "fraud_handbook"
    title: ClassVar[str] = (
        "Fraud Detection Handbook (simulated), 1,754,155 x 3, .84 % frauds; customer, terminal, time"
    )
    patterns: ClassVar[tuple[str, ...]] = ("fraud_handbook*", "simulated_data*", "simulated-data*")
    homepage: ClassVar[str] = "https://github.com/Fraud-Detection-Handbook/simulated-data-raw"
    put: ClassVar[str] = "its transactions as one Parquet or CSV file, fraud_handbook.parquet"

    def read(self, path: Path, request: DataRequest) -> Table:
        """Return the rows of one file after checking the handbook's rules."""
        if path.suffix.lower() in (".pkl", ".pickle"):
            raise UserError(
                f"{path.name} is a pickle, which may run code and is never loaded: "
                "convert it with pandas.read_pickle(...).to_parquet('fraud_handbook.parquet') if you trust it"
            )
        facts = Invariants(path.name, request.accept_variant)
        columns = read_columns(
            path,
            ("TX_TIME_SECONDS", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"),
            optional=("TX_FRAUD_SCENARIO",),
        )
        time, amount = columns.numbers("TX_TIME_SECONDS"), columns.numbers("TX_AMOUNT")
        y = columns.labels("TX_FRAUD")
        facts.require_rows(
            (time < 0) | (time != np.floor(time)),
            "TX_TIME_SECONDS",
            "whole seconds since the start",
            value=lambda row: time[row],
        )
        facts.require_rows(amount < 0, "TX_AMOUNT", "no negative amounts", value=lambda row: amount[row])
        facts.require_rows(
            (amount > _ALWAYS_FRAUD) & (y == 0),
            "TX_FRAUD",
            f"every payment above {_ALWAYS_FRAUD} is fraud (scenario 1)",
        )
        if "TX_FRAUD_SCENARIO" in columns:
            scenario = columns.numbers("TX_FRAUD_SCENARIO")
            facts.require_rows(
                (scenario != 0) != (y == 1), "TX_FRAUD_SCENARIO", "a scenario for frauds and 0 for the rest"
            )
        if (len(y), int(y.sum())) != (ROWS, FRAUDS):
            facts.note(
                f"not the published simulation: {len(y):,} rows and {int(y.sum()):,} frauds "
                f"(published: {ROWS:,} and {FRAUDS:,})"
            )
        X = np.column_stack([amount, time % _DAY / 3600, (time // _DAY + _FIRST_WEEKDAY) % 7])
        facts.note(
            "only amount, hour and weekday are features: frauds of scenarios 2 and 3 hardly show in them"
        )
        return build_table(
            self.name,
            X,
            y,
            FEATURES,
            source=path.name,
            rows=request.rows,
            time=time,
            groups={
                owner: np.unique(columns.numbers(column), return_inverse=True)[1]
                for owner, column in (("customer", "CUSTOMER_ID"), ("terminal", "TERMINAL_ID"))
            },
            amount=amount,
            warnings=facts.warnings,
        )
