"""Logistic regression on labels: what labels are worth, by any Flower strategy for weights."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays, require
from fedanomaly.core.errors import FederationError
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import Step, WeightsStep
from fedanomaly.detectors import _params
from fedanomaly.detectors._labels import ClassCounts, labels_at_client, labels_of
from fedanomaly.detectors._logistic import LogisticModel, check_weights, fit_exactly, received_weights
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector, Scores, check_params, features_of


class LogisticStep(WeightsStep):
    """Local gradient steps on the class-weighted logistic loss.

    The weights of the classes come from the counts over all clients. So a client that holds one
    class only pulls as hard as its rows weigh, no more.
    """

    name = "logistic"

    def __init__(self, detector: LogisticRegression) -> None:
        self.detector = detector

    def initial(self, state: Arrays) -> Arrays:
        """Return zeros."""
        n_features = features_of(state)
        if n_features is None:
            raise FederationError("the number of features is not known")
        return LogisticModel(np.zeros(n_features), 0.0).to_arrays()

    def request(self, state: Arrays) -> Arrays:
        """Return the numbers of normal rows and anomalies over all clients."""
        return {"classes": state["classes"]}

    def answer(self, request: Arrays, X: Array, y: Array | None, turn: Turn) -> Arrays:
        """Return the weights after the local steps; unchanged where nobody has one of the classes."""
        alpha = float(self.detector.alpha)
        model, mu = received_weights(request, X.shape[1], alpha)
        classes = require(request, "classes", kind="i", shape=(2,), low=0)
        labels = labels_at_client(X, y)
        if classes.all():
            weight = classes.sum() / (2.0 * classes) if self.detector.class_weight else np.ones(2)
            model = model.improved(X, labels, weight[labels] / len(X), alpha, mu)
        return model.to_arrays()

    def check(self, state: Arrays, answer: Arrays, turn: Turn) -> None:
        """Accept weights inside the ball where the optimum lies."""
        check_weights(answer, features_of(state), float(self.detector.alpha))

    def finish(self, state: Arrays, weights: Arrays) -> Arrays:
        """Keep the aggregated weights, put back into the ball: a strategy's momentum may have left it."""
        plain = {name: np.asarray(array, dtype=np.float64).reshape(-1) for name, array in weights.items()}
        model = LogisticModel.from_arrays(plain).inside(float(self.detector.alpha))
        return {f"logistic/{name}": array for name, array in model.to_arrays().items()}


class AveragedWeights(Aggregation):
    """Logistic regression by rounds of averaged weights (FedAvg; McMahan et al. 2017)."""

    name = "fedavg"
    title = "logistic regression by averaged weights; any Flower strategy's name instead of fedavg"
    leaks = "numbers of normal and anomalous rows, then after every round the client's own weights"
    source = "McMahan et al. 2017"
    weights: ClassVar[bool] = True

    detector: LogisticRegression

    def setup(self) -> Sequence[Step]:
        """Count the classes."""
        return (ClassCounts(),)

    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Take gradient steps at the clients."""
        return (LogisticStep(self.detector),)

    def model(self, state: Arrays) -> Arrays:
        """Return the current weights."""
        if "logistic/coef" not in state:
            raise FederationError("no weights have been averaged yet")
        return {name: state[f"logistic/{name}"] for name in ("coef", "intercept")}


@DETECTORS.register("logistic-regression")
class LogisticRegression(Detector):
    """Logistic regression as a detector: a supervised reference, which needs labels.

    The score is minus the log-odds of an anomaly. Beside it a reader sees what labels are worth; it
    only knows anomalies like those labelled. Fitted on labels of one class it scores every row alike.

    Parameters
    ----------
    alpha : float, default=1e-3
        Strength of the penalty ``alpha ||w||^2 / 2`` on the mean loss, above 0.
    class_weight : {'balanced', None}, default='balanced'
        Whether the two classes weigh the same however few anomalies there are.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags log-odds above 0.

    Attributes
    ----------
    model_ : LogisticModel
        Weights.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    See Also
    --------
    sklearn.linear_model.LogisticRegression : The same model (``C = 1 / (alpha * n_rows)``).

    References
    ----------
    McMahan et al. (2017), Communication-efficient learning of deep networks from decentralized data.

    Examples
    --------
    >>> from fedanomaly.detectors import LogisticRegression
    >>> detector = LogisticRegression().fit([[0.0], [0.1], [0.2], [3.0]], [0, 0, 0, 1])
    >>> detector.predict([[0.0], [4.0]])
    array([ 1, -1])
    """

    name = "logistic-regression"
    title = "Logistic regression on labels (supervised reference)"
    default_scaling = "standard"
    supervised = True
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {AveragedWeights.name: AveragedWeights}

    def __init__(
        self,
        *,
        alpha: float = 1e-3,
        class_weight: str | None = "balanced",
        contamination: str | float = "auto",
    ) -> None:
        self.alpha = alpha
        self.class_weight = class_weight
        self.contamination = contamination

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on rows of shape (n_samples, n_features) and labels ``y`` (1 = anomaly) in one place.

        Raises
        ------
        ValueError
            If ``y`` is missing, a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        self._check_params()
        rows: Array = validate_data(self, X, dtype=np.float64, order="C")
        labels = labels_of(self.name, rows, y)
        self.model_ = LogisticModel(np.zeros(rows.shape[1]), 0.0)
        if 0 < int(labels.sum()) < len(labels):
            balanced = self.class_weight is not None
            self.model_ = fit_exactly(np.clip(rows, -_LARGE, _LARGE), labels, float(self.alpha), balanced)
        self.offset_ = 0.0
        if self.contamination != "auto":
            scores = -self.model_.decision(rows)
            self.offset_ = float(np.percentile(scores, 100.0 * float(self.contamination)))
        return self

    def fit_predict(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
        """Fit on rows and labels and return -1 for the rows flagged, else 1."""
        return self.fit(X, y).predict(X)

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return minus the log-odds of an anomaly, shape (n_samples,): the lower, the more abnormal."""
        check_is_fitted(self, "model_")
        return -self.model_.decision(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def to_arrays(self) -> Arrays:
        """Return ``coef`` and ``intercept``."""
        check_is_fitted(self, "model_")
        return self.model_.to_arrays()

    def load(self, arrays: Arrays) -> Self:
        """Take over weights, in place; ``offset_`` becomes 0."""
        self.model_ = LogisticModel.from_arrays(arrays)
        self.offset_ = 0.0
        self.n_features_in_ = len(self.model_.coef)
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.estimator_type = None  # to scikit-learn an outlier detector is one that needs no labels
        return tags

    def _check_params(self) -> None:
        good = isinstance(self.alpha, Real) and 1e-9 <= float(self.alpha) <= 1e9
        check_params(
            alpha=(self.alpha, good, "from 1e-9 to 1e9"),
            class_weight=(self.class_weight, self.class_weight in ("balanced", None), "'balanced' or None"),
            contamination=_params.contamination(self.contamination),
        )


_LARGE = 1e30  # what scikit-learn's solver takes
