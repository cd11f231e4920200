"""Hostile clients: who they are, and what they do in the client's verbs; one file an attack.

Adding one is adding a file and an import here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.chains import parse_chain
from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.core.steps import Step
from fedanomaly.federation.attacks.base import ATTACKS, Attack
from fedanomaly.federation.attacks.flood import FloodAttack
from fedanomaly.federation.attacks.forged_trees import ForgedTrees, InvertedTrees
from fedanomaly.federation.attacks.inflate import InflateAttack
from fedanomaly.federation.attacks.noise import NoiseAttack
from fedanomaly.federation.attacks.scale import ScaleAttack
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.layout import layout
from fedanomaly.prepare import TRAIN, ClientRows, apply_scaling

if TYPE_CHECKING:
    from fedanomaly.federation.plan import Plan


def registered() -> dict[str, type[Attack]]:
    """Return every attack by name."""
    return ATTACKS.registered()


def hostile_clients(config: RunConfig) -> tuple[int, ...]:
    """Return who is hostile, ascending: ``attackers`` times the number of clients, rounded, by the seed.

    With a larger share the same clients are hostile and some more.
    """
    if not config.attack:
        return ()
    return _chosen(config.seed, config.clients, config.attackers)


@lru_cache(maxsize=32)
def _chosen(seed: int, clients: int, share: float) -> tuple[int, ...]:
    order = keyed_generator(seed, "attackers").permutation(clients)
    return tuple(sorted(int(client) for client in order[: int(share * clients + 0.5)]))


@lru_cache(maxsize=32)
def make_attacks(text: str) -> tuple[tuple[str, Attack], ...]:
    """Return what ``--attack`` names, in order.

    Raises
    ------
    UserError
        If a name is unknown or a strength impossible.
    """
    attacks = []
    for name, strength in parse_chain(text, "--attack"):
        cls = ATTACKS.get(name)
        value = cls.default_strength if strength is None else strength
        if value < cls.lowest_strength:
            raise UserError(f"--attack {name}: {cls.strength_is} must be at least {cls.lowest_strength:g}")
        attacks.append((name, cls(value)))
    return tuple(attacks)


def check_attack(config: RunConfig, plan: Plan) -> None:
    """Refuse an attack that is unknown, or that would change nothing in this run."""
    steps = [step for number in range(1, plan.rounds + 1) for step in plan.steps("round", number)]
    for name, attack in make_attacks(config.attack):
        if not attack.forges(steps):
            raise UserError(
                f"--attack {name} would change nothing: {plan.detector.name} built by "
                f"{plan.aggregation.name} sends nothing of that kind ({attack.title})"
            )


def poisoned(config: RunConfig, rows: ClientRows, client: int) -> ClientRows:
    """Return the rows a client works with: its own, or what its attack makes of them."""
    if not config.attack or client not in hostile_clients(config):
        return rows
    return _poisoned(config, client, rows)


def tampered(config: RunConfig, step: Step, request: Arrays, answer: Arrays, X: Array, turn: Turn) -> Arrays:
    """Return what a client sends: its answer, or what its attack makes of it."""
    if not config.attack or turn.client not in hostile_clients(config):
        return answer
    frauds = apply_scaling(_frauds(config), request)
    for _, attack in make_attacks(config.attack):
        answer = attack.answer(step, answer, X, frauds, turn)
    return answer


@lru_cache(maxsize=64)
def _poisoned(config: RunConfig, client: int, rows: ClientRows) -> ClientRows:
    train = rows.train
    for name, attack in make_attacks(config.attack):
        train = attack.rows(train, _frauds(config), keyed_generator(config.seed, "attack", name, client))
    return replace(rows, train=train)


@lru_cache(maxsize=4)
def _frauds(config: RunConfig) -> Array:
    """Return the training frauds that the hostile clients hold together."""
    held = layout(config)
    parts = [held.indices[client] for client in hostile_clients(config)]
    own = np.unique(np.concatenate([part[held.folds[part] == TRAIN] for part in parts]))
    frauds = own[held.table.y[own] == 1]
    return np.asarray(held.table.X[frauds], dtype=np.float64)


__all__ = [
    "ATTACKS",
    "Attack",
    "FloodAttack",
    "ForgedTrees",
    "InflateAttack",
    "InvertedTrees",
    "NoiseAttack",
    "ScaleAttack",
    "check_attack",
    "hostile_clients",
    "make_attacks",
    "poisoned",
    "registered",
    "tampered",
]
