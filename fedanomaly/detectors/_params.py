"""Conditions on hyper-parameters that several detectors share, in the form ``check_params`` takes."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

Condition = tuple[Any, bool, str]


def whole(value: Any, low: int) -> Condition:
    """Require an integer of at least ``low``."""
    return value, isinstance(value, Integral) and int(value) >= low, f"an integer of at least {low}"


def between(value: Any, low: int, high: int) -> Condition:
    """Require an integer from ``low`` to ``high``."""
    good = isinstance(value, Integral) and low <= int(value) <= high
    return value, good, f"an integer from {low} to {high}"


def share(value: Any, *, zero: bool) -> Condition:
    """Require a share in [0, 1] or, unless ``zero``, in (0, 1]."""
    good = isinstance(value, Real) and 0 <= float(value) <= 1 and (zero or float(value) > 0)
    return value, good, "in [0, 1]" if zero else "in (0, 1]"


def contamination(value: Any) -> Condition:
    """Require ``'auto'`` or a share in (0, 0.5]."""
    share = isinstance(value, Real) and 0 < float(value) <= 0.5
    return value, share or (isinstance(value, str) and value == "auto"), "'auto' or in (0, 0.5]"


def seed(value: Any) -> Condition:
    """Require an integer of at least 0, or None."""
    good = value is None or (isinstance(value, Integral) and int(value) >= 0)
    return value, good, "an integer of at least 0, or None"
