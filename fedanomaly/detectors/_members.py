"""Several detectors at once: their names, their federated parts, and their scores on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require_only, under_prefix, with_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.core.steps import Step
from fedanomaly.detectors._prefixed import Part, Select
from fedanomaly.detectors._received import LARGE
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector
from fedanomaly.detectors.references import fit_keyed

Floats = npt.NDArray[np.float64]
Fitted = dict[str, Detector]

MEMBERS = "isolation-forest+hbos+one-class-svm+lof"
"""Four detectors that err differently: by splits, by histograms, by a kernel, by neighbours."""

CLIP = (-3.0, 8.0)
"""Bounds of a standard score: no member decides alone, and a row's normality cannot outvote an alarm."""


def names_of(members: Any) -> tuple[str, ...]:
    """Return the registered names in ``members``, a sequence or a text joined by ``+`` or commas.

    Raises
    ------
    ValueError
        If there are fewer than two, one comes twice, is unknown, needs labels, or has no way in
        which clients build it without averaged weights.
    """
    text = members.replace(",", "+").split("+") if isinstance(members, str) else members
    if not isinstance(text, Sequence) or not all(isinstance(name, str) for name in text):
        raise ValueError(f"members must be names of detectors, e.g. {MEMBERS!r}, got {members!r}")
    names = tuple(name.strip() for name in text)
    if len(names) < 2 or len(set(names)) != len(names):
        raise ValueError(f"members must be two or more different detectors, got {members!r}")
    for name in names:
        _way_of(DETECTORS.get(name))
    return names


def _way_of(detector: type[Detector]) -> type[Aggregation]:
    """Return a member's best aggregation that can run inside another one."""
    if detector.supervised:
        raise ValueError(f"{detector.name} cannot be a member: it needs labels")
    if "members" in detector().get_params():
        raise ValueError(f"{detector.name} cannot be a member: it has members itself")
    for way in detector.aggregations.values():
        if way.weights or way.personal or way.ships_rows:
            continue
        if type(way(detector()).blank()) is detector:
            return way
    raise ValueError(f"{detector.name} cannot be a member: clients build it by averaged weights only")


def members_of(members: Any, random_state: int | None) -> Fitted:
    """Return the unfitted members by name; each gets a seed of its own."""
    unfitted = {}
    for name in names_of(members):
        cls = DETECTORS.get(name)
        seed = int(keyed_generator(random_state or 0, "member", name).integers(2**31 - 1))
        unfitted[name] = cls(**({"random_state": seed} if "random_state" in cls().get_params() else {}))
    return unfitted


def parts_of(unfitted: Fitted, select: Select | None = None, rows: str = "rows") -> list[Part]:
    """Return the members' aggregations, to run inside another one."""
    return [
        Part(f"member/{name}", _way_of(type(detector))(detector), select, rows)
        for name, detector in unfitted.items()
    ]


def side_by_side(steps: Sequence[Sequence[Step]]) -> list[Step]:
    """Return all members' steps one after another."""
    return [step for of_member in steps for step in of_member]


def models_of(parts: Sequence[Part], state: Arrays) -> Arrays:
    """Return all members' arrays, each under ``member/<name>/``."""
    return {
        name: array for part in parts for name, array in with_prefix(part.model(state), part.prefix).items()
    }


def load_members(unfitted: Fitted, arrays: Mapping[str, Array], others: set[str]) -> Fitted:
    """Return the fitted members in ``arrays``.

    Raises
    ------
    InvalidArrays
        If a member's arrays are not a model, the members' features differ in number, or there are
        arrays that are neither a member's nor among ``others``.
    """
    fitted, known = {}, set(others)
    for name, detector in unfitted.items():
        model = under_prefix(arrays, f"member/{name}")
        known |= set(with_prefix(model, f"member/{name}"))
        fitted[name] = type(detector)(**detector.get_params()).load(model)
    require_only(arrays, known)
    if len({detector.n_features_in_ for detector in fitted.values()}) != 1:
        raise InvalidArrays("the members differ in their number of features")
    return fitted


def fit_members(unfitted: Fitted, X: Array, random_state: int | None) -> Fitted:
    """Return the members, each fitted on rows in one place (a sample, where it takes no more)."""
    return {
        name: fit_keyed(detector, X, keyed_generator(random_state or 0, "fit member", name))[0]
        for name, detector in unfitted.items()
    }


def abnormality(fitted: Fitted, X: Array) -> Floats:
    """Return minus each member's score, shape (n_rows, n_members): the higher, the more abnormal."""
    columns = [np.clip(-detector.score_samples(X), -LARGE, LARGE) for detector in fitted.values()]
    return np.stack(columns, axis=1)


def standard(raw: Floats, location: Floats, spread: Floats) -> Floats:
    """Return clipped standard scores, shape (n_rows, n_members), in :data:`CLIP`."""
    return np.clip((raw - location) / spread, *CLIP)
