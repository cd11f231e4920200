"""Train, calibration and test folds, before anything is fitted, whoever holds a row."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.partition.owners import apportion, raise_to

TRAIN, CALIBRATION, TEST = 0, 1, 2

Hashes = npt.NDArray[np.uint64]

_CHUNK = 4096  # rows whose words fit in the cache
# rare rows go where a number needs them most: without an anomaly in the test fold nothing is measured
_FIRST_TO = {0: (TRAIN, TEST, CALIBRATION), 1: (TEST, CALIBRATION, TRAIN)}


def assign_folds(
    X: Array, y: Array, *, seed: int = 42, calibration: float = 0.2, test: float = 0.2
) -> npt.NDArray[np.int8]:
    """Return the fold of each row: 0 train, 1 calibration, 2 test; shape (n_rows,), int8.

    Rows are ranked within their label by a keyed hash of their features and the ranking is cut at
    the shares. So the folds depend on the seed and on which rows there are, neither on their order
    nor on who holds them; equal rows lie in one fold; and the shares of each label's distinct rows are
    exact. (Shares of distinct rows, not of rows: in KDD Cup 99 a single row makes up half of the attacks,
    and cut by rows a test fold may get next to nothing but that one.)

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Features before any scaling.
    y : ndarray of shape (n_rows,)
        1 = anomaly, 0 = normal.
    seed : int
        Seed of the run.
    calibration, test : float
        Shares of the calibration and the test fold, at least 0 and below 1 together; the rest trains.

    Raises
    ------
    UserError
        If the shares are not that.

    Notes
    -----
    Rows with equal features and different labels count as one anomaly row, so that they too share a
    fold. A label with at least as many distinct rows as there are folds occurs in each of them; of
    fewer distinct anomalies the first goes to the test and the next to the calibration fold.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.arange(10.0)[:, None], np.zeros(10, np.int8)
    >>> np.bincount(assign_folds(X, y, seed=1)).tolist()
    [6, 2, 2]
    """
    if not (calibration >= 0 and test >= 0 and math.isfinite(calibration + test) and calibration + test < 1):
        raise UserError(
            f"calibration share {calibration} and test share {test} must be at least 0 and below 1 together"
        )
    shares = np.array([1.0 - calibration - test, calibration, test])
    # unique() sorts, which ranks the distinct rows by their hash
    distinct, group = np.unique(row_hashes(X, seed), return_inverse=True)
    anomalous = np.bincount(group, weights=np.asarray(y) == 1, minlength=len(distinct)) > 0
    fold_of_group = np.empty(len(distinct), dtype=np.int8)
    for label in (0, 1):
        members = np.flatnonzero(anomalous == bool(label))
        fold_of_group[members] = _cut(len(members), shares, _FIRST_TO[label])
    return fold_of_group[group]


def _cut(n_distinct: int, shares: Array, first_to: tuple[int, ...]) -> Array:
    """Return the fold of each distinct row of a label, ranked; shape (n_distinct,)."""
    wanted = [fold for fold in first_to if shares[fold] > 0]
    if n_distinct < len(wanted):
        counts = np.bincount(wanted[:n_distinct], minlength=3)
    else:
        counts = raise_to(apportion(n_distinct, shares), shares > 0)
    return np.repeat(np.arange(3, dtype=np.int8), counts)


def row_hashes(X: Array, seed: int = 0) -> Hashes:
    """Return a 64-bit hash of each row's values, keyed by ``seed``; shape (n_rows,), uint64.

    Equal rows have equal hashes (0.0 and -0.0 are equal), also across tables, clients and processes.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Numeric; taken as float64.
    seed : int
        Another seed gives an unrelated hash.

    Notes
    -----
    The sum, modulo 2**64, of each value's bit pattern plus a random key of its column, mixed by
    the finaliser of SplitMix64 (Steele, Lea and Flood 2014), and mixed once more. Two different rows
    collide with a chance of about 2**-64; among the 285k rows of the credit-card file any do with
    2e-9, among PaySim's 6.4 million with 1e-6. A collision would merely put two rows in one fold.
    Not a cryptographic hash: it hides nothing from someone who can guess a row.
    """
    X = np.asarray(X)
    generator = keyed_generator(seed, "row-hash").bit_generator
    keys = np.asarray(generator.random_raw(X.shape[1]), dtype=np.uint64)
    hashes = np.empty(len(X), dtype=np.uint64)
    for start in range(0, len(X), _CHUNK):
        rows = slice(start, start + _CHUNK)
        words = np.ascontiguousarray(np.asarray(X[rows], dtype=np.float64) + 0.0).view(np.uint64)
        words += keys
        hashes[rows] = _mixed(words).sum(axis=1, dtype=np.uint64)
    return _mixed(hashes)


def _mixed(words: Hashes) -> Hashes:
    """Mix every word in place: each bit of the input changes each bit of the output half the time."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words
