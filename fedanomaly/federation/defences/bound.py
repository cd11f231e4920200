"""Contribution bounds: no client weighs much more than the median client."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.arrays import Array
from fedanomaly.federation.defences.base import DEFENCES, Defence


@DEFENCES.register("bound")
class Bound(Defence):
    """Weigh every client by its declared rows, but by at most ``strength`` times the median client's.

    What a client declares nobody can verify; that most clients tell the truth can be assumed. Applies
    to shares of trees, to sums (an answer of a client that declares too much is scaled down, whole
    numbers rounded) and to the weights of weight averages.
    """

    title = "no client weighs more than twice the median client"
    strength_is = "times the median number of rows"
    default_strength = 2.0
    lowest_strength = 1.0
    sees_answers = True

    def shares(self, rows: Array) -> Array:
        """Return declared rows, cut at the bound."""
        present = rows[rows > 0]
        if not len(present):
            return rows
        most = max(1, int(np.ceil(self.strength * float(np.median(present)))))
        return np.asarray(np.minimum(rows, most), dtype=np.int64)
