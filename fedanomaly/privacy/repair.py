"""Sums that noise has made impossible, and the nearest possible ones; costs no privacy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_SHRINKAGES = np.linspace(1.0, 0.0, 41)
_LEAST_VARIANCE = 1e-3  # of the mean variance


def rising_counts(counts: Counts, n: int | None = None) -> Counts:
    """Return counts of ordered bins, shape (n_rows, n_bins), whose running sums rise from 0 to ``n``.

    Taking negative counts for 0 would add rows wherever a bin is empty, and move every quantile:
    running sums have no such bias. They are made to rise by a mean of their largest value so far and
    their smallest value to come, which turns from the second at the low end to the first at the high
    end: so noise in empty bins beyond the rows does not look like rows.

    Parameters
    ----------
    counts : ndarray of shape (n_features, n_bins), int64
        With noise.
    n : int, optional
        What each feature's counts add up to; default: the median feature's sum, at least 1.
    """
    below = np.cumsum(counts, axis=1, dtype=np.float64)
    total = float(max(1, round(float(np.median(below[:, -1]))) if n is None else n))
    below = np.clip(below, 0.0, total)
    below[:, -1] = total
    upper = np.maximum.accumulate(below, axis=1)
    lower = np.minimum.accumulate(below[:, ::-1], axis=1)[:, ::-1]
    share = (upper + lower) / (2.0 * total)
    rising = np.rint(lower + share * (upper - lower)).astype(np.int64)
    return np.asarray(np.diff(rising, axis=1, prepend=0))


def possible_covariance(covariance: Floats) -> Floats:
    """Return a positive definite matrix: variances are lifted, then covariances shrunk as far as it takes.

    The variances survive much noise; of correlations, what noise leaves. In NumPy's own loops: the same
    bits on every machine.
    """
    variance = np.diag(covariance).copy()
    mean = float(np.maximum(variance, 0.0).mean())
    variance = np.maximum(variance, max(_LEAST_VARIANCE * mean, 1e-12))
    scale = np.sqrt(variance)
    correlation = np.clip((covariance + covariance.T) / 2 / np.multiply.outer(scale, scale), -1.0, 1.0)
    for shrinkage in _SHRINKAGES:
        shrunk = shrinkage * correlation
        np.fill_diagonal(shrunk, 1.0)
        if _positive_definite(shrunk):
            break
    return np.asarray(shrunk * np.multiply.outer(scale, scale))


def _positive_definite(matrix: Floats) -> bool:
    """Return whether elimination meets only pivots well above 0."""
    rest = matrix.copy()
    for j in range(len(rest)):
        if rest[j, j] < 1e-4:
            return False
        rest[j + 1 :, j + 1 :] -= np.multiply.outer(rest[j + 1 :, j], rest[j, j + 1 :]) / rest[j, j]
    return True
