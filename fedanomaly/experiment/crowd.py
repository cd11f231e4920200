"""Very many clients in a picture: neighbours are drawn as one, and every sum stays what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOST_DRAWN = 100
ADDITIVE = ("tp", "fp", "tn", "fn")


def groups(clients: Sequence[str], most: int = MOST_DRAWN) -> dict[str, list[str]]:
    """Return at most ``most`` groups of neighbouring clients by label; each client alone where they fit."""
    size = -(-len(clients) // most)
    parts = [list(clients[first : first + size]) for first in range(0, len(clients), max(size, 1))]
    return {part[0] if len(part) == 1 else f"{part[0]}-{part[-1]}": part for part in parts}


def summed(
    per_client: Mapping[str, Mapping[str, float]], grouped: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Return the confusion counts of each group; those of clients that were not evaluated count 0."""
    nothing: Mapping[str, float] = {}
    return {
        label: {name: sum(per_client.get(c, nothing).get(name, 0.0) for c in part) for name in ADDITIVE}
        for label, part in grouped.items()
    }


def averaged(rounds: pd.DataFrame, grouped: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return tidy metrics with the mean of each group's clients in place of the clients."""
    labels = {client: label for label, part in grouped.items() for client in part}
    merged = rounds.assign(client=rounds["client"].map(labels).fillna(rounds["client"]))
    keys = ["round", "phase", "client", "metric"]
    return merged.groupby(keys, sort=False)["value"].mean().reset_index()
