"""What clients say of their scores: histograms, read and checked, one by one or many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.core.histograms import Histograms
from fedanomaly.federation.observer import ClientInfo

CALIBRATION = ("calibration/legitimate", "calibration/fraud")
TEST = ("test/legitimate", "test/fraud")
BALANCED = ("balanced/legitimate", "balanced/fraud")
AMOUNT = "test/amount"
_PARTS = (*CALIBRATION, *TEST)
_OPTIONAL = (AMOUNT, *BALANCED)


@dataclass(frozen=True)
class ClientScores:
    """The histograms one client sent, read and checked."""

    parts: dict[str, Histogram]

    @classmethod
    def from_arrays(cls, arrays: Arrays, info: ClientInfo) -> ClientScores:
        """Read a client's answer.

        Raises
        ------
        InvalidArrays
            If a histogram is malformed, unknown, or counts other rows than the client declared.
        """
        names = {name.rsplit("/", 1)[0] for name in arrays}
        if unknown := sorted(names - {*_PARTS, *_OPTIONAL}):
            raise InvalidArrays(f"unknown histograms {unknown}")
        parts = {
            name: Histogram.from_arrays(arrays, name)
            for name in (*_PARTS, *_OPTIONAL)
            if name in names or name in _PARTS
        }
        for name, rows in zip(_PARTS, _declared(info), strict=True):
            if parts[name].total != rows or parts[name].counts.dtype.kind != "i":
                raise InvalidArrays(
                    f"histogram {name!r} counts {parts[name].total:g} rows; {rows} were declared"
                )
        return cls(parts)

    def balanced(self, name: str) -> Histogram:
        """Return ``balanced/name`` scaled back to the true number of rows of its class.

        Balancing then smooths the estimate of recall without changing how frequent fraud is.
        """
        real = self.parts[f"calibration/{name}"]
        made = self.parts.get(f"balanced/{name}")
        if made is None or not made.total:
            return real
        return made.scaled(real.total / made.total)


@dataclass(frozen=True, eq=False)
class ScoreBatch:
    """The histograms of several clients, read and checked.

    Attributes
    ----------
    clients : list of int
        Partition ids, ascending.
    parts : dict of str to Histograms
        Of all clients: scores of both classes on calibration rows and on test rows; and, where a
        client has any, ``balanced`` ones, scaled as :meth:`ClientScores.balanced` does.
    amounts : Histograms
        Of those clients that know amounts.
    knows_amounts : list of bool
        Which of the clients these are.
    """

    clients: list[int]
    parts: dict[str, Histograms]
    amounts: Histograms
    knows_amounts: list[bool]

    @classmethod
    def of(cls, scores: Mapping[int, ClientScores]) -> ScoreBatch:
        """Put what has been read one by one side by side."""
        read = list(scores.values())
        parts = {name: Histograms.of([client.parts[name] for client in read]) for name in _PARTS}
        if any(name in client.parts for client in read for name in BALANCED):
            for name in BALANCED:
                of_class = name.removeprefix("balanced/")
                parts[name] = Histograms.of([client.balanced(of_class) for client in read])
        knows = [AMOUNT in client.parts for client in read]
        amounts = Histograms.of([client.parts[AMOUNT] for client in read if AMOUNT in client.parts])
        return cls(list(scores), parts, amounts, knows)

    @classmethod
    def read(cls, answers: Answers, infos: Mapping[int, ClientInfo]) -> ScoreBatch | None:
        """Read the answers of many clients in one go.

        None says nothing: look at each with :meth:`ClientScores.from_arrays`, which accepts all that
        is read here.
        """
        columns = answers.columns or {}
        names = [name for name in (*_PARTS, *_OPTIONAL) if f"{name}/keys" in columns]
        if len(columns) != 2 * len(names):
            return None
        read: dict[str, Histograms] = {}
        for name in names:
            if (part := Histograms.read(columns, name)) is None:
                return None
            read[name] = part
        if not all(name in read and read[name].counts.dtype == np.int64 for name in _PARTS):
            return None
        clients = answers.clients
        declared = np.array([_declared(infos[client]) for client in clients]).T
        if any((read[name].totals != rows).any() for name, rows in zip(_PARTS, declared, strict=True)):
            return None
        if any(name in read for name in BALANCED):
            for name, real in zip(BALANCED, CALIBRATION, strict=True):
                if (made := read.get(name)) is None:
                    return None
                wanted, found = read[real].totals, made.totals
                if made.counts.dtype != np.int64 or wanted[found == 0].any():
                    return None
                read[name] = made.scaled(wanted / np.maximum(found, 1))
        amounts = read.pop(AMOUNT, None)
        knows = [amounts is not None] * len(clients)
        return cls(clients, read, Histograms.of([]) if amounts is None else amounts, knows)

    @classmethod
    def joined(cls, batches: Sequence[ScoreBatch], names: Sequence[str]) -> ScoreBatch:
        """Return the named parts, and the amounts, of all clients of all batches."""
        return cls(
            [client for batch in batches for client in batch.clients],
            {name: Histograms.joined([batch.parts[name] for batch in batches]) for name in names},
            Histograms.joined([batch.amounts for batch in batches]),
            [knows for batch in batches for knows in batch.knows_amounts],
        )


def _declared(info: ClientInfo) -> tuple[int, int, int, int]:
    """Return how many rows a client's histograms must count."""
    return (
        info.calibration - info.calibration_frauds,
        info.calibration_frauds,
        info.test - info.test_frauds,
        info.test_frauds,
    )
