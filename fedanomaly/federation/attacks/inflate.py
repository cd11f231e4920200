"""Inflated sizes: a client that claims many times the rows it has."""

from __future__ import annotations

import math

import numpy as np

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import UserError
from fedanomaly.federation.attacks.base import ATTACKS, Attack, with_rows
from fedanomaly.prepare import Rows

_MOST_ROWS = 50_000_000


@ATTACKS.register("inflate")
class InflateAttack(Attack):
    """Declare ``strength`` times as many rows, and answer as if they were there.

    The rows are repeated, so every answer fits the declaration and no check can find it out. It buys
    weight, not harm: joined with another attack (``noise+inflate``) it gives that one the majority.
    """

    title = "declares many times its rows (repeated), joined with another attack: noise+inflate"
    strength_is = "how many times the rows"
    default_strength = 10.0
    lowest_strength = 1.0

    def rows(self, train: Rows, frauds: Array, generator: np.random.Generator) -> Rows:
        """Return the rows, repeated."""
        wanted = math.ceil(self.strength * len(train))
        if wanted > _MOST_ROWS:
            raise UserError(f"--attack inflate:{self.strength:g} would make {wanted} rows; lower it")
        repeated = np.arange(wanted) % len(train)
        return with_rows(train, train.X[repeated], train.y[repeated])
