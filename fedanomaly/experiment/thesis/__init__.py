"""The thesis this toolkit grew from: as published, corrected, and what becomes of its claims."""

from fedanomaly.experiment.thesis.claims import CLAIMS, Claim
from fedanomaly.experiment.thesis.corrected import thesis_preset, thesis_rows
from fedanomaly.experiment.thesis.effects import aggregation_effect, changes_table, effect, faults_table
from fedanomaly.experiment.thesis.pictures import fault_effects, metrics_over_rounds
from fedanomaly.experiment.thesis.published import Faults, published_rounds
from fedanomaly.experiment.thesis.report import Finding, claims_table, findings, write_thesis_report
from fedanomaly.experiment.thesis.reproduce import reproduce

__all__ = [
    "CLAIMS",
    "Claim",
    "Faults",
    "Finding",
    "aggregation_effect",
    "changes_table",
    "claims_table",
    "effect",
    "fault_effects",
    "faults_table",
    "findings",
    "metrics_over_rounds",
    "published_rounds",
    "reproduce",
    "thesis_preset",
    "thesis_rows",
    "write_thesis_report",
]
