"""Labels as supervised detectors take them: 1 is a known anomaly, any other number is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length, column_or_1d

from fedanomaly.core.arrays import Array, Arrays, require, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.detectors._received import most_rows

Labels = npt.NDArray[np.int8]


def labels_of(name: str, X: Array, y: Any) -> Labels:
    """Return 1 for the known anomalies among the rows of ``X``, else 0; shape (n_rows,), int8.

    Raises
    ------
    ValueError
        If ``y`` is None, not one number a row, or marks outliers by -1 as ``predict`` does.
    """
    if y is None:
        raise ValueError(f"{name} is supervised: fit requires y to be passed, but the target y is None")
    labels = column_or_1d(y, warn=True)
    check_consistent_length(X, labels)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("Input y contains NaN or infinity; labels are 1 (anomaly) and 0 (normal)")
    if labels.dtype.kind in "if" and set(np.unique(labels).tolist()) == {-1, 1}:
        raise ValueError("labels are 1 (anomaly) and 0 (normal); -1 and 1 is what predict returns")
    return np.asarray(labels == 1, dtype=np.int8)


def labels_at_client(X: Array, y: Array | None) -> Labels:
    """Return a client's labels, int8; raise :class:`InvalidArrays` if it has none."""
    if y is None or len(y) != len(X):
        raise InvalidArrays("a supervised step needs one label a row")
    return np.asarray(y == 1, dtype=np.int8)


class ClassCounts(AdditiveStep):
    """How many normal rows and anomalies there are, over all clients."""

    name = "class-counts"

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return ``classes`` (2,): numbers of normal rows and of anomalies."""
        return {"classes": np.bincount(labels_at_client(X, y), minlength=2).astype(np.int64)}

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept no more rows than the client can have."""
        require_only(answer, {"classes"})
        most = most_rows(state, turn)
        classes = require(answer, "classes", kind="i", shape=(2,), low=0, high=most)
        if classes.dtype != np.int64 or not 1 <= int(classes.sum()) <= most:
            raise InvalidArrays(f"classes must be int64 and add up to 1 to {most} rows, got {classes}")

    def finish(self, state: Arrays, total: Arrays) -> Arrays:
        """Keep the sum."""
        return {"classes": total["classes"]}
