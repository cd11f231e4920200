"""The contract of a detector, and of a way in which clients build one together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.core.registry import Registry
from fedanomaly.core.steps import Step

Scores = npt.NDArray[np.float64]


class Detector(OutlierMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """A scikit-learn outlier detector whose fitted state is a dict of named arrays.

    ``fit`` is the classical algorithm on rows in one place; ``aggregations`` are the ways in which
    clients build the same kind of model without pooling rows. Scores follow scikit-learn: the
    lower, the more abnormal; ``predict`` gives -1 (outlier) below ``offset_`` and 1 otherwise.

    Attributes
    ----------
    offset_ : float
        Threshold on :meth:`score_samples`, set by ``fit`` from ``contamination`` or by the
        federation's threshold step.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # one line for the docs' table
    default_scaling: ClassVar[str] = "standard"  # "none" where the detector is scale-free
    compiled: ClassVar[bool] = (
        False  # fitting or scoring loads compiled kernels, best before tasks are forked
    )
    supervised: ClassVar[bool] = False
    """``fit`` and the steps learn from labels ``y`` (1 = anomaly): a reference, no like-for-like rival."""

    exact_rows: ClassVar[int | None] = None
    """Most rows ``fit`` may be given as a reference; above that a keyed sample is taken, and said."""

    aggregations: ClassVar[dict[str, type[Aggregation]]]
    """Federated ways to build it, best first. ``score-mean``, ``local``, ... exist for every detector."""

    offset_: float

    @property
    def holds_rows(self) -> bool:
        """Whether a fitted model's arrays hold training rows as they are (support vectors, neighbours)."""
        return False

    @abstractmethod
    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on rows of shape (n_samples, n_features) in one place; ``y`` is for supervised ones."""

    @abstractmethod
    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return the scores of shape (n_samples,): the lower, the more abnormal."""

    def decision_function(self, X: npt.ArrayLike) -> Scores:
        """Return ``score_samples(X) - offset_``: negative for outliers."""
        check_is_fitted(self)
        return self.score_samples(X) - self.offset_

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return -1 for outliers and 1 for inliers, shape (n_samples,)."""
        return np.where(self.decision_function(X) < 0, -1, 1).astype(np.int64)

    @abstractmethod
    def to_arrays(self) -> Arrays:
        """Return the fitted model as named arrays (without ``offset_``)."""

    @abstractmethod
    def load(self, arrays: Arrays) -> Self:
        """Take over a fitted model, in place, and return self.

        Sets every fitted attribute, ``n_features_in_`` included, and ``offset_`` to a provisional
        value. Raises :class:`~fedanomaly.core.errors.InvalidArrays` unless the arrays are whole:
        names, dtypes, shapes, ranges, finiteness, links.
        """


class Aggregation(ABC):
    """One way in which clients build one detector together.

    Parameters
    ----------
    detector : Detector
        Unfitted; carries the hyper-parameters. Never modified.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # one line for the docs' table
    leaks: ClassVar[str]  # one sentence: what leaves a client besides counts
    source: ClassVar[str] = ""  # where it comes from: author and year, for the docs' table
    ships_rows: bool = False  # training rows themselves leave the client
    weights: ClassVar[bool] = False  # its rounds are weights that any Flower strategy can average
    personal: ClassVar[bool] = False  # every client keeps a model and a threshold of its own
    pooled_by: ClassVar[str] = "pooled"  # which aggregation is its reference with all rows in one place
    iterative: ClassVar[bool] = False  # more rounds make the model better (as with weights), not only larger

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def setup(self) -> Sequence[Step]:
        """Return the steps before the first round (landmarks, moments); often none."""
        return ()

    @abstractmethod
    def round(self, server_round: int, rounds: int) -> Sequence[Step]:
        """Return the steps of round ``server_round`` (1 to ``rounds``); may be empty."""

    def blank(self) -> Detector:
        """Return the unfitted detector that :meth:`model` is loaded into: the one that is built."""
        unfitted: Detector = clone(self.detector)
        return unfitted

    @abstractmethod
    def model(self, state: Arrays) -> Arrays:
        """Return the arrays (for :meth:`Detector.load` of :meth:`blank`) that ``state`` amounts to."""

    def personal_model(self, state: Arrays, client: int) -> Arrays:
        """Return the arrays that ``client`` scores with: the common model, unless ``personal``.

        Raises
        ------
        InvalidArrays
            If the client has no model of its own yet.
        """
        return self.model(state)


DETECTORS: Registry[type[Detector]] = Registry("detector", "fedanomaly.detectors")


def rows_of(state: Arrays) -> Array:
    """Return training rows a client, by partition id, int64: ``state["rows"]``, always present."""
    return state["rows"]


def shares_of(state: Arrays) -> Array:
    """Return the rows by which a client's contribution weighs, by partition id, int64.

    Those it declared, unless the server bounds contributions: then ``state["shares"]``, at most as many.
    """
    return state.get("shares", state["rows"])


def features_of(state: Arrays) -> int | None:
    """Return the number of features of every client's rows, ``state["features"]``; None if not stated."""
    return int(state["features"].reshape(-1)[0]) if "features" in state else None


def check_params(**named: tuple[Any, bool, str]) -> None:
    """Raise ``ValueError`` naming the first parameter whose condition is False."""
    for name, (value, ok, expected) in named.items():
        if not ok:
            raise ValueError(f"{name} must be {expected}, got {value!r}")
