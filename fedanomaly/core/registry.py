"""Names that become options of the command line, rows of the docs and parameters of the contract tests."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from fedanomaly.core.errors import UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """A dictionary of named components that other packages can extend through entry points.

    Parameters
    ----------
    kind : str
        What the entries are, for messages (``"detector"``).
    group : str
        Entry-point group whose modules are imported, once, before the first look-up.

    Notes
    -----
    Registering a name twice is an error: a silent override would change what a published
    configuration means.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._entries: dict[str, T] = {}
        self._plugins_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a component under ``name``."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"the {self.kind} name {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return add

    def registered(self) -> dict[str, T]:
        """Return a copy of all entries, by name, in order of registration."""
        if not self._plugins_loaded:
            self._plugins_loaded = True
            for plugin in entry_points(group=self.group):
                plugin.load()
        return dict(self._entries)

    def get(self, name: str) -> T:
        """Return the entry called ``name``; raise :class:`UserError` that lists the known names."""
        entries = self.registered()
        if name in entries:
            return entries[name]
        close = get_close_matches(name, entries, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UserError(f"unknown {self.kind} {name!r}{hint}; known: {', '.join(entries)}")
