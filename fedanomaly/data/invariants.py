"""Facts a published file must keep, and what happens when one is broken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError


class Invariants:
    """Checks the facts of one file; refuses it, or notes a warning if variants are accepted.

    Parameters
    ----------
    file : str
        Name of the file, for messages.
    accept_variant : bool
        Note a broken fact instead of refusing the file.

    Attributes
    ----------
    warnings : list of str
        Sentences for the report.
    """

    def __init__(self, file: str, accept_variant: bool) -> None:
        self.file = file
        self.accept_variant = accept_variant
        self.warnings: list[str] = []

    def note(self, sentence: str) -> None:
        """Add a sentence to the report."""
        self.warnings.append(f"{self.file}: {sentence}")

    def require(self, holds: bool, found: str, expected: str) -> None:
        """Check a fact about the whole file; ``found`` says what is there instead."""
        if not holds:
            self._broken(f"{found}, expected {expected}")

    def require_rows(
        self,
        broken: npt.NDArray[np.bool_],
        column: str,
        expected: str,
        *,
        value: Callable[[int], object] | None = None,
        tolerated: float = 0.0,
    ) -> None:
        """Check a fact about every row; up to the share ``tolerated`` of rows may break it.

        ``value`` returns what a row holds, for the message.
        """
        count = int(broken.sum())
        if count <= tolerated * len(broken):
            return
        row = int(np.argmax(broken))
        holds = f" holds {value(row)} and" if value is not None else ""
        more = f" (so do {count - 1:,} other rows)" if count > 1 else ""
        self._broken(f"column {column!r}, row {row + 1}{holds} breaks a published fact{more}: {expected}")

    def _broken(self, sentence: str) -> None:
        if not self.accept_variant:
            raise UserError(
                f"{self.file}: {sentence} (--accept-variant uses the file all the same and says so)"
            )
        self.note(f"accepted though {sentence}")


__all__ = ["Invariants"]
