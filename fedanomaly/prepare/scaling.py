"""Federated scaling: a step like any other, before the detector's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.registry import Registry
from fedanomaly.core.steps import Step

CENTER, SCALE = "scaling/center", "scaling/scale"
_SMALLEST = 1e-150  # below, a square or a quotient leaves the range of float64

SCALINGS: Registry[type[Step] | None] = Registry("scaling", "fedanomaly.scaling")
SCALINGS.register("none")(None)


def scaling_step(name: str) -> Step | None:
    """Return the step that fits the scaling called ``name`` on the clients' raw training rows.

    Its state entries are ``scaling/center`` and ``scaling/scale``, shape (n_features,), float64,
    scale above 0 (1 for constant features).

    Parameters
    ----------
    name : str
        ``standard``, ``robust``, ``minmax`` or ``none`` (no step).

    Raises
    ------
    UserError
        If there is no such scaling.
    """
    step = SCALINGS.get(name)
    return None if step is None else step()


def apply_scaling(X: npt.ArrayLike, state: Mapping[str, Array]) -> npt.NDArray[np.float64]:
    """Return ``(X - center) / scale``, float64 in C order; ``X`` itself where the state has no scaling.

    Raises
    ------
    InvalidArrays
        If center and scale are not one finite number a feature, or a scale is not above 0.
    """
    rows = np.ascontiguousarray(X, dtype=np.float64)
    if CENTER not in state and SCALE not in state:
        return rows
    arrays = dict(state)
    center = require(arrays, CENTER, kind="f", shape=(rows.shape[1],))
    scale = require(arrays, SCALE, kind="f", shape=(rows.shape[1],), low=0.0)
    if not (scale > 0).all():
        raise InvalidArrays(f"array {SCALE!r} holds zeros")
    scaled = rows - center
    scaled /= scale
    return scaled


def scaling_state(state: Arrays, center: Array, scale: Array) -> Arrays:
    """Return ``state`` with a fitted scaling; a scale of 0 (a constant feature) becomes 1."""
    usable = np.isfinite(scale) & (scale > _SMALLEST)
    return {
        **state,
        CENTER: np.asarray(center, dtype=np.float64),
        SCALE: np.where(usable, scale, 1.0).astype(np.float64),
    }


def require_float64(
    arrays: Arrays, name: str, shape: tuple[int | None, ...], low: float, high: float
) -> npt.NDArray[np.float64]:
    """Return ``arrays[name]`` after checking that it is float64 of that shape and range."""
    received = arrays.get(name)
    if received is not None and received.dtype.kind == "f" and received.dtype != np.float64:
        # first: a bound may not fit in a narrower type
        raise InvalidArrays(f"array {name!r} is {received.dtype}, expected float64")
    return require(arrays, name, kind="f", shape=shape, low=low, high=high)


def declared_rows(state: Arrays, turn: Turn) -> float:
    """Return how many rows client ``turn.client`` may speak for: what it declared, if it did."""
    rows = state.get("rows")
    return float(rows[turn.client]) if rows is not None and turn.client < len(rows) else 2.0**53


def all_declared_rows(state: Arrays, clients: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return :func:`declared_rows` of many clients."""
    if (rows := state.get("rows")) is None:
        return np.full(len(clients), 2.0**53)
    return np.array([rows[client] if client < len(rows) else 2.0**53 for client in clients], dtype=np.float64)
