"""Local outlier factor (Breunig et al. 2000) in novelty mode: on rows, or on what clients send of theirs."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.detectors import _params
from fedanomaly.detectors._local_density import LocalDensities
from fedanomaly.detectors._lof_rows import Exact, Sample
from fedanomaly.detectors._prototypes import Prototypes
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector, Scores, check_params


@DETECTORS.register("lof")
class LocalOutlierFactor(Detector):
    """Local outlier factor that scores new rows.

    ``fit`` keeps all rows as reference points, as scikit-learn's ``LocalOutlierFactor(novelty=True)``
    does. The score is ``-log LOF`` (a federated model's: the mean over its members), so that
    ``-exp(-score_samples(X))`` is scikit-learn's ``score_samples(X)``. Rows are always scored as new
    ones: a training row counts itself among its neighbours.

    Parameters
    ----------
    n_neighbors : int, default=20
        Neighbours that make the locality, at least 1; lowered to the number of points - 1.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags a LOF above 1.5.
    n_prototypes : int, default=100
        Most centroids a client sends (``prototypes``), at least 2.
    min_cluster_size : int, default=3
        Fewest rows a centroid stands for, at least 1.
    max_samples : int, default=256
        Most rows a client ships, and most rows of a member (``sample``), at least 2.
    random_state : int or None, default=None
        Unused: fitting is deterministic; the clients' k-means and samples are keyed by the run's seed.

    Attributes
    ----------
    reference_ : LocalDensities
        Reference points with their densities.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    See Also
    --------
    sklearn.neighbors.LocalOutlierFactor : The same factor, not its logarithm.

    References
    ----------
    Breunig, Kriegel, Ng and Sander (2000), LOF: identifying density-based local outliers.

    Examples
    --------
    >>> from fedanomaly.detectors import LocalOutlierFactor
    >>> detector = LocalOutlierFactor(n_neighbors=2).fit([[-1.1], [0.2], [0.3], [0.5]])
    >>> detector.predict([[0.25], [101.1]])
    array([ 1, -1])
    """

    name = "lof"
    compiled = True
    title = "Local outlier factor: on all rows, on samples, or one a client on its k-means centroids"
    default_scaling = "standard"
    exact_rows = 10_000
    holds_rows = True
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {
        way.name: way for way in (Prototypes, Sample, Exact)
    }

    def __init__(
        self,
        *,
        n_neighbors: int = 20,
        contamination: str | float = "auto",
        n_prototypes: int = 100,
        min_cluster_size: int = 3,
        max_samples: int = 256,
        random_state: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.contamination = contamination
        self.n_prototypes = n_prototypes
        self.min_cluster_size = min_cluster_size
        self.max_samples = max_samples
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on at least 2 rows of shape (n_samples, n_features) in one place; ``y`` is ignored.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        self._check_params()
        rows: Array = validate_data(self, X, dtype=np.float64, order="C", ensure_min_samples=2)
        self.reference_ = LocalDensities.of(rows, self.n_neighbors)
        self.offset_ = _OFFSET
        if self.contamination != "auto":
            scores = -self.reference_.log_factors(rows)
            self.offset_ = float(np.percentile(scores, 100.0 * float(self.contamination)))
        return self

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return ``-log LOF`` (the mean over members), shape (n_samples,): the lower, the more abnormal."""
        check_is_fitted(self, "reference_")
        return -self.reference_.log_factors(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def to_arrays(self) -> Arrays:
        """Return the fitted model as named arrays (without ``offset_``)."""
        check_is_fitted(self, "reference_")
        return self.reference_.to_arrays()

    def load(self, arrays: Arrays) -> Self:
        """Take over a fitted model, in place; ``offset_`` becomes that of a LOF of 1.5."""
        reference = LocalDensities.from_arrays(arrays)
        self.reference_ = reference
        self.offset_ = _OFFSET
        self.n_features_in_ = int(reference.points.shape[1])
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    def _check_params(self) -> None:
        check_params(
            n_neighbors=_params.whole(self.n_neighbors, 1),
            contamination=_params.contamination(self.contamination),
            n_prototypes=_params.whole(self.n_prototypes, 2),
            min_cluster_size=_params.whole(self.min_cluster_size, 1),
            max_samples=_params.whole(self.max_samples, 2),
            random_state=_params.seed(self.random_state),
        )


_OFFSET = -float(np.log(1.5))  # the threshold of the original paper, as scikit-learn's 'auto'
