"""Folds, scaling, features, balancing: always fitted inside a client's training fold."""

from fedanomaly.prepare.balance import BALANCERS, Balanced, balance
from fedanomaly.prepare.features import engineer, needs_engineering
from fedanomaly.prepare.grid import GridScaling
from fedanomaly.prepare.minmax import MinMaxScaling
from fedanomaly.prepare.robust import RobustScaling
from fedanomaly.prepare.rows import ClientRows, Rows, client_rows
from fedanomaly.prepare.scaling import SCALINGS, apply_scaling, scaling_step
from fedanomaly.prepare.split import CALIBRATION, TEST, TRAIN, assign_folds, row_hashes
from fedanomaly.prepare.standard import MomentsScaling

__all__ = [
    "BALANCERS",
    "CALIBRATION",
    "SCALINGS",
    "TEST",
    "TRAIN",
    "Balanced",
    "ClientRows",
    "GridScaling",
    "MinMaxScaling",
    "MomentsScaling",
    "RobustScaling",
    "Rows",
    "apply_scaling",
    "assign_folds",
    "balance",
    "client_rows",
    "engineer",
    "needs_engineering",
    "row_hashes",
    "scaling_step",
]
