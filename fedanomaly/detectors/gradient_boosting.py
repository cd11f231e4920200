"""Gradient boosting on labels with xgboost (an optional extra), bagged over clients round by round."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Array, Arrays, under_prefix, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays, UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import CollectStep, Step
from fedanomaly.detectors import _params
from fedanomaly.detectors._boosted_trees import BoostedTrees, trees_of
from fedanomaly.detectors._forest_union import trees_this_round
from fedanomaly.detectors._labels import Labels, labels_at_client, labels_of
from fedanomaly.detectors.base import (
    DETECTORS,
    Aggregation,
    Detector,
    Scores,
    check_params,
    features_of,
    shares_of,
)

MAX_DELTA = 5.0
"""Largest leaf before the learning rate, in log-odds: it bounds what one client's tree can say."""


class BoostStep(CollectStep):
    """Every client grows some trees on its own rows, from where the common model stands."""

    name = "boost"

    def __init__(self, detector: GradientBoosting, n_trees: int) -> None:
        self.detector = detector
        self.n_trees = n_trees

    def request(self, state: Arrays) -> Arrays:
        """Return the model so far."""
        return {name: array for name, array in state.items() if name.startswith("boosted/")}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the client's new trees."""
        before = under_prefix(request, "boosted")
        model = BoostedTrees.from_arrays(before) if before else BoostedTrees.none(X.shape[1])
        if model.n_features != X.shape[1]:
            raise InvalidArrays(f"the model is over {model.n_features} features, the rows have {X.shape[1]}")
        return self.detector.grow(X, labels_at_client(X, y), model.odds(X), self.n_trees).to_arrays()

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept this round's number of whole trees, no deeper and no louder than the parameters allow."""
        trees = BoostedTrees.from_arrays(answer)
        if len(trees) != self.n_trees or bool((trees.share != 1.0).any()):
            raise InvalidArrays(f"expected {self.n_trees} trees of share 1, got {len(trees)}")
        if trees.n_features != (known := features_of(state) or trees.n_features):
            raise InvalidArrays(f"trees are over {trees.n_features} features, expected {known}")
        if int(trees.sizes.max()) > (most := 2 ** (self.detector.max_depth + 1) - 1):
            raise InvalidArrays(f"a tree has {trees.sizes.max()} nodes, at most {most} fit into its depth")
        loudest = float(np.abs(trees.value[trees.feature < 0]).max())
        if loudest > (bound := MAX_DELTA * self.detector.learning_rate * (1 + 1e-6)):
            raise InvalidArrays(f"a leaf says {loudest:g}, the limit is {bound:g}")

    def combine(self, state: Arrays, answers: Sequence[Answer]) -> Arrays:
        """Add the mean of the clients' trees, weighted by rows."""
        weights = [int(shares_of(state)[turn.client]) for turn, _ in answers]
        shares = [weight / sum(weights) for weight in weights]
        new = [BoostedTrees.from_arrays(answer) for _, answer in answers]
        parts = list(zip(new, shares, strict=True))
        if "boosted/sizes" in state:
            parts.insert(0, (BoostedTrees.from_arrays(under_prefix(state, "boosted")), 1.0))
        return with_prefix(BoostedTrees.join(parts).to_arrays(), "boosted")


class Bagging(Aggregation):
    """Each round, every client boosts the common model on its own rows, and the server bags the trees.

    After Flower's ``FedXgbBagging``. That sums the clients' trees, so that K clients step K times too
    far unless each learns K times slower; here a tree counts by its client's share of the rows, and
    the new model lies between those the clients would have. Trees travel as checked plain arrays
    instead of xgboost's own format, which the server would have to trust.
    """

    name = "bagging"
    title = "every client boosts the common model on its own rows; the server averages the new trees"
    leaks = "split thresholds and leaf values of trees grown on a client's own rows and labels"
    source = "Chen and Guestrin 2016; Flower's FedXgbBagging"

    detector: GradientBoosting

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Grow this round's part of ``n_estimators`` trees a client."""
        n_trees = trees_this_round(self.detector.n_estimators, server_round, rounds)
        return (BoostStep(self.detector, n_trees),) if n_trees else ()

    def model(self, state: Arrays) -> Arrays:
        """Return all trees."""
        if "boosted/sizes" not in state:
            raise FederationError("no client has sent a tree yet")
        return under_prefix(state, "boosted")


@DETECTORS.register("gradient-boosting")
class GradientBoosting(Detector):
    """Gradient-boosted trees as a detector: a supervised reference, which needs labels and xgboost.

    The score is minus the log-odds of an anomaly. Beside it a reader sees what labels are worth; it
    only knows anomalies like those labelled. Fitted on labels of one class it scores every row alike.
    Values are compared as float32.

    Parameters
    ----------
    n_estimators : int, default=100
        Boosting steps, 1 to 10,000; in a federation all rounds together, one tree a client and step.
    max_depth : int, default=6
        Depth of a tree, 1 to 16.
    learning_rate : float, default=0.1
        Shrinkage of every tree, in (0, 1].
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags log-odds above 0.

    Attributes
    ----------
    trees_ : BoostedTrees
        The model.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    Notes
    -----
    One thread, histograms of 256 bins, no sampling: one set of rows, one model. Leaves are bounded
    (``max_delta_step``).

    References
    ----------
    Chen and Guestrin (2016), XGBoost: a scalable tree boosting system. Flower's ``FedXgbBagging``.

    Examples
    --------
    >>> from fedanomaly.detectors import GradientBoosting
    >>> X = [[float(i)] for i in range(40)]
    >>> GradientBoosting(n_estimators=20).fit(X, [i >= 30 for i in range(40)]).predict([[3], [38]])
    array([ 1, -1])
    """

    name = "gradient-boosting"
    title = "Gradient-boosted trees on labels (supervised reference; needs xgboost)"
    default_scaling = "none"
    supervised = True
    compiled = importlib.util.find_spec("xgboost") is not None  # elsewhere it cannot be tried out
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {Bagging.name: Bagging}

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_depth: int = 6,
        learning_rate: float = 0.1,
        contamination: str | float = "auto",
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.contamination = contamination

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on rows of shape (n_samples, n_features) and labels ``y`` (1 = anomaly) in one place.

        Raises
        ------
        ValueError
            If ``y`` or xgboost is missing, a parameter is out of its range, or ``X`` is not a table
            of finite numbers.
        """
        self._check_params()
        _xgboost()
        rows: Array = validate_data(self, X, dtype=np.float64, order="C")
        labels = labels_of(self.name, rows, y)
        self.trees_ = BoostedTrees.none(rows.shape[1])
        if 0 < int(labels.sum()) < len(labels):
            self.trees_ = self.grow(rows, labels, np.zeros(len(rows)), self.n_estimators)
        self.offset_ = 0.0
        if self.contamination != "auto":
            self.offset_ = float(np.percentile(-self.trees_.odds(rows), 100.0 * float(self.contamination)))
        return self

    def fit_predict(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
        """Fit on rows and labels and return -1 for the rows flagged, else 1."""
        return self.fit(X, y).predict(X)

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return minus the log-odds of an anomaly, shape (n_samples,): the lower, the more abnormal."""
        check_is_fitted(self, "trees_")
        return -self.trees_.odds(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def grow(self, X: Array, y: Labels, start: npt.NDArray[np.float64], n_trees: int) -> BoostedTrees:
        """Return ``n_trees`` new trees on rows whose log-odds stand at ``start`` (n_rows,)."""
        xgboost = _xgboost()
        limit = float(np.finfo(np.float32).max)
        rows = np.clip(X, -limit, limit).astype(np.float32)
        data = xgboost.DMatrix(rows, label=y, base_margin=start, missing=np.nan, nthread=1)
        booster = xgboost.train(
            {
                "objective": "binary:logistic",
                "tree_method": "hist",
                "max_depth": int(self.max_depth),
                "learning_rate": float(self.learning_rate),
                "max_delta_step": MAX_DELTA,
                "base_score": 0.5,
                "nthread": 1,
                "verbosity": 0,
            },
            data,
            num_boost_round=int(n_trees),
        )
        return trees_of(bytes(booster.save_raw("json")), X.shape[1])

    def to_arrays(self) -> Arrays:
        """Return the trees as named arrays."""
        check_is_fitted(self, "trees_")
        return self.trees_.to_arrays()

    def load(self, arrays: Arrays) -> Self:
        """Take over trees, in place; ``offset_`` becomes 0. Needs no xgboost, and neither does scoring."""
        self.trees_ = BoostedTrees.from_arrays(arrays)
        self.offset_ = 0.0
        self.n_features_in_ = self.trees_.n_features
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.estimator_type = None  # to scikit-learn an outlier detector is one that needs no labels
        return tags

    def _check_params(self) -> None:
        trees, depth, rate = self.n_estimators, self.max_depth, self.learning_rate
        check_params(
            n_estimators=_params.whole(trees, 1),
            max_depth=_params.whole(depth, 1),
            learning_rate=(rate, isinstance(rate, Real) and 0 < float(rate) <= 1, "in (0, 1]"),
            contamination=_params.contamination(self.contamination),
        )
        check_params(
            n_estimators=(trees, int(trees) <= 10_000, "at most 10,000"),
            max_depth=(depth, int(depth) <= 16, "at most 16"),
        )


def _xgboost() -> Any:
    """Return the module, or raise :class:`UserError` that says how to get it."""
    try:
        import xgboost
    except ImportError:
        raise UserError(
            "gradient-boosting needs xgboost, which is not installed: pip install 'fedanomaly[boost]'"
        ) from None
    return xgboost
