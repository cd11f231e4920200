"""The one sum through which everything additive goes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fedanomaly.core.arrays import Arrays


class SecureSum:
    """A sum of answers that share names, shapes and dtypes.

    The plain sum, in the order given, accumulated in place: memory does not grow with the number
    of clients. Masked and encrypted sums replace this class, and nothing else.

    Attributes
    ----------
    total : dict of ndarray
        The sum so far; empty before the first answer.
    """

    def __init__(self) -> None:
        self.total: Arrays = {}

    def add(self, answer: Arrays) -> None:
        """Add one client's answer, which is not modified."""
        if not self.total:
            self.total = {name: np.array(array) for name, array in answer.items()}
            return
        for name, array in answer.items():
            total = self.total[name]
            np.add(total, array, out=total)


def secure_sum(answers: Iterable[Arrays]) -> Arrays:
    """Return the sum of answers that share names, shapes and dtypes."""
    added = SecureSum()
    for answer in answers:
        added.add(answer)
    return added.total
