"""Balancing with imbalanced-learn, for rows on which that is honest; never for a test row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.core.registry import Registry


@dataclass(frozen=True, eq=False)
class Balanced:
    """Rows after balancing.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_features)
        Real rows first, in their order, then the added ones; dtype as given.
    y : ndarray of shape (n_rows,), int8
        1 = anomaly, 0 = normal.
    synthetic : ndarray of shape (n_rows,), bool
        Which rows were added (interpolated or repeated).
    note : str
        A sentence for the report where something other than asked for was done, else empty.
    """

    X: Array
    y: npt.NDArray[np.int8]
    synthetic: npt.NDArray[np.bool_]
    note: str = ""


@dataclass(frozen=True)
class BalanceRequest:
    """What a balancer is asked for: ``ratio`` of anomalies to normal rows, neighbours, seed."""

    ratio: float
    k_neighbors: int
    random_state: int


Balancer = Callable[[Array, Array, BalanceRequest], Balanced]
BALANCERS: Registry[Balancer] = Registry("balancing", "fedanomaly.balancing")


def balance(
    name: str, X: Array, y: Array, *, ratio: float = 1.0, seed: int = 42, k_neighbors: int = 5
) -> Balanced:
    """Return rows of which there are ``ratio`` anomalies for each normal one.

    Parameters
    ----------
    name : str
        ``none``, ``smote``, ``borderline-smote``, ``adasyn`` (rows are added) or ``under`` (normal
        rows are left out).
    X : ndarray of shape (n_rows, n_features)
        Training or calibration rows, scaled.
    y : ndarray of shape (n_rows,)
        1 = anomaly, 0 = normal.
    ratio : float
        Anomalies a normal row afterwards (imbalanced-learn's ``sampling_strategy``), above 0, at
        most 1.
    seed : int
        Keyed by the caller: seed of the run, client, purpose.
    k_neighbors : int
        Neighbours of an anomaly to interpolate towards; lowered where there are too few anomalies.

    Raises
    ------
    UserError
        If there is no such balancing or the ratio is out of range.

    Notes
    -----
    Few anomalies at a client are normal, so they are no error: without any, or with enough already,
    the rows are returned as they are; a single one is repeated; the note says so.
    """
    balancer = BALANCERS.get(name)
    if not 0 < ratio <= 1:
        raise UserError(f"the balance ratio must be above 0 and at most 1, got {ratio}")
    if k_neighbors < 1:
        raise UserError(f"balancing needs at least 1 neighbour, got k_neighbors={k_neighbors}")
    labels = np.asarray(y).astype(np.int8)
    if name == "none":
        return unchanged(X, labels)
    n_anomalies = int((labels == 1).sum())
    n_normal = len(labels) - n_anomalies
    if n_anomalies == 0 or n_normal == 0:
        missing = "anomalies" if n_anomalies == 0 else "normal rows"
        return unchanged(X, labels, f"no {missing} to balance with: rows left as they are")
    if n_anomalies + 1 > ratio * n_normal:
        return unchanged(
            X, labels, f"{n_anomalies} anomalies to {n_normal} normal rows reach the ratio {ratio:g} already"
        )
    random_state = int(keyed_generator(seed, "balance", name).integers(2**31))
    return balancer(X, labels, BalanceRequest(ratio, k_neighbors, random_state))


def unchanged(X: Array, y: Array, note: str = "") -> Balanced:
    """Return rows as they are."""
    return Balanced(X, y, np.zeros(len(y), dtype=bool), note)


BALANCERS.register("none")(lambda X, y, request: unchanged(X, y))


@BALANCERS.register("smote")
def smote(X: Array, y: Array, request: BalanceRequest) -> Balanced:
    """Interpolate between anomalies (Chawla et al. 2002)."""
    from imblearn.over_sampling import SMOTE

    return _oversample(X, y, request, lambda k: SMOTE(k_neighbors=k, **_common(request)))


@BALANCERS.register("borderline-smote")
def borderline_smote(X: Array, y: Array, request: BalanceRequest) -> Balanced:
    """Interpolate from anomalies that lie among normal rows (Han et al. 2005)."""
    from imblearn.over_sampling import BorderlineSMOTE

    m = min(10, len(y) - 1)
    return _oversample(
        X, y, request, lambda k: BorderlineSMOTE(k_neighbors=k, m_neighbors=m, **_common(request))
    )


@BALANCERS.register("adasyn")
def adasyn(X: Array, y: Array, request: BalanceRequest) -> Balanced:
    """Interpolate most where anomalies are surrounded by normal rows (He et al. 2008)."""
    from imblearn.over_sampling import ADASYN

    return _oversample(X, y, request, lambda k: ADASYN(n_neighbors=k, **_common(request)))


@BALANCERS.register("under")
def under(X: Array, y: Array, request: BalanceRequest) -> Balanced:
    """Leave out normal rows at random."""
    from imblearn.under_sampling import RandomUnderSampler

    sampler = RandomUnderSampler(**_common(request))
    sampler.fit_resample(np.empty((len(y), 1)), y)
    kept = np.sort(sampler.sample_indices_)
    return unchanged(X[kept], y[kept])


def _common(request: BalanceRequest) -> dict[str, Any]:
    return {"sampling_strategy": request.ratio, "random_state": request.random_state}


def _oversample(X: Array, y: Array, request: BalanceRequest, make_sampler: Callable[[int], Any]) -> Balanced:
    from imblearn.over_sampling import SMOTE, RandomOverSampler

    n_anomalies = int((y == 1).sum())
    if n_anomalies == 1:
        sampler = RandomOverSampler(**_common(request))
        return _added(X, y, sampler, "the only anomaly was repeated: there is no other to interpolate with")
    k = min(request.k_neighbors, n_anomalies - 1)
    note = "" if k == request.k_neighbors else f"{n_anomalies} anomalies: k_neighbors lowered to {k}"
    try:
        balanced = _added(X, y, make_sampler(k), note)
    except (ValueError, RuntimeError):  # ADASYN raises where no anomaly has a normal neighbour
        balanced = unchanged(X, y)
    if balanced.synthetic.any():
        return balanced
    plain = SMOTE(k_neighbors=k, **_common(request))
    return _added(X, y, plain, "no anomaly has normal neighbours: plain SMOTE was used")


def _added(X: Array, y: Array, sampler: Any, note: str) -> Balanced:
    """Return the result of a sampler that appends rows to those it was given."""
    resampled, labels = sampler.fit_resample(X, y)
    synthetic = np.arange(len(labels)) >= len(y)
    return Balanced(resampled.astype(X.dtype, copy=False), labels.astype(np.int8), synthetic, note)
