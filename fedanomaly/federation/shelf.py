"""A cache bounded by bytes: what came last stays."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Shelf(Generic[Key, Value]):
    """Keeps values while they fit; then those kept for longest go.

    Parameters
    ----------
    capacity : int
        Bytes; the value put last is kept even if it alone is larger.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """Return what is kept under ``key``, or None."""
        kept = self._kept.get(key)
        return None if kept is None else kept[0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep ``value``, which takes ``size`` bytes, under a key that is not there yet."""
        self._kept[key] = value, size
        self._bytes += size
        while self._bytes > self.capacity and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self._bytes = 0
