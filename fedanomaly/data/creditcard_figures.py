"""Figures of the genuine credit-card data, carried in ``creditcard_figures.json`` (figures, never rows).

``benchmarks/creditcard_figures.py`` computes them from a genuine sample. JSON, because a Flower app
bundle carries no other data files.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COMPONENTS = 28
FEATURES = (*(f"V{i}" for i in range(1, COMPONENTS + 1)), "Amount")
_LOW, _HIGH, _SD, _TIME, _SHIFT, _SCALE = range(6)  # columns of the table "features"


@cache
def _tables() -> dict[str, Any]:
    text = (files("fedanomaly.data") / "creditcard_figures.json").read_text("utf-8")
    return dict(json.loads(text))


@cache
def _figures(name: str, skip: int = 0) -> Floats:
    """Return a table of figures without its first ``skip`` columns; read-only."""
    rows = [row[skip:] for row in _tables()[name]["rows"]]
    table: Floats = np.array(rows, dtype=np.float64)
    table.setflags(write=False)
    return table


def published_ranges() -> tuple[Floats, Floats]:
    """Return the smallest and the largest value of each feature in the whole file, shape (29,)."""
    features = _figures("features", skip=1)
    return features[:, _LOW], features[:, _HIGH]


def standard_deviations() -> Floats:
    """Return the standard deviations of V1 to V28 in legitimate rows, shape (28,)."""
    return _figures("features", skip=1)[:COMPONENTS, _SD]


def time_correlations() -> Floats:
    """Return each feature's rank correlation with Time in legitimate rows, shape (29,)."""
    return _figures("features", skip=1)[:, _TIME]


def hidden_frauds() -> tuple[Floats, Floats]:
    """Return shift and scale of the frauds inside the legitimate cloud, against it, shape (28,)."""
    features = _figures("features", skip=1)[:COMPONENTS]
    return features[:, _SHIFT], features[:, _SCALE]


def correlations(kind: str) -> Floats:
    """Return the correlations of the 29 features in ``legitimate`` or (overt) ``fraud`` rows.

    Of values for legitimate V1 to V28, of normal scores for the rest; shape (29, 29).
    """
    return _figures(f"correlation_{kind}")


def quantiles(kind: str) -> tuple[Floats, Floats]:
    """Return probabilities (n,) and V1 to V28 there (n, 28) of ``legitimate`` or (overt) ``fraud`` rows."""
    table = _figures(f"quantiles_{kind}")
    return table[:, 0], table[:, 1:]


def amount_quantiles(kind: str) -> tuple[Floats, Floats]:
    """Return probabilities and amounts of ``legitimate`` or (all) ``fraud`` rows, with their spikes."""
    rows = _tables()["quantiles_amount"]["rows"]
    table = np.array([[p, amount] for of, p, amount in rows if of == kind], dtype=np.float64)
    return table[:, 0], table[:, 1]


def hourly_shares(kind: str) -> Floats:
    """Return the share of ``legitimate`` or ``fraud`` rows in each hour of the day, shape (24,)."""
    shares = _figures("hours")[:, 1 if kind == "legitimate" else 2]
    return np.asarray(shares / shares.sum())
