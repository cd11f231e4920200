"""Several detectors as one: their scores, made comparable, then the mean or the least abnormal of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays, require_only, with_prefix
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors._received import LARGE, require_float64
from fedanomaly.detectors.base import Aggregation, Detector, Scores, check_params

SMALLEST_SCALE = 1e-12


@dataclass(frozen=True)
class Standard:
    """What makes a detector's scores comparable: their median and interquartile range on training rows.

    Attributes
    ----------
    center : float
        Median.
    scale : float
        Interquartile range; the standard deviation where half of the scores are equal, 1 where all are.
    """

    center: float
    scale: float

    @classmethod
    def of(cls, scores: Scores) -> Self:
        """Return the standard of at least one score."""
        low, center, high = (float(q) for q in np.quantile(scores, [0.25, 0.5, 0.75]))
        least = SMALLEST_SCALE * (1.0 + abs(center))
        widths = (high - low, float(np.std(scores)))
        return cls(center, next((width for width in widths if width > least), 1.0))

    def __call__(self, scores: Scores) -> Scores:
        """Return standardised scores, finite."""
        with np.errstate(over="ignore"):
            return np.asarray(np.clip((scores - self.center) / self.scale, -LARGE, LARGE), dtype=np.float64)

    def to_arrays(self) -> Arrays:
        """Return ``center`` (1,) and ``scale`` (1,)."""
        return {"center": np.array([self.center]), "scale": np.array([self.scale])}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Read the named arrays back; raise :class:`InvalidArrays` unless every score will be finite."""
        center = require_float64(arrays, "center", (1,))
        scale = require_float64(arrays, "scale", (1,), low=SMALLEST_SCALE)
        return cls(float(center[0]), float(scale[0]))


class ScoreEnsemble(Detector):
    """Detectors of one kind that were fitted on different rows, scored together.

    A member's score is standardised by the median and the interquartile range of its scores on its
    own training rows, which makes members comparable whatever rows they saw. ``'mean'`` averages over
    members. ``'min'`` takes the *smallest anomaly*, the highest score: a row is abnormal only if it is
    abnormal for every member. ``fit`` makes an ensemble of one; clients make one of as many members
    as there are clients (``score-mean``, ``score-min``).

    Parameters
    ----------
    detector : Detector
        Unfitted; carries the members' hyper-parameters.
    combine : {'mean', 'min'}, default='mean'
        How a row's anomaly follows from the members'.

    Attributes
    ----------
    members_ : list of Detector
        Fitted.
    standards_ : list of Standard
        One a member.
    offset_ : float
        Threshold on :meth:`score_samples`: the mean of the members' thresholds, standardised.
    n_features_in_ : int
        Number of features.

    Examples
    --------
    >>> from fedanomaly.detectors import LocalOutlierFactor
    >>> ensemble = ScoreEnsemble(LocalOutlierFactor(n_neighbors=2)).fit([[-1.1], [0.2], [0.3], [0.5]])
    >>> ensemble.predict([[0.25], [101.1]])
    array([ 1, -1])
    """

    name = "score-ensemble"
    title = "Standardised scores of several detectors of one kind"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {}

    def __init__(self, detector: Detector, combine: str = "mean") -> None:
        self.detector = detector
        self.combine = combine

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit one member on rows of shape (n_samples, n_features); ``y`` goes to it.

        Raises
        ------
        ValueError
            If ``combine`` is unknown, or the member refuses its parameters or the rows.
        """
        check_params(combine=(self.combine, self.combine in _COMBINE, "'mean' or 'min'"))
        rows: Array = validate_data(self, X, dtype=np.float64, order="C")
        member: Detector = clone(self.detector).fit(rows, y)
        return self._take([member], [Standard.of(member.score_samples(rows))])

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return the scores of shape (n_samples,), in interquartile ranges: the lower, the more abnormal."""
        check_is_fitted(self, "members_")
        rows: Array = validate_data(self, X, reset=False, dtype=np.float64, order="C")
        add = np.add if self.combine == "mean" else np.maximum
        total: Scores | None = None
        for member, standard in zip(self.members_, self.standards_, strict=True):
            scores = standard(member.score_samples(rows))
            total = scores if total is None else add(total, scores)
        assert total is not None, "an ensemble has at least one member"
        return total / len(self.members_) if self.combine == "mean" else total

    def to_arrays(self) -> Arrays:
        """Return ``center`` and ``scale`` (n_members,) and each member's arrays as ``member-<i>/...``."""
        check_is_fitted(self, "members_")
        return join(
            [
                {**standard.to_arrays(), **with_prefix(member.to_arrays(), "model")}
                for member, standard in zip(self.members_, self.standards_, strict=True)
            ]
        )

    def load(self, arrays: Arrays) -> Self:
        """Take over fitted members, in place; ``offset_`` becomes the mean of their provisional ones."""
        center = require_float64(arrays, "center", (None,))
        scale = require_float64(arrays, "scale", (len(center),), low=SMALLEST_SCALE)
        parts: dict[str, Arrays] = {f"member-{number}": {} for number in range(len(center))}
        for name, array in arrays.items():
            head, slash, rest = name.partition("/")
            if slash and head in parts:
                parts[head][rest] = array
            else:
                require_only({name: array}, {"center", "scale"})
        if self.combine not in _COMBINE:
            raise InvalidArrays(f"an ensemble combines scores by 'mean' or 'min', not {self.combine!r}")
        members = [clone(self.detector).load(part) for part in parts.values()]
        if len({member.n_features_in_ for member in members}) != 1:
            raise InvalidArrays("an ensemble needs at least one member, and all over the same features")
        self.n_features_in_ = members[0].n_features_in_
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self._take(
            members, [Standard(*pair) for pair in zip(center.tolist(), scale.tolist(), strict=True)]
        )

    def _take(self, members: list[Detector], standards: list[Standard]) -> Self:
        self.members_, self.standards_ = members, standards
        pairs = zip(members, standards, strict=True)
        self.offset_ = float(np.mean([standard(np.array([member.offset_])) for member, standard in pairs]))
        return self


def join(members: Sequence[Arrays]) -> Arrays:
    """Return the arrays of an ensemble from its members' ``center``, ``scale`` and ``model/...``."""
    joined = {name: np.concatenate([member[name] for member in members]) for name in ("center", "scale")}
    for number, member in enumerate(members):
        for name, array in member.items():
            head, slash, rest = name.partition("/")
            if slash and head == "model":
                joined[f"member-{number}/{rest}"] = array
    return joined


_COMBINE = ("mean", "min")
