"""What a forest sees of a value: the order-preserving integer code of its float32, in NumPy.

The same codes as in the compiled loops that grow and score (:mod:`fedanomaly.detectors._forest_kernels`),
so that whatever clients and server say about codes holds for every row that is scored later.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import UserError
from fedanomaly.detectors._trees import node_dtype

Codes = npt.NDArray[np.int32]

LARGEST = 0x7F7FFFFF
"""Code of the largest float32."""

_FLIP = np.int32(0x7FFFFFFF)
_MANTISSA = 23


def node_step(wide: bool) -> int:
    """Return the distance between neighbouring codes that a node, ``wide`` or not, can tell apart."""
    return 1 if wide else 256


def grid_step(n_features: int, bits: int | None) -> int:
    """Return the distance between neighbouring codes that keep ``bits`` of the mantissa (None: all)."""
    return max(node_step(node_dtype(n_features) is np.int64), 1 if bits is None else 1 << (_MANTISSA - bits))


def codes_of(X: Array, step: int) -> Codes:
    """Return the codes of values, shape unchanged, C-contiguous, rounded down to multiples of ``step``.

    Raises
    ------
    UserError
        If a value is missing.
    """
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(X, dtype=np.float32)
    if np.isnan(values).any():
        raise UserError("the rows hold missing values (NaN), which no tree can sort: fill or drop them first")
    image = to_image(values.view(np.int32))
    image[image == -1] = 0  # -0.0
    return np.clip(image, -LARGEST - 1, LARGEST, out=image) & np.int32(-step)


def values_of(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the numbers that codes stand for."""
    return to_image(codes.astype(np.int32)).view(np.float32).astype(np.float64)


def to_image(bits: Codes) -> Codes:
    """Return the order-preserving integer image of float32 bits, or the bits of an image."""
    return np.asarray(bits ^ ((bits >> np.int32(31)) & _FLIP))


def packed(cut: npt.NDArray[np.int64], feature: npt.NDArray[np.int64], wide: bool) -> Array:
    """Return nodes, int64 if ``wide``, else int32: a row whose code is above ``cut`` goes right."""
    return (cut << 32) | feature if wide else (cut | feature).astype(np.int32)


def draw_cuts(
    low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], uniform: npt.NDArray[np.float64], step: int
) -> npt.NDArray[np.int64]:
    """Return thresholds' codes between ``low`` and ``high`` that leave a row on both sides.

    Uniform between the values, then rounded to a grid of at most 1/64 of their distance, as trees
    that grow in one place are: what no row tells apart would only make a tree longer on the wire.
    """
    value = values_of(low) + uniform * (values_of(high) - values_of(low))
    with np.errstate(over="ignore"):
        cut = to_image(value.astype(np.float32).view(np.int32)).astype(np.int64)
    grid = np.full(len(cut), step, dtype=np.int64)
    while (coarser := (grid < (1 << 17)) & ((grid << 7) <= high - low)).any():
        grid[coarser] <<= 1
    return np.asarray(np.maximum(low, np.minimum(cut & -grid, high - step)))
