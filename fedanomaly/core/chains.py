"""Options that name several components: ``NAME:NUMBER+NAME``."""

from __future__ import annotations

import math

from fedanomaly.core.errors import UserError


def parse_chain(text: str, option: str) -> list[tuple[str, float | None]]:
    """Return names with their numbers, in order; None where there is no number.

    Parameters
    ----------
    text : str
        For example ``noise:0.5+inflate``.
    option : str
        Name of the option, for messages.

    Raises
    ------
    UserError
        If a part has no name or what follows its colon is no finite number.

    Examples
    --------
    >>> parse_chain("noise:0.5+inflate", "--attack")
    [('noise', 0.5), ('inflate', None)]
    """
    parsed: list[tuple[str, float | None]] = []
    for part in text.split("+") if text else []:
        name, colon, number = (piece.strip() for piece in part.partition(":"))
        try:
            value = float(number) if colon else None
        except ValueError:
            value = math.nan
        if not name or (value is not None and not math.isfinite(value)):
            raise UserError(f"{option} takes NAME or NAME:NUMBER, joined by +; cannot read {part.strip()!r}")
        parsed.append((name, value))
    return parsed
