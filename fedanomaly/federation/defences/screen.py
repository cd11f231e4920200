"""Screening: a client whose trees or sums are unlike everybody else's is left out, by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import UserError
from fedanomaly.core.steps import AdditiveStep, Step
from fedanomaly.federation.defences.base import DEFENCES, Defence
from fedanomaly.federation.defences.signatures import (
    Floats,
    correlation_distances,
    is_forest,
    mean_values,
    path_sums,
    probe_rows,
    scaled_distances,
)

LEAST = 4
_OF_TREES, _OF_SUMS = 0.1, 0.3
"""Least spread, as a share of the typical distance: among a few equals somebody is always the last."""


@DEFENCES.register("screen")
class Screen(Defence):
    """Compare every contribution with each of the others, and leave out those that stand apart.

    A contribution's signature is what it amounts to: for trees, the path lengths they give to probe
    rows made of all clients' thresholds (over all rounds so far, since one round's few trees say
    little); for sums, the answer divided by its count. The distance of two clients is 1 - correlation
    (trees) or the root mean square difference in robust spreads (sums). A client's score is the median
    of its distances to the others, which fewer than half of the clients cannot decide; it is left
    out where the modified z-score of that (Iglewicz and Hoaglin 1993, section 3.3) exceeds
    ``strength``.

    Notes
    -----
    An honest client whose rows are unlike all others' stands apart as well: the more clients differ,
    the wider the spread and the milder the screen, but no screen can tell rare from hostile.
    """

    title = "trees and sums unlike the other clients' are left out (needs every answer by itself)"
    strength_is = "modified z-score beyond which an answer is left out"
    default_strength = 3.5
    sees_answers = True

    def __init__(self, strength: float) -> None:
        super().__init__(strength)
        self._probes: Floats | None = None
        self._paths: dict[int, Floats] = {}
        self._trees: dict[int, int] = {}

    def suspects(self, step: Step, state: Arrays, answers: Sequence[Answer], seed: int) -> dict[int, str]:
        """Return who stands apart among at least four clients."""
        trees = [(turn, answer) for turn, answer in answers if is_forest(answer) and len(answer["psi"])]
        if trees:
            return self._judged(
                [turn.client for turn, _ in trees], self._of_trees(trees, seed), "trees", _OF_TREES
            )
        if isinstance(step, AdditiveStep):
            declared = state["rows"]
            sums = np.array([mean_values(answer, int(declared[turn.client])) for turn, answer in answers])
            return self._judged(
                [turn.client for turn, _ in answers], scaled_distances(sums), "sums", _OF_SUMS
            )
        return {}

    def _of_trees(self, answers: Sequence[Answer], seed: int) -> Floats:
        if self._probes is None:
            self._probes = probe_rows(answers, seed)
        for turn, answer in answers:
            paths, n_trees = path_sums(answer, self._probes)
            self._paths[turn.client] = self._paths.get(turn.client, 0.0) + paths
            self._trees[turn.client] = self._trees.get(turn.client, 0) + n_trees
        clients = [turn.client for turn, _ in answers]
        return correlation_distances(np.array([self._paths[c] / self._trees[c] for c in clients]))

    def _judged(self, clients: Sequence[int], distances: Floats, what: str, floor: float) -> dict[int, str]:
        if len(clients) < LEAST:
            return {}
        others = ~np.eye(len(clients), dtype=np.bool_)
        apart = np.array([np.median(row[mask]) for row, mask in zip(distances, others, strict=True)])
        typical = float(np.median(apart))
        spread = max(1.4826 * float(np.median(np.abs(apart - typical))), floor * typical, 1e-12)
        z = (apart - typical) / spread
        worst = sorted((i for i in range(len(clients)) if z[i] > self.strength), key=lambda i: -z[i])
        return {
            clients[i]: f"its {what} are unlike the other clients': distance {apart[i]:.3g}, typical "
            f"{typical:.3g}, modified z-score {z[i]:.1f} above {self.strength:g}"
            for i in worst
        }


def check_enough(clients: int) -> None:
    """Refuse to screen where no majority can be told."""
    if clients < LEAST:
        raise UserError(f"--defence screen compares at least {LEAST} clients, got {clients}")
