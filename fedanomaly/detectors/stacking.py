"""Stacking: unsupervised detectors whose scores a logistic regression learns to weigh from labels."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays, under_prefix
from fedanomaly.detectors import _params
from fedanomaly.detectors._labels import labels_of
from fedanomaly.detectors._logistic import LogisticModel, fit_exactly
from fedanomaly.detectors._members import (
    MEMBERS,
    Fitted,
    abnormality,
    fit_members,
    load_members,
    members_of,
    names_of,
    standard,
)
from fedanomaly.detectors._received import require_float64
from fedanomaly.detectors._score_statistics import location_and_spread, moments, scores_of
from fedanomaly.detectors._stacking_steps import HEAD_ARRAYS, Stacked, equal_weights, for_members
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector, Scores, check_params
from fedanomaly.prepare import BALANCERS, balance

Floats = npt.NDArray[np.float64]


@DETECTORS.register("stacking")
class Stacking(Detector):
    """Stacked detectors: a supervised head on the standard scores of unsupervised members.

    Honest folds: the members are built on one half of the training rows, without labels; their scores
    of the other half, which they have not seen, train the head, balanced by SMOTE. A bit of each row's
    hash decides its half. The head is a logistic regression on the members' standard scores, clipped
    to [-3, 8]; the detector's score is minus its log-odds of an anomaly. Without labels, or where
    the head's rows are all of one class, the head takes the mean of the standard scores instead:
    :class:`Ensemble` with the rule ``z-mean``.

    Parameters
    ----------
    members : str or sequence of str
        As :class:`Ensemble` takes them.
    balance : str or None, default='smote'
        How each client balances the head's rows: ``smote``, ``borderline-smote``, ``adasyn``,
        ``under``, or ``none`` (None too).
    alpha : float, default=1e-3
        Strength of the penalty on the head's weights, above 0.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags log-odds above 0.
    random_state : int or None, default=None
        Seed of the members and of ``fit``'s balancing; ``None`` means 0.

    Attributes
    ----------
    members_ : dict of str to Detector
        Fitted members.
    location_, spread_ : ndarray of shape (n_members,)
        Mean and standard deviation of minus the members' scores.
    head_ : LogisticModel
        Weights of the standard scores.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    See Also
    --------
    Ensemble : The same members, combined without labels.

    References
    ----------
    Wolpert (1992), Stacked generalization. Chawla et al. (2002), SMOTE.

    Examples
    --------
    >>> import numpy as np
    >>> from fedanomaly.detectors import Stacking
    >>> X = np.random.default_rng(0).normal(size=(80, 2))
    >>> X[:8] += 6
    >>> y = np.arange(80) < 8
    >>> detector = Stacking(members="isolation-forest+one-class-svm").fit(X, y)
    >>> detector.predict([[0, 0], [7, 7]])
    array([ 1, -1])
    """

    name = "stacking"
    title = "Stacking: a SMOTE-balanced logistic head on the scores of several detectors (supervised)"
    default_scaling = "standard"
    supervised = True
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {Stacked.name: Stacked}

    def __init__(
        self,
        *,
        members: str | Sequence[str] = MEMBERS,
        balance: str | None = "smote",
        alpha: float = 1e-3,
        contamination: str | float = "auto",
        random_state: int | None = None,
    ) -> None:
        self.members = members
        self.balance = balance
        self.alpha = alpha
        self.contamination = contamination
        self.random_state = random_state

    @property
    def holds_rows(self) -> bool:
        """Whether a member's model, as ``fit`` makes it, holds training rows as they are."""
        return any(member.holds_rows for member in self._unfitted().values())

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on at least 2 rows of shape (n_samples, n_features) and labels ``y`` (1 = anomaly).

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        self._check_params()
        rows: Array = validate_data(self, X, dtype=np.float64, order="C", ensure_min_samples=2)
        labels = np.zeros(len(rows), dtype=np.int8) if y is None else labels_of(self.name, rows, y)
        half = for_members(rows)
        self.members_: Fitted = fit_members(self._unfitted(), rows[half], self.random_state)
        raw, known = scores_of(self.members_, rows[~half]), labels[~half]
        self.location_, self.spread_ = location_and_spread(moments(raw))
        self.head_ = equal_weights(len(self.members_))
        if 0 < int(known.sum()) < len(known):
            Z = standard(raw, self.location_, self.spread_)
            balanced = balance(self.balance or "none", Z, known, seed=self.random_state or 0)
            self.head_ = fit_exactly(balanced.X, balanced.y, float(self.alpha), balanced=False)
        self.offset_ = 0.0
        if self.contamination != "auto" or not labels.any():
            share = 0.05 if self.contamination == "auto" else float(self.contamination)
            self.offset_ = float(np.percentile(self._scores(rows), 100.0 * share))
        return self

    def fit_predict(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
        """Fit on rows and labels and return -1 for the rows flagged, else 1."""
        return self.fit(X, y).predict(X)

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return minus the head's log-odds of an anomaly, shape (n_samples,)."""
        check_is_fitted(self, "head_")
        return self._scores(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def member_scores(self, X: npt.ArrayLike) -> Floats:
        """Return each member's clipped standard score, shape (n_samples, n_members), in [-3, 8].

        In the order of ``members_``; the *higher*, the more abnormal.
        """
        check_is_fitted(self, "head_")
        return self._standard(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def to_arrays(self) -> Arrays:
        """Return the members' arrays, each under ``member/<name>/``, their scores' scale and the head."""
        check_is_fitted(self, "head_")
        models = {
            f"member/{name}/{key}": array
            for name, detector in self.members_.items()
            for key, array in detector.to_arrays().items()
        }
        scale = {"scores/location": self.location_, "scores/spread": self.spread_}
        return {**models, **scale, **{f"head/{key}": array for key, array in self.head_.to_arrays().items()}}

    def load(self, arrays: Arrays) -> Self:
        """Take over members and head, in place; ``offset_`` becomes 0."""
        members = load_members(self._unfitted(), arrays, HEAD_ARRAYS)
        shape = (len(members),)
        location = require_float64(arrays, "scores/location", shape)
        spread = require_float64(arrays, "scores/spread", shape, low=1e-30)
        head = LogisticModel.from_arrays(under_prefix(arrays, "head"))
        require_float64(arrays, "head/coef", shape)
        self.members_, self.location_, self.spread_, self.head_ = members, location, spread, head
        self.offset_ = 0.0
        self.n_features_in_ = next(iter(members.values())).n_features_in_
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    def _unfitted(self) -> Fitted:
        return members_of(self.members, self.random_state)

    def _standard(self, rows: Array) -> Floats:
        return standard(abnormality(self.members_, rows), self.location_, self.spread_)

    def _scores(self, rows: Array) -> Scores:
        return -self.head_.decision(self._standard(rows))

    def _check_params(self) -> None:
        names_of(self.members)
        strength = isinstance(self.alpha, Real) and 1e-9 <= float(self.alpha) <= 1e9
        known = BALANCERS.registered()
        check_params(
            balance=(self.balance, (self.balance or "none") in known, f"one of {', '.join(known)}"),
            alpha=(self.alpha, strength, "from 1e-9 to 1e9"),
            contamination=_params.contamination(self.contamination),
            random_state=_params.seed(self.random_state),
        )
