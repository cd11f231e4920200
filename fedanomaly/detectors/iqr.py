"""Distance beyond the quartiles (Tukey 1977), with quartiles found by summed counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.steps import AdditiveStep
from fedanomaly.detectors import _params
from fedanomaly.detectors._additive import AdditiveDetector, Sum, Terms
from fedanomaly.detectors._grid import CountStep, Floats, around_quantiles, brackets
from fedanomaly.detectors._received import LARGE, require_float64
from fedanomaly.detectors.base import DETECTORS, Aggregation, check_params

# the interquartile range, or the next wider one where a feature is mostly one value
_RANGES = ((0.25, 0.75), (0.05, 0.95), (0.01, 0.99), (0.0, 1.0))
_SHARES = tuple(share for ends in _RANGES for share in ends)

# of the distance of a normal variable beyond its quartiles, in interquartile ranges
_NORMAL_MEAN, _NORMAL_DEVIATION = 0.2211, 0.3396


class QuartileSum(Sum):
    """Quartiles by counting ever closer around them: all integer sums."""

    title = "quartiles by integer counts that close in on them in five exchanges, summed"
    leaks = "sums over a client's rows: how many lie in each bin of each feature, closely around 8 quantiles"
    source = "Tukey 1977"

    detector: IQR

    def steps(self) -> Sequence[AdditiveStep]:
        """Count on octaves, then close in on all quantiles."""
        closer = around_quantiles(_SHARES, 64)
        return *([CountStep(closer)] * 4), CountStep()

    def model(self, state: Arrays) -> Arrays:
        """Return the quartiles, and the range in which distances beyond them are measured."""
        lower, upper, scale = np.array(
            [_quartiles(*feature) for feature in zip(state["grid/cuts"], state["grid/counts"], strict=True)]
        ).T
        return {"lower": lower.copy(), "upper": upper.copy(), "scale": scale.copy()}


def _quartiles(cuts: Floats, counts: Array) -> tuple[float, float, float]:
    """Return the quartiles of a feature and the first range that is more than one bin; 1 if none is."""
    low, high = brackets(cuts, counts, _SHARES)
    first, last = (low + (high - low) / 2).reshape(len(_RANGES), 2).T.tolist()
    widths = (end - start for start, end in zip(first, last, strict=True))
    return first[0], last[0], next((width for width in widths if width > 1 / LARGE), 1.0)


@DETECTORS.register("iqr")
class IQR(AdditiveDetector):
    """Distance beyond the quartiles, in interquartile ranges, the mean over features.

    A feature of which both quartiles are the same value is measured in the range from its 5 to its
    95 % quantile, from 1 to 99 %, or from minimum to maximum, whichever is the first that is not zero,
    else in its own units. A quantile is the smallest value with at least that share of rows at or
    below it, to about 2**-24 of its magnitude.

    Parameters
    ----------
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags scores two standard deviations
        below the mean, both as normal and independent features give them.

    Attributes
    ----------
    lower_, upper_ : ndarray of shape (n_features,)
        Quartiles.
    scale_ : ndarray of shape (n_features,)
        Range in which distances are measured.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    References
    ----------
    Tukey (1977), Exploratory data analysis, section 2C (fences).

    Examples
    --------
    >>> from fedanomaly.detectors import IQR
    >>> IQR().fit([[1.0], [2.0], [3.0], [4.0], [5.0]]).score_samples([[3.0], [8.0]]).round(3)
    array([ 0., -2.])
    """

    name = "iqr"
    title = "IQR: distance beyond the quartiles in interquartile ranges"
    default_scaling = "none"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {QuartileSum.name: QuartileSum}

    def __init__(self, *, contamination: str | float = "auto") -> None:
        self.contamination = contamination

    def to_arrays(self) -> Arrays:
        """Return ``lower``, ``upper`` and ``scale``."""
        return {"lower": self.lower_, "upper": self.upper_, "scale": self.scale_}

    def _take_over(self, arrays: Arrays) -> None:
        require_only(arrays, {"lower", "upper", "scale"})
        lower = require_float64(arrays, "lower", (None,))
        upper = require_float64(arrays, "upper", lower.shape)
        scale = require_float64(arrays, "scale", lower.shape, low=1 / LARGE)
        if not len(lower) or (lower > upper).any():
            raise InvalidArrays("array 'lower' is empty or above 'upper'")
        self.lower_, self.upper_, self.scale_ = lower, upper, scale
        self.n_features_in_ = len(lower)
        self.offset_ = -(_NORMAL_MEAN + 2.0 * _NORMAL_DEVIATION / float(np.sqrt(len(lower))))

    def _terms(self, X: Array) -> Terms:
        X = np.clip(X, -1e150, 1e150)
        beyond = np.maximum(np.maximum(self.lower_ - X, X - self.upper_), 0.0)
        return np.asarray(beyond / (self.scale_ * X.shape[1]))

    def _check_params(self) -> None:
        check_params(contamination=_params.contamination(self.contamination))
