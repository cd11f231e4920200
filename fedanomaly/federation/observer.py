"""What the federation tells whoever watches it: a results folder, a live table, a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedanomaly.core.arrays import Arrays
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.evaluation import Metrics as Metrics
from fedanomaly.evaluation import Threshold


@dataclass(frozen=True)
class ClientInfo:
    """How many rows a client holds, as it said when it introduced itself.

    Attributes
    ----------
    client : int
        Partition id.
    train, train_frauds, calibration, calibration_frauds, test, test_frauds : int
        Rows and labelled frauds a fold.
    """

    client: int
    train: int
    train_frauds: int
    calibration: int
    calibration_frauds: int
    test: int
    test_frauds: int


@dataclass(frozen=True)
class Event:
    """Something a reader of the results must know.

    Attributes
    ----------
    server_round : int
        0 before the first round.
    phase : str
        ``join``, ``scaling``, ``setup``, ``train``, ``evaluate``.
    client : str
        Partition id, or ``node <id>`` for a node that never introduced itself, or ``all``.
    what : str
        What happened.
    action : str
        What was done about it.
    """

    server_round: int
    phase: str
    client: str
    what: str
    action: str


@dataclass(frozen=True)
class Scores:
    """Summed score histograms of the test rows, for curves."""

    legitimate: Histogram
    fraud: Histogram


@dataclass(frozen=True)
class RoundRecord:
    """All that a round produced.

    Attributes
    ----------
    server_round : int
        From 1.
    train, evaluate : mapping of str to dict of str to float
        Metrics by client (``"0"``, ``"1"``, ... or ``"all"``); each client's are worked out when looked at.
    threshold : Threshold
        Over all clients; for personal models the first client's.
    scores : Scores
        Of the test rows of all clients.
    calibration : Histogram
        The scores the threshold was chosen on.
    state : dict of ndarray
        The server's state.
    """

    server_round: int
    train: Mapping[str, Metrics]
    evaluate: Mapping[str, Metrics]
    threshold: Threshold
    scores: Scores
    calibration: Histogram
    state: Arrays = field(repr=False)


class Observer:
    """Hears of everything; does nothing. Override what matters."""

    def waiting(self, up: int, expected: int) -> None:
        """``up`` of ``expected`` clients have introduced themselves."""

    def joined(self, clients: dict[int, ClientInfo]) -> None:
        """The clients that are in, at the start and whenever one joins late."""

    def setup_done(self, spent: Mapping[str, Metrics]) -> None:
        """Scaling and set-up are done; seconds and bytes a client."""

    def asked(self, server_round: int, phase: str, clients: tuple[int, ...]) -> None:
        """A step was sent to ``clients``."""

    def answered(self, server_round: int, phase: str, clients: Sequence[int]) -> None:
        """``clients`` have answered since the last time."""

    def event(self, event: Event) -> None:
        """A client failed, joined late, sent nonsense."""

    def round_done(self, record: RoundRecord) -> None:
        """A round is complete: its metrics are final."""
