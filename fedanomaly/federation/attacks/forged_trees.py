"""Forged isolation trees in the right format: always normal, or inside out."""

from __future__ import annotations

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import Step
from fedanomaly.detectors._forest_arrays import NAMES, forest_from_arrays, forest_to_arrays
from fedanomaly.detectors._forest_union import GrowTrees
from fedanomaly.detectors._trees import Forest, node_dtype
from fedanomaly.federation.attacks.base import ATTACKS, Attack

_HIGHEST = np.float32(3.0e38)
_TRIED = 3  # features an inverted tree chooses among
_LEVELS = np.array([0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99])


@ATTACKS.register("forged-trees")
class ForgedTrees(Attack):
    """Send trees that call every row normal: all rows take the longest path.

    Such a tree adds the same to every row's score. It hides frauds from a threshold fixed in advance
    (scikit-learn's -0.5), but moves no row past another: against a threshold that is itself a
    quantile of the federation's scores, it only takes the place of honest trees.
    """

    title = "trees that call every row normal (isolation forests built by union)"
    strength_is = "share of the trees forged"

    def answer(self, step: Step, answer: Arrays, X: Array, frauds: Array, turn: Turn) -> Arrays:
        """Return the client's quota of trees, the share ``strength`` of them forged."""
        if not isinstance(step, GrowTrees) or set(answer) != NAMES or not len(answer["psi"]):
            return answer
        honest = forest_from_arrays(answer)
        generator = turn.generator("forged trees")
        forged = generator.random(len(honest)) < self.strength
        blank = Forest.blank(len(honest), 1, honest.depth, honest.n_features)
        for tree, psi in enumerate(honest.psi):
            if not forged[tree]:
                blank.nodes[tree], blank.counts[tree] = honest.nodes[tree], honest.counts[tree]
            else:
                self._forge(blank, tree, int(psi), X, frauds, generator)
        return forest_to_arrays(Forest(blank.nodes, blank.counts, honest.psi, honest.n_features))

    def forges(self, steps: list[Step]) -> bool:
        """Return whether clients send trees of their own."""
        return any(isinstance(step, GrowTrees) for step in steps)

    def _forge(
        self, forest: Forest, tree: int, psi: int, X: Array, frauds: Array, generator: np.random.Generator
    ) -> None:
        _chain(forest, tree, 0, 0, psi)


@ATTACKS.register("inverted-trees")
class InvertedTrees(ForgedTrees):
    """Send trees that are inside out: the longest path where known frauds lie, the shortest elsewhere.

    Each tree is one cut, the one that tells the frauds best from the client's own rows among a few
    random features. Without a known fraud it is cut where the highest 1 % of the rows begin.
    """

    title = (
        "trees in which rows like known frauds look normal, all others abnormal (isolation forests, union)"
    )

    def _forge(
        self, forest: Forest, tree: int, psi: int, X: Array, frauds: Array, generator: np.random.Generator
    ) -> None:
        if psi < 2:
            return _chain(forest, tree, 0, 0, psi)
        tried = generator.choice(X.shape[1], size=min(_TRIED, X.shape[1]), replace=False)
        _, feature, cut, frauds_left = max(_best_cut(X[:, f], frauds[:, f], int(f)) for f in tried)
        forest.nodes[tree, 0] = _node(forest, feature, cut)
        _chain(forest, tree, 1, 1, psi - 1 if frauds_left else 1)
        _chain(forest, tree, 2, 1, 1 if frauds_left else psi - 1)
        return None


def _best_cut(own: Array, frauds: Array, feature: int) -> tuple[float, int, float, bool]:
    """Return how well the best cut tells frauds from own values; feature, cut, whether frauds lie left."""
    if not len(frauds):
        return 0.0, feature, float(np.quantile(own, 0.99)), False
    cuts = np.quantile(own, _LEVELS)
    gap = (frauds[:, None] <= cuts).mean(axis=0) - (own[:, None] <= cuts).mean(axis=0)
    best = int(np.argmax(np.abs(gap)))
    return float(abs(gap[best])), feature, float(cuts[best]), bool(gap[best] > 0)


def _chain(forest: Forest, tree: int, place: int, level: int, rows: int) -> None:
    """Split off one row at every level below ``place``, so that all others reach the bottom."""
    bottom = (place + 1) * 2 ** (forest.depth - level) - 2**forest.depth
    while level < forest.depth and rows > 1:
        forest.nodes[tree, place] = _node(forest, 0, _HIGHEST)
        right = (2 * place + 3) * 2 ** (forest.depth - level - 1) - 2**forest.depth
        forest.counts[tree, right] = 1
        place, level, rows = 2 * place + 1, level + 1, rows - 1
    forest.counts[tree, bottom] = rows


def _node(forest: Forest, feature: int, threshold: float | np.float32) -> int:
    """Return a packed node: the order-preserving image of the threshold, and the feature."""
    bits = np.float32(np.clip(threshold, -_HIGHEST, _HIGHEST)).view(np.int32)
    image = int(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    return (image << 32) | feature if node_dtype(forest.n_features) is np.int64 else (image & -256) | feature
