"""Detectors: one file each, with the steps by which clients build it together.

Adding one is adding a file and an import here; :func:`check_detector` tests its contract.
"""

from fedanomaly.detectors._score_ensemble import ScoreEnsemble
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector
from fedanomaly.detectors.contract import check_detector
from fedanomaly.detectors.ecod import ECOD
from fedanomaly.detectors.ensemble import Ensemble
from fedanomaly.detectors.explain import explain, shap_values
from fedanomaly.detectors.gmm import GMM
from fedanomaly.detectors.gradient_boosting import GradientBoosting
from fedanomaly.detectors.hbos import HBOS
from fedanomaly.detectors.iqr import IQR
from fedanomaly.detectors.isolation_forest import IsolationForest
from fedanomaly.detectors.lof import LocalOutlierFactor
from fedanomaly.detectors.logistic_regression import LogisticRegression
from fedanomaly.detectors.mahalanobis import Mahalanobis
from fedanomaly.detectors.one_class_svm import OneClassSVM
from fedanomaly.detectors.pca import PCA
from fedanomaly.detectors.references import aggregations_of
from fedanomaly.detectors.stacking import Stacking
from fedanomaly.detectors.z_score import ZScore


def registered() -> dict[str, type[Detector]]:
    """Return every detector by name."""
    return DETECTORS.registered()


__all__ = [
    "DETECTORS",
    "ECOD",
    "GMM",
    "HBOS",
    "IQR",
    "PCA",
    "Aggregation",
    "Detector",
    "Ensemble",
    "GradientBoosting",
    "IsolationForest",
    "LocalOutlierFactor",
    "LogisticRegression",
    "Mahalanobis",
    "OneClassSVM",
    "ScoreEnsemble",
    "Stacking",
    "ZScore",
    "aggregations_of",
    "check_detector",
    "explain",
    "registered",
    "shap_values",
]
