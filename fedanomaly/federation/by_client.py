"""Figures by client, worked out when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from fedanomaly.evaluation import Metrics

ALL = "all"


class ByClient(Mapping[str, Metrics]):
    """Figures by client (``"0"``, ``"1"``, ...) and, under ``"all"``, of all clients together.

    Each client's are worked out when the first of them is wanted: a study of a thousand clients that
    keeps ``all`` alone does not pay for them.

    Parameters
    ----------
    clients : sequence of int
        Partition ids.
    each : callable
        Returns the figures of each client, in this order.
    together : dict of str to float
        Those of all clients; empty: there are none.
    """

    def __init__(
        self, clients: Sequence[int], each: Callable[[], Iterable[Metrics]], together: Metrics
    ) -> None:
        self._clients = clients
        self._work_out = each
        self._together = together

    @cached_property
    def _each(self) -> dict[str, Metrics]:
        return dict(zip(map(str, self._clients), self._work_out(), strict=True))

    def __getitem__(self, client: str) -> Metrics:
        return self._together if client == ALL and self._together else self._each[client]

    def __iter__(self) -> Iterator[str]:
        yield from map(str, self._clients)
        if self._together:
            yield ALL

    def __len__(self) -> int:
        return len(self._clients) + bool(self._together)

    def __or__(self, other: ByClient) -> ByClient:
        """Return the figures of both, which are of the same clients."""

        def each() -> Iterator[Metrics]:
            for client in map(str, self._clients):
                yield self[client] | other[client]

        return ByClient(self._clients, each, self._together | other._together)
