"""Answers of several clients, one by one or side by side: a thousand small ones cost a few operations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple, Self, overload

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import Turn

Answer = tuple[Turn, Arrays]
Lengths = npt.NDArray[np.int64]
_DTYPE = attrgetter("dtype")


class Column(NamedTuple):
    """One array of every answer, end to end along the first axis.

    Attributes
    ----------
    values : ndarray
        All of them.
    lengths : ndarray of shape (n_answers,), int64, or None
        How long each is; None where each is a single number (0-d).
    """

    values: Array
    lengths: Lengths | None

    @property
    def stack(self) -> Array | None:
        """The arrays with one axis more in front; None unless all have one length."""
        if (lengths := self.lengths) is None:
            return self.values
        if (lengths != lengths[0]).any():
            return None
        return self.values.reshape(len(lengths), lengths[0], *self.values.shape[1:])

    @property
    def each(self) -> list[Array]:
        """The arrays one by one: views."""
        if self.lengths is None:
            return [self.values[at : at + 1].reshape(()) for at in range(len(self.values))]
        stops = np.cumsum(self.lengths)
        bounds = zip((stops - self.lengths).tolist(), stops.tolist(), strict=True)
        return [self.values[start:stop] for start, stop in bounds]

    def scaled(self, factors: npt.NDArray[np.float64]) -> Column:
        """Return every array times its factor; factors have shape (n_answers,)."""
        by = factors if self.lengths is None else np.repeat(factors, self.lengths)
        return Column(self.values * by.reshape(-1, *[1] * (self.values.ndim - 1)), self.lengths)


Columns = dict[str, Column]
_VALUES, _LENGTHS = "values/", "lengths/"


def columns_to_arrays(columns: Columns) -> Arrays:
    """Return the form that travels between processes of one run."""
    arrays: Arrays = {}
    for name, (values, lengths) in columns.items():
        arrays[_VALUES + name] = values
        if lengths is not None:
            arrays[_LENGTHS + name] = lengths
    return arrays


def columns_from_arrays(arrays: Arrays) -> Columns:
    """Return the columns that :func:`columns_to_arrays` was given; other arrays are left alone."""
    return {
        (bare := name.removeprefix(_VALUES)): Column(values, arrays.get(_LENGTHS + bare))
        for name, values in arrays.items()
        if name.startswith(_VALUES)
    }


class Batch:
    """What several clients sent, in order: either form is made from the other when it is asked for.

    Parameters
    ----------
    each : sequence of dict of ndarray, optional
        One by one.
    columns : dict of str to Column, optional
        Side by side. One of the two is given.
    """

    def __init__(self, each: Sequence[Arrays] | None = None, columns: Columns | None = None) -> None:
        if each is not None:
            self.each = each
        if columns is not None:
            self.columns = columns

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Return all answers of all batches: side by side if they are all alike."""
        if len(batches) == 1:
            return batches[0]
        if (columns := _joined_columns([batch.columns for batch in batches])) is not None:
            return cls(columns=columns)
        return cls([arrays for batch in batches for arrays in batch.each])

    @cached_property
    def each(self) -> Sequence[Arrays]:
        """The answers, one by one."""
        assert self.columns is not None
        names, parts = list(self.columns), [column.each for column in self.columns.values()]
        return [dict(zip(names, arrays, strict=True)) for arrays in zip(*parts, strict=True)]

    @cached_property
    def columns(self) -> Columns | None:
        """The answers, side by side; None unless names, dtypes and all sides but the first agree."""
        if not self.each or not (first := self.each[0]):
            return None
        size = len(first)
        if set(map(len, self.each)) != {size}:
            return None
        columns = {}
        for name in first:
            if (column := _beside([answer.get(name) for answer in self.each])) is None:
                return None
            columns[name] = column
        return columns

    @cached_property
    def stacks(self) -> Arrays | None:
        """Every array with one axis more in front; None unless all answers are of one shape."""
        if self.columns is None:
            return None
        stacks: Arrays = {}
        for name, column in self.columns.items():
            if (stack := column.stack) is None:
                return None
            stacks[name] = stack
        return stacks


def _beside(arrays: list[Any]) -> Column | None:
    """Return arrays end to end; None unless all are plain arrays that agree."""
    first = arrays[0]
    if set(map(type, arrays)) != {np.ndarray} or set(map(_DTYPE, arrays)) != {first.dtype}:
        return None
    try:
        if not first.ndim:
            return Column(np.array(arrays, dtype=first.dtype), None)
        large_ones_come_alone = len(arrays) == 1
        joined = first if large_ones_come_alone else np.concatenate(arrays, dtype=first.dtype)
    except ValueError:  # other sides, or other axes
        return None
    return Column(joined, np.fromiter(map(len, arrays), np.int64, len(arrays)))


def _joined_columns(parts: Sequence[Columns | None]) -> Columns | None:
    """Return columns end to end; None unless names, dtypes and all sides but the first agree."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts) or any(part.keys() != known[0].keys() for part in known):
        return None
    columns: Columns = {}
    for name in known[0]:
        column = _end_to_end([part[name] for part in known])
        if column is None:
            return None
        columns[name] = column
    return columns


def _end_to_end(parts: Sequence[Column]) -> Column | None:
    values, lengths = [part.values for part in parts], [part.lengths for part in parts]
    if len({(array.dtype, array.shape[1:]) for array in values}) > 1:
        return None
    known = [each for each in lengths if each is not None]
    if known and len(known) < len(parts):  # numbers and arrays
        return None
    return Column(np.concatenate(values), np.concatenate(known) if known else None)


class Answers(Sequence[Answer]):
    """Answers to one step, ascending by client: pairs of a turn and named arrays.

    Parameters
    ----------
    clients : list of int
        Partition ids, ascending.
    turn : callable
        Returns the turn of a client.
    batch : Batch
        What they sent.
    """

    def __init__(self, clients: list[int], turn: Callable[[int], Turn], batch: Batch) -> None:
        self.clients = clients
        self.turn = turn
        self.batch = batch

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> Self:
        """Return answers given one by one."""
        listed = list(answers)
        turns = {turn.client: turn for turn, _ in listed}
        return cls(list(turns), turns.__getitem__, Batch([arrays for _, arrays in listed]))

    @classmethod
    def joined(cls, parts: Sequence[Answers], turn: Callable[[int], Turn]) -> Answers:
        """Return the answers of all parts, part after part."""
        clients = [client for part in parts for client in part.clients]
        return Answers(clients, turn, Batch.joined([part.batch for part in parts]) if parts else Batch([]))

    @property
    def columns(self) -> Columns | None:
        """The arrays side by side; None unless they are alike."""
        return self.batch.columns

    @property
    def stacks(self) -> Arrays | None:
        """Every array with one axis more in front; None unless all answers are of one shape."""
        return self.batch.stacks

    def stacked(self, forms: Mapping[str, npt.DTypeLike]) -> Arrays | None:
        """Return :attr:`stacks` if these are the names of all arrays and their dtypes, else None."""
        if (stacks := self.stacks) is None or stacks.keys() != forms.keys():
            return None
        return stacks if all(stacks[name].dtype == dtype for name, dtype in forms.items()) else None

    def without(self, clients: Mapping[int, object]) -> Answers:
        """Return the answers of all others."""
        if not clients:
            return self
        kept = [at for at, client in enumerate(self.clients) if client not in clients]
        each = self.batch.each
        return Answers([self.clients[at] for at in kept], self.turn, Batch([each[at] for at in kept]))

    def scaled(self, factors: npt.NDArray[np.float64]) -> Answers:
        """Return every answer times its factor; factors have shape (n_answers,)."""
        if (columns := self.columns) is not None:
            batch = Batch(columns={name: column.scaled(factors) for name, column in columns.items()})
        else:
            pairs = zip(self.batch.each, factors.tolist(), strict=True)
            batch = Batch([{name: array * by for name, array in answer.items()} for answer, by in pairs])
        return Answers(self.clients, self.turn, batch)

    def __len__(self) -> int:
        return len(self.clients)

    def __iter__(self) -> Iterator[Answer]:
        return zip(map(self.turn, self.clients), self.batch.each, strict=True)

    @overload
    def __getitem__(self, at: int) -> Answer: ...
    @overload
    def __getitem__(self, at: slice) -> Answers: ...
    def __getitem__(self, at: int | slice) -> Answer | Answers:
        if isinstance(at, slice):
            return Answers(self.clients[at], self.turn, Batch(self.batch.each[at]))
        return self.turn(self.clients[at]), self.batch.each[at]


def batch_of(answers: Sequence[Answer]) -> Batch:
    """Return the arrays of answers."""
    return answers.batch if isinstance(answers, Answers) else Batch([arrays for _, arrays in answers])
