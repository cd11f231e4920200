"""What clients say of their scores: histograms, read and checked, one by one or many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Array, Arrays, require, require_only, within
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.floatgrid import KEY_MAX, KEY_MIN, Histogram, to_keys
from fedanomaly.core.histograms import Histograms
from fedanomaly.federation.observer import ClientInfo

CALIBRATION = ("calibration/legitimate", "calibration/fraud")
TEST = ("test/legitimate", "test/fraud")
BALANCED = ("balanced/legitimate", "balanced/fraud")
_PARTS = (*CALIBRATION, *TEST, *BALANCED)  # the order on the wire; the last two only where rows were made
_N_REAL = 4
_FRAUD = TEST[1]
TEST_CLASSES, BALANCED_CLASSES = 2, 4
_MOST = 2**53

Sizes = npt.NDArray[np.int64]
"""Shape (clients, 6): the fields of :class:`~fedanomaly.federation.observer.ClientInfo`, by client."""


def client_scores(scores: Sequence[Array], classes: Sequence[Array], amounts: Array | None) -> Arrays:
    """Return what a client says of its scores.

    Parameters
    ----------
    scores : sequence of ndarray of shape (n_rows,)
        On calibration rows, on test rows and, where there are any, on rows made to balance the former.
    classes : sequence of ndarray of shape (n_rows,)
        Of these rows: 0 or 1 (fraud), then 2 or 3, then 4 or 5.
    amounts : ndarray of shape (n_test_rows,), optional
        Money in each test row, not negative.

    Returns
    -------
    dict of ndarray
        ``bins``, shape (4,) or (6,): bins of each class's histogram; ``keys`` and ``counts``: those of
        :class:`~fedanomaly.core.floatgrid.Histogram`, class after class; ``amounts``, float64: money in each
        bin of the test frauds, where it is known.
    """
    values, of_class = np.concatenate(scores), np.concatenate(classes).astype(np.int64, copy=False)
    parts = Histograms.of_classes(values, of_class, 2 * len(scores))
    answer = {"bins": parts.bins, "keys": parts.keys, "counts": parts.counts}
    if amounts is not None:
        caught = np.flatnonzero(classes[1] == TEST_CLASSES + 1)
        first = int(parts.bins[: TEST_CLASSES + 1].sum())
        keys = parts.keys[first : first + int(parts.bins[TEST_CLASSES + 1])]
        at = np.searchsorted(keys, to_keys(scores[1][caught]))
        answer["amounts"] = np.bincount(at, amounts[caught], len(keys)).astype(np.float64, copy=False)
    return answer


@dataclass(frozen=True)
class ClientScores:
    """The histograms one client sent, read and checked.

    Attributes
    ----------
    parts : dict of str to Histogram
        By fold and class.
    amount : Histogram or None
        Money in the test frauds, where it is known.
    """

    parts: dict[str, Histogram]
    amount: Histogram | None

    @classmethod
    def from_arrays(cls, arrays: Arrays, info: ClientInfo) -> ClientScores:
        """Read a client's answer.

        Raises
        ------
        InvalidArrays
            If a histogram is malformed, unknown, or counts other rows than the client declared.
        """
        require_only(arrays, {"bins", "keys", "counts", "amounts"})
        bins = require(arrays, "bins", kind="i", shape=(None,), low=0, high=_MOST)
        if len(bins) not in (_N_REAL, len(_PARTS)):
            raise InvalidArrays(f"there are {len(bins)} histograms, expected {_N_REAL} or {len(_PARTS)}")
        keys = require(arrays, "keys", kind="i", shape=(int(bins.sum()),), low=KEY_MIN, high=KEY_MAX)
        counts = require(arrays, "counts", kind="i", shape=keys.shape, low=0, high=_MOST)
        for name in ("bins", "keys", "counts"):
            if arrays[name].dtype != np.int64:
                raise InvalidArrays(f"array {name!r} has dtype {arrays[name].dtype}, expected int64")
        beside = Histograms(keys, counts, bins)
        if not beside.rising:
            raise InvalidArrays("bins of a histogram are not strictly ascending")
        parts = dict(zip(_PARTS, beside.each(), strict=False))
        for name, rows in zip(_PARTS, _declared(info), strict=False):
            if parts[name].total != rows:
                raise InvalidArrays(
                    f"histogram {name!r} counts {parts[name].total:g} rows; {rows} were declared"
                )
        if "amounts" not in arrays:
            return cls(parts, None)
        known = parts[_FRAUD].keys
        amounts = require(arrays, "amounts", kind="f", shape=known.shape, low=0, high=_MOST)
        if amounts.dtype != np.float64:
            raise InvalidArrays(f"array 'amounts' has dtype {amounts.dtype}, expected float64")
        return cls(parts, Histogram(known, amounts))

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
        parts = {name: Histograms.of([client.parts[name] for client in read]) for name in _PARTS[:_N_REAL]}
        if any(name in client.parts for client in read for name in BALANCED):
            for name in BALANCED:
                of_class = name.removeprefix("balanced/")
                parts[name] = Histograms.of([client.balanced(of_class) for client in read])
        known = [client.amount for client in read if client.amount is not None]
        return cls(list(scores), parts, Histograms.of(known), [client.amount is not None for client in read])

    @classmethod
    def read(cls, answers: Answers, sizes: Sizes) -> ScoreBatch | None:
        """Read the answers of many clients in one go.

        None says nothing: look at each with :meth:`ClientScores.from_arrays`, which accepts all that
        is read here.
        """
        columns = answers.columns or {}
        if {*columns} - {"amounts"} != {"bins", "keys", "counts"}:
            return None
        bins, (keys, lengths), counts = columns["bins"].stack, columns["keys"], columns["counts"]
        if bins is None or bins.ndim != 2 or bins.shape[1] not in (_N_REAL, len(_PARTS)):
            return None
        if not bins.dtype == keys.dtype == counts.values.dtype == np.int64 or keys.ndim != 1:
            return None
        if not within(bins, 0, _MOST) or lengths is None or (lengths != bins.sum(axis=1)).any():
            return None
        if counts.lengths is None or (counts.lengths != lengths).any() or counts.values.ndim != 1:
            return None
        beside = Histograms(keys, counts.values, bins.ravel())
        if not (beside.rising and within(keys, KEY_MIN, KEY_MAX) and within(counts.values, 0, _MOST)):
            return None
        clients, n_parts = answers.clients, bins.shape[1]
        totals = beside.totals.reshape(bins.shape).T
        _, _, calibration, of_calibration, test, of_test = sizes[clients].T
        declared = (calibration - of_calibration, of_calibration, test - of_test, of_test)
        if any((found != rows).any() for found, rows in zip(totals, declared, strict=False)):
            return None
        of_part = beside.owners % n_parts
        at = [of_part == number for number in range(n_parts)]
        parts = {
            name: Histograms(keys[here], counts.values[here], bins[:, number])
            for number, (name, here) in enumerate(zip(_PARTS, at, strict=False))
        }
        for number in range(_N_REAL, n_parts):
            wanted, found = totals[number - _N_REAL], totals[number]
            if wanted[found == 0].any():
                return None
            parts[_PARTS[number]] = parts[_PARTS[number]].scaled(wanted / np.maximum(found, 1))
        amounts = Histograms.of([])
        if (known := columns.get("amounts")) is not None:
            fraud = parts[_FRAUD]
            if known.values.dtype != np.float64 or known.values.ndim != 1 or known.lengths is None:
                return None
            if (known.lengths != fraud.bins).any() or not within(known.values, 0, _MOST):
                return None
            amounts = Histograms(fraud.keys, known.values, fraud.bins)
        return cls(clients, parts, amounts, [known is not None] * len(clients))

    @classmethod
    def joined(cls, batches: Sequence[ScoreBatch]) -> ScoreBatch:
        """Return the histograms of all clients of all batches."""
        balanced = any(BALANCED[0] in batch.parts for batch in batches)
        names = _PARTS if balanced else _PARTS[:_N_REAL]
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
        for name, part in {**self.parts, "amounts": self.amounts}.items():
            arrays |= {f"{name}/keys": part.keys, f"{name}/counts": part.counts, f"{name}/bins": part.bins}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> ScoreBatch:
        """Return the batch that :meth:`to_arrays` was called on."""
        parts = {
            name: Histograms(*(arrays[f"{name}/{field}"] for field in ("keys", "counts", "bins")))
            for name in (*_PARTS, "amounts")
            if f"{name}/keys" in arrays
        }
        amounts = parts.pop("amounts")
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
