"""Label-blind noise: rows that look like nothing in particular."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.arrays import Array
from fedanomaly.federation.attacks.base import ATTACKS, Attack, with_rows
from fedanomaly.prepare import Rows


@ATTACKS.register("noise")
class NoiseAttack(Attack):
    """Replace rows by noise, uniform between the smallest and largest own value of each feature.

    The attacker needs to know neither labels nor detector. All of feature space then looks inhabited.
    """

    title = "rows replaced by noise, uniform over the range of each feature"
    strength_is = "share of the rows replaced"

    def rows(self, train: Rows, frauds: Array, generator: np.random.Generator) -> Rows:
        """Return rows of which the share ``strength`` is noise."""
        replaced = generator.random(len(train)) < self.strength
        low, high = train.X.min(axis=0), train.X.max(axis=0)
        noise = low + (high - low) * generator.random(train.X.shape)
        return with_rows(train, np.where(replaced[:, None], noise, train.X), np.where(replaced, 0, train.y))
