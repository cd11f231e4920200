"""The one quantile of the chi-squared distribution that thresholds are made of."""

from __future__ import annotations


def exceeded_by_one_in_20(degrees: float) -> float:
    """Return the 95 % quantile of chi-squared with that many degrees of freedom, a number above 0.

    Of normal rows with that many features, 1 in 20 has a squared Mahalanobis distance beyond it.
    """
    from scipy.special import chdtri  # type: ignore[import-untyped, unused-ignore]

    return float(chdtri(degrees, 0.05))
