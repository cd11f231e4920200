"""Random numbers keyed by (seed, round, client, purpose): one seed, one result, whatever runs first."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


def keyed_generator(seed: int, *key: int | str) -> np.random.Generator:
    """Return a generator that depends on ``seed`` and ``key`` alone.

    Parameters
    ----------
    seed : int
        The seed of the run.
    *key : int or str
        What the numbers are for; two different keys give independent streams.

    Returns
    -------
    numpy.random.Generator
        A counter-based generator (Philox; Salmon et al. 2011) under the SHA-256 of the key.
    """
    digest = hashlib.sha256(repr((int(seed), *key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


@lru_cache(maxsize=64)
def shared_words(seed: int, purpose: str, count: int) -> npt.NDArray[np.uint64]:
    """Return the first numbers, read-only, that :meth:`Turn.shared_generator` draws: once a process."""
    words = _shared(seed, purpose).integers(0, 2**64, size=count, dtype=np.uint64)
    words.flags.writeable = False
    return words


class Turn(NamedTuple):
    """Who answers, when: the key of all randomness in a step.

    Parameters
    ----------
    seed : int
        The seed of the run.
    server_round : int
        0 for the set-up steps, then 1 to ``rounds``.
    rounds : int
        How many rounds the run has.
    client : int
        Partition id of the client that answers, from 0.
    participants : tuple of int
        Partition ids of all clients asked in this step, ascending; ``client`` is one of them.
    """

    seed: int
    server_round: int
    rounds: int
    client: int
    participants: tuple[int, ...]

    def generator(self, purpose: str, *extra: int | str) -> np.random.Generator:
        """Return this client's own generator for ``purpose`` in this round."""
        return keyed_generator(self.seed, "client", self.server_round, self.client, purpose, *extra)

    def shared_generator(self, purpose: str, *extra: int | str) -> np.random.Generator:
        """Return a generator that every client of the run draws the same numbers from."""
        return _shared(self.seed, purpose, *extra)


def _shared(seed: int, *purpose: int | str) -> np.random.Generator:
    return keyed_generator(seed, "shared", *purpose)
