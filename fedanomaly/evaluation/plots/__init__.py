"""Pictures a person would want: each function takes numbers and a path, writes a PNG and returns the path."""

from fedanomaly.evaluation.plots.clients import fraud_distribution
from fedanomaly.evaluation.plots.confusion import confusion_counts
from fedanomaly.evaluation.plots.critical_difference import critical_difference
from fedanomaly.evaluation.plots.curves import Scored, curves
from fedanomaly.evaluation.plots.explanation import explanation
from fedanomaly.evaluation.plots.exploration import (
    class_balance,
    class_distributions,
    correlations,
    fraud_by_category,
    hourly_rhythm,
    projection,
    smote_rows,
)
from fedanomaly.evaluation.plots.heat_map import heat_map
from fedanomaly.evaluation.plots.interval_curves import interval_curves
from fedanomaly.evaluation.plots.interval_points import interval_points
from fedanomaly.evaluation.plots.rounds import metrics_per_round
from fedanomaly.evaluation.plots.scores import score_distributions

__all__ = [
    "Scored",
    "class_balance",
    "class_distributions",
    "confusion_counts",
    "correlations",
    "critical_difference",
    "curves",
    "explanation",
    "fraud_by_category",
    "fraud_distribution",
    "heat_map",
    "hourly_rhythm",
    "interval_curves",
    "interval_points",
    "metrics_per_round",
    "projection",
    "score_distributions",
    "smote_rows",
]
