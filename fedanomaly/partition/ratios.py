"""The share of the anomalies each client gets: the thesis' figures, and the check of those a user gave."""

from __future__ import annotations

import math

from fedanomaly.core.errors import UserError
from fedanomaly.partition.base import PartitionRequest

THESIS_RATIOS = (0.2, 0.3, 0.1, 0.4, 0.5)


def given_ratios(request: PartitionRequest) -> tuple[float, ...]:
    """Return ``request.fraud_ratios`` after checking them (empty if none were given).

    Raises
    ------
    UserError
        If there is not one ratio a client, or a ratio is negative or not finite, or all are zero.
    """
    ratios = request.fraud_ratios
    if not ratios:
        return ()
    if len(ratios) != request.clients:
        raise UserError(
            f"{len(ratios)} fraud ratios were given for {request.clients} clients: give one a client"
        )
    for client, ratio in enumerate(ratios):
        if not (math.isfinite(ratio) and ratio >= 0):
            raise UserError(f"fraud ratio {ratio} of client {client} must be a number of at least 0")
    if not sum(ratios) > 0:
        raise UserError("all fraud ratios are 0: at least one client must hold anomalies")
    if not math.isfinite(sum(ratios)):
        raise UserError("the fraud ratios are too large to add up")
    return ratios
