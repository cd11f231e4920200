"""A cache bounded by bytes: what came last stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Group = TypeVar("Group", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Shelf(Generic[Group, Key, Value]):
    """Keeps values while they fit; then those kept for longest go.

    Parameters
    ----------
    capacity : int
        Bytes; the value put last is kept even if it alone is larger.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: dict[Group, dict[Key, Value]] = {}  # two levels: the inner one is looked up fastest
        self._order: deque[tuple[Group, Key, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._order)

    def get(self, group: Group, key: Key) -> Value | None:
        """Return what is kept under ``key`` in ``group``, or None."""
        kept = self._kept.get(group)
        return None if kept is None else kept.get(key)

    def put(self, group: Group, key: Key, value: Value, size: int) -> None:
        """Keep ``value``, which takes ``size`` bytes, under a key that is not there yet."""
        self._kept.setdefault(group, {})[key] = value
        self._order.append((group, key, size))
        self._bytes += size
        while self._bytes > self.capacity and len(self._order) > 1:
            oldest, gone, freed = self._order.popleft()
            del self._kept[oldest][gone]
            self._bytes -= freed
            if not self._kept[oldest]:
                del self._kept[oldest]

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self._order.clear()
        self._bytes = 0
