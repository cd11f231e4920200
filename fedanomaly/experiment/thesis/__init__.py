"""The thesis this toolkit grew from: as published, corrected, and what becomes of its claims."""

from fedanomaly.experiment.thesis.claims import CLAIMS, Claim
from fedanomaly.experiment.thesis.corrected import thesis_preset, thesis_rows
from fedanomaly.experiment.thesis.published import Faults, published_rounds
from fedanomaly.experiment.thesis.report import Finding, findings, write_thesis_report
from fedanomaly.experiment.thesis.reproduce import reproduce

__all__ = [
    "CLAIMS",
    "Claim",
    "Faults",
    "Finding",
    "findings",
    "published_rounds",
    "reproduce",
    "thesis_preset",
    "thesis_rows",
    "write_thesis_report",
]
