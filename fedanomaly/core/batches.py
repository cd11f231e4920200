"""Answers of many clients side by side, so that a thousand small ones are checked in a few operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.steps import Answer


def stacked(answers: Sequence[Answer], forms: Mapping[str, npt.DTypeLike]) -> Arrays | None:
    """Return every array of all answers, one axis more in front; None unless the answers are alike.

    Parameters
    ----------
    answers : sequence of (Turn, dict of ndarray)
        At least one.
    forms : mapping of str to dtype
        The names that all answers have, and no others, and their dtypes. A name's shape is that of
        the first answer.
    """
    first = answers[0][1]
    columns: Arrays = {}
    for name, wanted in forms.items():
        dtype, column = np.dtype(wanted), [answer.get(name) for _, answer in answers]
        shape = getattr(first.get(name), "shape", ())
        for array in column:
            if type(array) is not np.ndarray or array.dtype is not dtype or array.shape != shape:
                return None
        joined: Array = np.concatenate(column if shape else [array.reshape(1) for array in column])  # type: ignore[arg-type, union-attr]
        columns[name] = joined.reshape(len(answers), *shape)
    size = len(forms)
    return columns if all(len(answer) == size for _, answer in answers) else None


def clients_of(answers: Sequence[Answer]) -> npt.NDArray[np.intp]:
    """Return the partition ids of those who answered."""
    return np.array([turn.client for turn, _ in answers], dtype=np.intp)


def within(values: Array, low: npt.ArrayLike, high: npt.ArrayLike) -> bool:
    """Return whether all values lie between bounds that broadcast; no NaN does."""
    return bool(((values >= low) & (values <= high)).all())
