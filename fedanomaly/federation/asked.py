"""Who is asked, and who with whom: the same clients step after step, so it is worked out once."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Arrays

LOTS_A_BLOCK = 8
"""Blocks of clients are shared out in smaller lots: workers end together."""
_LASTING = ("clients", "lots")
_NAMES = (*_LASTING, "participants")
_Whole = npt.NDArray[np.int64]


class Asked:
    """Clients in lots of neighbours.

    Parameters
    ----------
    clients : list of int
        Partition ids, ascending.
    participants : tuple of int
        Of the task.
    block : int
        Clients a block; see :func:`~fedanomaly.privacy.sums.block_size`.

    Attributes
    ----------
    arrays : dict of ndarray
        The form that travels: ``clients``, the number of each one's lot (``lots``), ``participants``.
    """

    def __init__(self, clients: list[int], participants: tuple[int, ...], block: int) -> None:
        ids = np.array(clients, dtype=np.int64)
        few = -(-block // LOTS_A_BLOCK)
        lots = ids // block * LOTS_A_BLOCK + ids % block // few
        self.clients = clients
        self.participants = participants
        self.arrays: Arrays = dict(
            zip(_NAMES, (ids, lots, np.array(participants, dtype=np.int64)), strict=True)
        )

    @classmethod
    def from_arrays(cls, arrays: Arrays, last: Self | None) -> Self:
        """Read the form that travels; what was worked out for ``last`` stands if it asked these clients."""
        if last is not None and all(arrays[name] is last.arrays[name] for name in _LASTING):
            return last._among(arrays["participants"])
        asked = cls.__new__(cls)
        asked.arrays = {name: arrays[name] for name in _NAMES}
        asked.clients = arrays["clients"].tolist()
        asked.participants = tuple(arrays["participants"].tolist())
        return asked

    def among(self, participants: tuple[int, ...]) -> Self:
        """Return the same clients, asked in a task of these participants."""
        same = participants == self.participants
        return self if same else self._among(np.array(participants, dtype=np.int64))

    def _among(self, participants: _Whole) -> Self:
        if participants is self.arrays["participants"]:
            return self
        asked = copy(self)
        asked.arrays = {**self.arrays, "participants": participants}
        asked.participants = tuple(participants.tolist())
        return asked

    @cached_property
    def lots(self) -> _Whole:
        """Numbers of the lots, ascending."""
        return np.unique(self.arrays["lots"])

    @cached_property
    def neighbours(self) -> dict[int, list[int]]:
        """The clients of each lot, by its number."""
        edges = [*np.searchsorted(self.arrays["lots"], self.lots).tolist(), len(self.clients)]
        bounds = zip(self.lots.tolist(), pairwise(edges), strict=True)
        return {lot: self.clients[start:stop] for lot, (start, stop) in bounds}

    @cached_property
    def after(self) -> dict[int, int]:
        """The lot after each; the last has none."""
        return dict(pairwise(self.neighbours))

    @cached_property
    def heads(self) -> set[int]:
        """Numbers of the lots that begin a block."""
        _, firsts = np.unique(block_of(self.lots), return_index=True)
        return set(self.lots[firsts].tolist())


def block_of(lots: _Whole) -> _Whole:
    """Return the number of the block that each lot is part of."""
    return lots // LOTS_A_BLOCK
