"""Pictures a person would want: each function takes numbers and a path, writes a PNG and returns the path."""

from fedanomaly.evaluation.plots.clients import fraud_distribution
from fedanomaly.evaluation.plots.confusion import confusion_counts
from fedanomaly.evaluation.plots.curves import Scored, curves
from fedanomaly.evaluation.plots.rounds import metrics_per_round
from fedanomaly.evaluation.plots.scores import score_distributions

__all__ = [
    "Scored",
    "confusion_counts",
    "curves",
    "fraud_distribution",
    "metrics_per_round",
    "score_distributions",
]
