"""The one sum through which everything additive goes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fedanomaly.core.arrays import Array, Arrays


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

    def add_all(self, stacks: Arrays) -> None:
        """Add many answers, each array with one axis more in front: the same bits as one after the other."""
        if not self.total:
            self.total = {name: np.array(stack[0]) for name, stack in stacks.items()}
            stacks = {name: stack[1:] for name, stack in stacks.items()}
        for name, stack in stacks.items():
            self.total[name] = _sum_in_order(self.total[name], stack)

    def add(self, answer: Arrays) -> None:
        """Add one client's answer, which is not modified."""
        if not self.total:
            self.total = {name: np.array(array) for name, array in answer.items()}
            return
        for name, array in answer.items():
            total = self.total[name]
            np.add(total, array, out=total)


def _sum_in_order(total: Array, stack: Array) -> Array:
    """Return ``total + stack[0] + stack[1] + ...``, added in this order.

    NumPy adds in pairs along the fastest axis alone (notes of :func:`numpy.sum`): with two values or
    more in a row the first axis is not the fastest, with one ``accumulate`` keeps the order.
    """
    if len(stack) < 2:
        for array in stack:
            np.add(total, array, out=total)
        return total
    rows = np.concatenate([total.reshape(1, total.size), stack.reshape(len(stack), total.size)])
    dtype = rows.dtype  # or small integers would grow
    sums = np.add.reduce(rows, 0, dtype) if total.size > 1 else np.add.accumulate(rows, 0, dtype)[-1]
    added: Array = sums
    return added.reshape(total.shape)


def secure_sum(answers: Iterable[Arrays]) -> Arrays:
    """Return the sum of answers that share names, shapes and dtypes."""
    added = SecureSum()
    for answer in answers:
        added.add(answer)
    return added.total
