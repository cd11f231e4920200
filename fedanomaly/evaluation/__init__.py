"""Honest numbers from histograms of scores: metrics, thresholds, leak check, references, plots, report."""

from fedanomaly.evaluation.baselines import flag_nothing, metrics_of, paysim_rule
from fedanomaly.evaluation.content import DataDescription, ReportContent
from fedanomaly.evaluation.growth import Growth, growth
from fedanomaly.evaluation.intervals import (
    Equivalence,
    Interval,
    bootstrap_interval,
    equivalence,
    mean_interval,
    paired_difference,
)
from fedanomaly.evaluation.leaks import Finding
from fedanomaly.evaluation.mean_ranks import RankComparison, compare_ranks
from fedanomaly.evaluation.metrics import (
    Metrics,
    Summary,
    alerts_allowed,
    evaluate,
    from_counts,
    precision_at_rates,
    summary,
)
from fedanomaly.evaluation.paired_tests import Comparison, compare_paired
from fedanomaly.evaluation.per_client import evaluate_each
from fedanomaly.evaluation.ranking import Ranking
from fedanomaly.evaluation.report import write_report
from fedanomaly.evaluation.thresholds import (
    THRESHOLDS,
    Calibration,
    Chooser,
    Threshold,
    ThresholdOptions,
    choose,
)


def registered() -> dict[str, Chooser]:
    """Return every kind of threshold by name."""
    return THRESHOLDS.registered()


__all__ = [
    "THRESHOLDS",
    "Calibration",
    "Chooser",
    "Comparison",
    "DataDescription",
    "Equivalence",
    "Finding",
    "Growth",
    "Interval",
    "Metrics",
    "RankComparison",
    "Ranking",
    "ReportContent",
    "Summary",
    "Threshold",
    "ThresholdOptions",
    "alerts_allowed",
    "bootstrap_interval",
    "choose",
    "compare_paired",
    "compare_ranks",
    "equivalence",
    "evaluate",
    "evaluate_each",
    "flag_nothing",
    "from_counts",
    "growth",
    "mean_interval",
    "metrics_of",
    "paired_difference",
    "paysim_rule",
    "precision_at_rates",
    "registered",
    "summary",
    "write_report",
]
