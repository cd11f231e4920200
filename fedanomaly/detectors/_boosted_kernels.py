"""The compiled loop that sends rows down boosted trees; imported on first use, as numba is slow to import."""

from __future__ import annotations

from typing import Any

from numba import njit

Array = Any  # numba infers the types; annotations are for readers


@njit(cache=True, nogil=True, error_model="numpy")
def add_leaves(
    X: Array, starts: Array, left: Array, feature: Array, value: Array, share: Array, total: Array
) -> None:
    """Add to ``total`` (n_rows,) every tree's share times the leaf a row falls into, in order of trees.

    ``left`` is each inner node's left child, counted from the tree's root. Nothing is checked here:
    the arrays come from :meth:`BoostedTrees.from_arrays` or from a booster of this process.
    """
    for t in range(len(starts)):
        start, weight = starts[t], share[t]
        for i in range(len(X)):
            node = start
            while feature[node] >= 0:
                goes_right = X[i, feature[node]] >= value[node]
                node = start + left[node] + goes_right
            total[i] += weight * value[node]
