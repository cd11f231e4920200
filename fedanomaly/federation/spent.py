"""What clients spent on steps: rows, seconds and bytes, a row a client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.evaluation import Metrics
from fedanomaly.federation.by_client import ByClient

SPENT = ("seconds", "bytes_up", "bytes_down")
NAMES = ("rows", *SPENT)


@dataclass(frozen=True, eq=False)
class Spent:
    """What each of several clients spent.

    Attributes
    ----------
    clients : list of int
        Partition ids, ascending.
    values : ndarray of shape (n_clients, 4), float64
        Training rows declared, seconds computed, bytes of the answers, bytes of the requests.
    """

    clients: list[int]
    values: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.clients)

    def without(self, clients: Iterable[int]) -> Spent:
        """Return what all others spent."""
        if not (gone := set(clients)):
            return self
        kept = [at for at, client in enumerate(self.clients) if client not in gone]
        return Spent([self.clients[at] for at in kept], self.values[kept])

    @classmethod
    def joined(cls, parts: Sequence[Spent]) -> Spent:
        """Return what the clients of all parts spent, part after part."""
        values = np.concatenate([np.empty((0, len(NAMES))), *(part.values for part in parts)])
        return cls([client for part in parts for client in part.clients], values)

    def __add__(self, other: Spent) -> Spent:
        """Return what was spent on both of two steps; some clients may have taken part in one alone."""
        if not self.clients:
            return other
        if other.clients == self.clients:
            return Spent(
                self.clients, np.column_stack([self.values[:, 0], self.values[:, 1:] + other.values[:, 1:]])
            )
        clients = sorted({*self.clients, *other.clients})
        values = np.zeros((len(clients), len(NAMES)))
        for part in (self, other):
            at = np.searchsorted(clients, part.clients)
            values[at, 0] = part.values[:, 0]
            values[at, 1:] += part.values[:, 1:]
        return Spent(clients, values)

    def by_client(self, *names: str, together: bool = True) -> ByClient:
        """Return the named figures (default: all) of each client and, if wanted, of all.

        The latter are sums, and how many ``clients`` these are.
        """
        names, columns = self._named(names)
        sums = columns.sum(axis=0).tolist()
        all_: Metrics = {**dict(zip(names, sums, strict=True)), "clients": float(len(self))}

        def each() -> Iterator[Metrics]:
            return (dict(zip(names, row, strict=True)) for row in columns.tolist())

        return ByClient(self.clients, each, all_ if together else {})

    def _named(self, names: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
        wanted = tuple(names) or NAMES
        return wanted, self.values[:, [NAMES.index(name) for name in wanted]]


NOTHING = Spent([], np.empty((0, len(NAMES))))
