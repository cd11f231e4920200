"""An ensemble of detectors: each built in its own best way, their scores put on one scale and combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.errors import FederationError
from fedanomaly.core.steps import Step
from fedanomaly.detectors import _params
from fedanomaly.detectors._members import (
    MEMBERS,
    Fitted,
    abnormality,
    fit_members,
    load_members,
    members_of,
    models_of,
    names_of,
    parts_of,
    side_by_side,
)
from fedanomaly.detectors._score_statistics import TABLE_ARRAYS, ScoreMoments, ScoreTable, ScoreTables
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector, Scores, check_params

Floats = npt.NDArray[np.float64]

_OFFSETS = {"z-mean": -3.0, "weighted": -3.0, "rank-mean": -0.95, "vote": -0.5}
"""Provisional thresholds by rule: three standard deviations, the top twentieth, half of the votes."""

_ALARM = 3.0  # a member votes from here on where no contamination is given


class MembersWay(Aggregation):
    """Every member by its own best aggregation, then two sums over the clients of the members' scores."""

    name = "members"
    title = "every member in its own best way, then histograms of the members' scores, summed"
    leaks = "what each member's own aggregation sends, and histograms and products of the members' scores"
    source = "Aggarwal and Sathe 2017"

    detector: Ensemble

    def __init__(self, detector: Ensemble) -> None:
        super().__init__(detector)
        self.unfitted = members_of(detector.members, detector.random_state)
        self.parts = parts_of(self.unfitted)

    def setup(self) -> Sequence[Step]:
        """Set every member up."""
        return side_by_side([part.setup() for part in self.parts])

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Run every member's round; if any had steps, sum the scores anew."""
        steps = side_by_side([part.round(server_round, rounds) for part in self.parts])
        if steps or server_round == 1:
            steps += [ScoreMoments(self.unfitted, self.parts), ScoreTables(self.unfitted, self.parts)]
        return steps

    def model(self, state: Arrays) -> Arrays:
        """Return the members and the table of their scores."""
        if missing := TABLE_ARRAYS - set(state):
            raise FederationError(f"the members' scores have not been summed yet: {sorted(missing)}")
        return {**models_of(self.parts, state), **{name: state[name] for name in sorted(TABLE_ARRAYS)}}


@DETECTORS.register("ensemble")
class Ensemble(Detector):
    """Several detectors, combined by a rule.

    The safest single choice by mean rank over data sets, and the best on none: an ensemble promises no
    gain over its best member, which nobody knows beforehand. Where members disagree, look twice:
    :meth:`disagreement`.

    Parameters
    ----------
    members : str or sequence of str
        Registered names, two or more, in a sequence or joined by ``+``; each with its default
        parameters. Default: isolation-forest, hbos, one-class-svm and lof.
    rule : {'z-mean', 'rank-mean', 'vote', 'weighted'}, default='z-mean'
        ``z-mean``: mean of the standard scores, clipped to [-3, 8]. ``rank-mean``: mean share of
        training rows found less abnormal. ``vote``: share of members that flag a row, ties ordered
        by mean rank. ``weighted``: the mean of ``z-mean`` with ``weights``.
    weights : 'agreement', str or sequence of float, default='agreement'
        For ``weighted``: one number of at least 0 a member, in a sequence or joined by ``+``;
        ``'agreement'`` weighs a member by its mean correlation with the others, at least 0.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5], also by each member in ``vote``; ``'auto'`` flags
        from a mean of 3 standard deviations, the top twentieth, or half of the votes, by rule.
    random_state : int or None, default=None
        Seed of the members; ``None`` means 0.

    Attributes
    ----------
    members_ : dict of str to Detector
        Fitted members.
    table_ : ScoreTable
        Where their scores of the training rows lie.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    References
    ----------
    Aggarwal and Sathe (2017), Outlier ensembles: an introduction, chapter 5.

    Examples
    --------
    >>> from fedanomaly.detectors import Ensemble
    >>> X = [[0.0], [0.1], [0.2], [0.3], [0.4], [9.0]]
    >>> detector = Ensemble(members="isolation-forest+lof", contamination=0.2).fit(X)
    >>> detector.predict(X)
    array([ 1,  1,  1,  1,  1, -1])
    """

    name = "ensemble"
    title = "Ensemble: clipped-z mean, rank mean, vote or weighted mean of several detectors"
    default_scaling = "standard"
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {MembersWay.name: MembersWay}

    def __init__(
        self,
        *,
        members: str | Sequence[str] = MEMBERS,
        rule: str = "z-mean",
        weights: str | Sequence[float] = "agreement",
        contamination: str | float = "auto",
        random_state: int | None = None,
    ) -> None:
        self.members = members
        self.rule = rule
        self.weights = weights
        self.contamination = contamination
        self.random_state = random_state

    @property
    def holds_rows(self) -> bool:
        """Whether a member's model, as ``fit`` makes it, holds training rows as they are."""
        return any(member.holds_rows for member in self._unfitted().values())

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit every member on at least 2 rows of shape (n_samples, n_features); ``y`` is ignored.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        self._check_params()
        rows: Array = validate_data(self, X, dtype=np.float64, order="C", ensure_min_samples=2)
        self.members_: Fitted = fit_members(self._unfitted(), rows, self.random_state)
        raw = abnormality(self.members_, rows)
        self.table_ = ScoreTable.of(raw)
        self.offset_ = _OFFSETS[self.rule]
        if self.contamination != "auto":
            self.offset_ = float(np.percentile(self._combined(raw), 100.0 * float(self.contamination)))
        return self

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return the combined scores of shape (n_samples,): the lower, the more abnormal."""
        return self._combined(self._raw(X))

    def member_scores(self, X: npt.ArrayLike) -> Floats:
        """Return each member's clipped standard score, shape (n_samples, n_members), in [-3, 8].

        In the order of ``members_``; the *higher*, the more abnormal.
        """
        return self.table_.standard(self._raw(X))

    def disagreement(self, X: npt.ArrayLike) -> Floats:
        """Return the standard deviation over members of each row's rank, shape (n_samples,), in [0, 0.5].

        0: all members place the row alike among the training rows; 0.5: half find it the most normal,
        half the most abnormal.
        """
        return np.asarray(self.table_.ranks(self._raw(X)).std(axis=1))

    def mean_disagreement(self, X: npt.ArrayLike) -> float:
        """Return the mean of :meth:`disagreement` over rows."""
        return float(self.disagreement(X).mean())

    def agreement(self) -> Floats:
        """Return the correlation of the members' clipped standard scores over the training rows.

        Shape (n_members, n_members), in [-1, 1]; known of a federated model too.
        """
        check_is_fitted(self, "table_")
        return self.table_.correlation()

    def member_weights(self) -> Floats:
        """Return the weights of the members, which add up to 1; all alike unless the rule is ``weighted``."""
        check_is_fitted(self, "table_")
        n = len(self.members_)
        given = np.ones(n)
        if self.rule == "weighted":
            numbers = _numbers(self.weights)
            correlation = self.table_.correlation()
            given = (
                np.maximum(0.0, (correlation.sum(axis=1) - 1.0) / (n - 1))
                if numbers is None
                else np.asarray(numbers)
            )
        return np.asarray(given / given.sum() if given.sum() > 0 else np.full(n, 1.0 / n))

    def to_arrays(self) -> Arrays:
        """Return the members' arrays, each under ``member/<name>/``, and the table of their scores."""
        check_is_fitted(self, "table_")
        models = {
            f"member/{name}/{key}": array
            for name, detector in self.members_.items()
            for key, array in detector.to_arrays().items()
        }
        return {**models, **self.table_.to_arrays()}

    def load(self, arrays: Arrays) -> Self:
        """Take over fitted members, in place; ``offset_`` becomes that of ``contamination='auto'``."""
        members = load_members(self._unfitted(), arrays, TABLE_ARRAYS)
        self.members_, self.table_ = members, ScoreTable.from_arrays(arrays, len(members))
        self.offset_ = _OFFSETS[self.rule]
        self.n_features_in_ = next(iter(self.members_.values())).n_features_in_
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    def _unfitted(self) -> Fitted:
        return members_of(self.members, self.random_state)

    def _raw(self, X: npt.ArrayLike) -> Floats:
        check_is_fitted(self, "table_")
        return abnormality(self.members_, validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def _combined(self, raw: Floats) -> Scores:
        if self.rule == "rank-mean":
            return np.asarray(-self.table_.ranks(raw).mean(axis=1))
        if self.rule == "vote":
            return self._votes(raw)
        weighted = self.table_.standard(raw) * self.member_weights()
        return -np.asarray(weighted.sum(axis=1))

    def _votes(self, raw: Floats) -> Scores:
        ranks = self.table_.ranks(raw)
        if self.contamination == "auto":
            votes = self.table_.standard(raw) >= _ALARM
        else:
            votes = ranks >= 1.0 - float(self.contamination)
        # a mean rank is at most 1: it orders rows with equally many votes, and no others
        return np.asarray(-(votes.sum(axis=1) + ranks.mean(axis=1)) / (raw.shape[1] + 1.0))

    def _check_params(self) -> None:
        n = len(names_of(self.members))
        weights = _numbers(self.weights)
        fits = weights is None or (len(weights) == n and min(weights) >= 0 and sum(weights) > 0)
        check_params(
            rule=(self.rule, self.rule in _OFFSETS, f"one of {', '.join(_OFFSETS)}"),
            weights=(self.weights, fits, f"'agreement' or {n} numbers of at least 0, not all 0"),
            contamination=_params.contamination(self.contamination),
            random_state=_params.seed(self.random_state),
        )


def _numbers(weights: Any) -> tuple[float, ...] | None:
    """Return given weights, None for ``'agreement'``, and nothing for what cannot be read."""
    if isinstance(weights, str) and weights == "agreement":
        return None
    parts = weights.replace(",", "+").split("+") if isinstance(weights, str) else weights
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        return (-1.0,)
    return numbers if all(np.isfinite(numbers)) and isinstance(parts, (Sequence, np.ndarray)) else (-1.0,)
