"""What clients say of their scores: histograms, read and checked, one by one or many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

Sizes = npt.NDArray[np.int64]
"""Shape (clients, 6): the fields of :class:`~fedanomaly.federation.observer.ClientInfo`, by client."""


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
    def read(cls, answers: Answers, sizes: Sizes) -> ScoreBatch | None:
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
        _, _, calibration, of_calibration, test, of_test = sizes[clients].T
        declared = (calibration - of_calibration, of_calibration, test - of_test, of_test)
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
    def joined(cls, batches: Sequence[ScoreBatch]) -> ScoreBatch:
        """Return the histograms of all clients of all batches."""
        balanced = any(BALANCED[0] in batch.parts for batch in batches)
        names = (*_PARTS, *BALANCED) if balanced else _PARTS
        return cls(
            [client for batch in batches for client in batch.clients],
            {name: Histograms.joined([batch.part(name) for batch in batches]) for name in names},
            Histograms.joined([batch.amounts for batch in batches]),
            [knows for batch in batches for knows in batch.knows_amounts],
        )

    def part(self, name: str) -> Histograms:
        """Return the histograms called ``name``; where nothing was balanced, those of real rows."""
        if name in BALANCED and name not in self.parts:
            name = CALIBRATION[BALANCED.index(name)]
        return self.parts[name]

    def to_arrays(self) -> Arrays:
        """Return the form that travels between processes of one run."""
        arrays = {
            "clients": np.array(self.clients, dtype=np.int64),
            "knows_amounts": np.array(self.knows_amounts, dtype=np.bool_),
        }
        for name, part in {**self.parts, AMOUNT: self.amounts}.items():
            arrays |= {f"{name}/keys": part.keys, f"{name}/counts": part.counts, f"{name}/bins": part.bins}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> ScoreBatch:
        """Return the batch that :meth:`to_arrays` was called on."""
        parts = {
            name: Histograms(*(arrays[f"{name}/{field}"] for field in ("keys", "counts", "bins")))
            for name in (*_PARTS, *_OPTIONAL)
            if f"{name}/keys" in arrays
        }
        amounts = parts.pop(AMOUNT)
        return cls(arrays["clients"].tolist(), parts, amounts, arrays["knows_amounts"].tolist())


def read_scores(answers: Answers, sizes: Sizes) -> tuple[ScoreBatch, dict[int, str]]:
    """Return the histograms in answers, and what is wrong with those that cannot be read, by client."""
    if (batch := ScoreBatch.read(answers, sizes)) is not None:
        return batch, {}
    sound: dict[int, ClientScores] = {}
    wrong: dict[int, str] = {}
    for turn, arrays in answers:
        try:
            info = ClientInfo(turn.client, *sizes[turn.client].tolist())
            sound[turn.client] = ClientScores.from_arrays(arrays, info)
        except InvalidArrays as error:
            wrong[turn.client] = str(error)
    return ScoreBatch.of(sound), wrong


def _declared(info: ClientInfo) -> tuple[int, int, int, int]:
    """Return how many rows a client's histograms must count."""
    return (
        info.calibration - info.calibration_frauds,
        info.calibration_frauds,
        info.test - info.test_frauds,
        info.test_frauds,
    )
