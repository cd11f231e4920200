"""Scores of rows in a forest: on the quickest path that this machine has, on several threads.

All paths give the same numbers to the bit. ``FEDANOMALY_PORTABLE=1`` in the environment leaves out
whatever not every machine can do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from joblib import effective_n_jobs  # type: ignore[import-untyped]  # scikit-learn comes with it

from fedanomaly.core.arrays import Array
from fedanomaly.detectors import _forest_kernels, _vectors
from fedanomaly.detectors._trees import Forest

_CHUNK = 4_096  # rows that a thread takes at a time: whole blocks, and less than a millisecond
_FEW = 64  # rows for which a block of 256 is not worth its while


def forest_scores(X: Array, forest: Forest, n_jobs: int | None) -> npt.NDArray[np.float64] | None:
    """Return each row's score, -2 ** -(mean leaf value), or None if a value of ``X`` is not finite.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features), float32 or float64
        C-contiguous.
    forest : Forest
    n_jobs : int or None
        Threads, this one among them, as joblib reads it; the compiled loops run side by side.
    """
    X = X.view()
    X.flags.writeable = False  # numba compiles anew for arrays that differ in this
    scores = np.empty(len(X))
    mean_leaf_values = _path(forest, len(X))
    starts = iter(range(0, len(X), _CHUNK))

    def work() -> bool:
        """Take chunks until none is left; return whether all values were finite."""
        finite = True
        for start in starts:
            of_chunk = scores[start : start + _CHUNK]
            finite &= mean_leaf_values(X[start : start + _CHUNK], of_chunk)
            np.negative(of_chunk, out=of_chunk)  # in place: memory that is new takes longer than the power
            np.exp2(of_chunk, out=of_chunk)
            np.negative(of_chunk, out=of_chunk)
        return finite

    helpers = 0 if len(X) <= _CHUNK else effective_n_jobs(n_jobs) - 1
    if not helpers:
        return scores if work() else None
    with ThreadPoolExecutor(helpers) as pool:
        others = [pool.submit(work) for _ in range(helpers)]
        finite = [work(), *(other.result() for other in others)]
    return scores if all(finite) else None


def _path(forest: Forest, n_rows: int) -> Callable[[Array, Array], bool]:
    """Return the function that writes mean leaf values and tells whether all values are finite."""
    values = forest.leaf_values
    if n_rows >= _FEW and _vectors.supported() and os.environ.get("FEDANOMALY_PORTABLE", "0") in ("", "0"):
        from fedanomaly.detectors import _forest_masks

        if (program := forest.program) is not None:
            return lambda X, out: bool(
                _forest_masks.score(
                    X,
                    program.starts,
                    program.nodes,
                    program.places,
                    program.leaf_places,
                    program.leaf_values,
                    out,
                )
            )
    return lambda X, out: bool(_forest_kernels.score(X, forest.nodes, values, out))
