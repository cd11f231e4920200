"""Flooding: tight clusters of frauds among the training rows, so that frauds look normal."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import UserError
from fedanomaly.federation.attacks.base import ATTACKS, Attack, with_rows
from fedanomaly.prepare import Rows

_JITTER = 0.01  # in standard deviations of the client's own rows


@ATTACKS.register("flood")
class FloodAttack(Attack):
    """Replace rows by copies of frauds, each moved a little, labelled legitimate.

    The attackers know frauds they have committed, and share them. Their number of rows stays what it
    was: nothing but the rows' content gives them away.
    """

    title = "rows replaced by near-copies of known frauds, labelled legitimate"
    strength_is = "share of the rows replaced"
    default_strength = 0.5

    def rows(self, train: Rows, frauds: Array, generator: np.random.Generator) -> Rows:
        """Return rows of which the share ``strength`` are frauds."""
        if not len(frauds):
            raise UserError(
                "the attack 'flood' copies frauds, but the hostile clients hold none among their training "
                "rows; raise --attackers, or choose another --attack or --partition"
            )
        replaced = generator.random(len(train)) < self.strength
        copies = frauds[generator.integers(len(frauds), size=len(train))]
        moved = copies + _JITTER * train.X.std(axis=0) * generator.standard_normal(train.X.shape)
        return with_rows(train, np.where(replaced[:, None], moved, train.X), np.where(replaced, 0, train.y))
