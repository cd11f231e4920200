"""What a report is made of; whoever ran the experiment fills it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedanomaly.evaluation.intervals import Interval
from fedanomaly.evaluation.leaks import Finding
from fedanomaly.evaluation.thresholds import Threshold


@dataclass(frozen=True)
class DataDescription:
    """Where the rows came from.

    Attributes
    ----------
    name, source : str
        Name of the data set, and its origin in words (never a path of the machine).
    rows, frauds, features : int
        Size of the whole table.
    synthetic : bool
        True if the rows were generated; the report's second line says so either way.
    fingerprint : str
        SHA-256 of the content.
    warnings : sequence of str
        Repeated word for word.
    """

    name: str
    source: str
    rows: int
    frauds: int
    features: int
    synthetic: bool
    fingerprint: str = ""
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ReportContent:
    """All that a report can show; what is empty is left out.

    Attributes
    ----------
    title : str
        Of the page.
    method : str
        What was run, subject of the first sentence (``"isolation-forest (union), 5 clients, 10 rounds"``).
    data : DataDescription
        Where the rows came from.
    metrics : mapping of str to float
        Final metrics over all test rows.
    per_client : mapping of str to mapping of str to float
        Final metrics by client.
    references : mapping of str to mapping of str to float
        What to compare with, by name (``local``, ``pooled``, ``one rule``); flagging nothing is added.
    intervals : mapping of str to Interval
        Metrics over seeds, where several were run.
    status, reason : str
        ``completed``, or how the run ended and why.
    warnings : sequence of str
        What a reader must know before believing a number.
    statements : sequence of str
        Training rows, scaling, balancing and the like, a sentence each.
    threshold : Threshold or None
        The final threshold.
    partition : str
        Its name and meaning in a sentence.
    clients : sequence of mapping of str to object
        What each client holds; the keys of the first are the table's columns.
    rounds : sequence of mapping of str to float
        One a round: ``round`` and metrics over all clients.
    findings : sequence of Finding
        The leak check.
    events : sequence of str
        Failures and what was done about them.
    pictures : mapping of str to str
        Caption by file name, relative to the report.
    config : mapping of str to object
        Every option of the run.
    repeat : sequence of str
        Commands that repeat the run.
    environment : mapping of str to object
        Versions, revision, seed.
    """

    title: str
    method: str
    data: DataDescription
    metrics: Mapping[str, float]
    per_client: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    references: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    status: str = "completed"
    reason: str = ""
    warnings: Sequence[str] = ()
    statements: Sequence[str] = ()
    threshold: Threshold | None = None
    partition: str = ""
    clients: Sequence[Mapping[str, object]] = ()
    rounds: Sequence[Mapping[str, float]] = ()
    findings: Sequence[Finding] = ()
    events: Sequence[str] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    repeat: Sequence[str] = ()
    environment: Mapping[str, object] = field(default_factory=dict)
