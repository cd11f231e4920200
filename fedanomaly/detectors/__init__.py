"""Detectors: one file each, with the steps by which clients build it together.

Adding one is adding a file and an import here; :func:`check_detector` tests its contract.
"""

from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector
from fedanomaly.detectors.contract import check_detector
from fedanomaly.detectors.isolation_forest import IsolationForest
from fedanomaly.detectors.lof import LocalOutlierFactor
from fedanomaly.detectors.one_class_svm import OneClassSVM
from fedanomaly.detectors.references import aggregations_of


def registered() -> dict[str, type[Detector]]:
    """Return every detector by name."""
    return DETECTORS.registered()


__all__ = [
    "DETECTORS",
    "Aggregation",
    "Detector",
    "IsolationForest",
    "LocalOutlierFactor",
    "OneClassSVM",
    "aggregations_of",
    "check_detector",
    "registered",
]
