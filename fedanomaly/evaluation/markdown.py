"""Numbers, lists and aligned tables in plain Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

UNDEFINED_TEXT = "undefined"

_WHOLE = frozenset({"rows", "frauds", "tp", "fp", "tn", "fn", "alerts", "bytes_up", "bytes_down", "round"})
_NUMBER = re.compile(rf"-?[\d.,]+|{UNDEFINED_TEXT}")
_MONEY = frozenset({"amount_at_stake", "amount_lost", "cost"})


def number(name: str, value: float | None) -> str:
    """Return a metric's value as a reader wants it: counts whole, rates to four places, never ``nan``."""
    if value is None or math.isnan(value):
        return UNDEFINED_TEXT
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if name in _WHOLE:
        return f"{value:,.0f}"
    if name in _MONEY:
        return f"{value:,.2f}"
    if name == "seconds":
        return f"{value:.2f}"
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.2g}"


def percent(value: float) -> str:
    """Return a share as a percentage with three significant digits, more where it nears 100 %."""
    if math.isnan(value):
        return UNDEFINED_TEXT
    hundredths = 100 * value
    if 99 <= hundredths < 100:
        return f"{math.floor(hundredths * 1000) / 1000:.3f} %"
    return f"{hundredths:.3g} %"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an aligned table: columns of numbers to the right, all others to the left."""
    cells = [[_cell(value) for value in line] for line in (header, *rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(3, *map(len, column)) for column in columns]
    right = [
        i > 0 and all(_NUMBER.match(cell) for cell in column[1:] if cell) for i, column in enumerate(columns)
    ]

    def line(values: Sequence[str]) -> str:
        padded = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (w - 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(cells[0]), line(rule), *(line(values) for values in cells[1:])])


def bullets(sentences: Iterable[str]) -> str:
    """Return a list, one sentence an item."""
    return "\n".join(f"- {_one_line(sentence)}" for sentence in sentences)


def settings(values: Mapping[str, object]) -> str:
    """Return a table of names and values, each value in code."""
    return table(["option", "value"], ([name, f"`{_one_line(value)}`"] for name, value in values.items()))


def _cell(value: object) -> str:
    return _one_line(value).replace("|", "\\|")


def _one_line(value: object) -> str:
    return " ".join(str(value).split())
