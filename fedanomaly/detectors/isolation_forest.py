"""Isolation forest (Liu, Ting and Zhou 2008) in flat arrays: quick to grow, to score and to send."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.detectors import _params
from fedanomaly.detectors._forest_arrays import forest_from_arrays, forest_to_arrays
from fedanomaly.detectors._forest_union import Union
from fedanomaly.detectors._trees import MAX_PSI, MAX_TREES, Forest, depth_for
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector, Scores, check_params

_CHUNK = 16_384  # rows a thread scores at a time
_OFFSET = -0.5  # the score of an average row (Liu et al. 2008, section 2)


@DETECTORS.register("isolation-forest")
class IsolationForest(Detector):
    """Isolation forest: rows that random splits isolate early are abnormal.

    Each tree is grown on ``max_samples`` rows drawn without replacement, to a height of at most
    ceil(log2(max_samples)), by splits at random between the minimum and maximum of a random feature
    that varies in the node. The score is ``-2 ** -mean(h_t / c(psi_t))`` over trees t, with the path
    length h_t and each tree's own mean path length c(psi_t), so that trees of clients with different
    numbers of rows can stand in one forest. It lies in [-1, 0]; an average row has -0.5.

    Values are compared as float32, of which up to 256 features keep the upper 24 bits (a relative
    precision of 2**-15), in training and scoring alike; beyond the float32 range they count as its
    largest. Scaling each feature changes next to nothing.

    Parameters
    ----------
    n_estimators : int, default=200
        Number of trees, 1 to 100,000; in a federation all rounds together.
    max_samples : 'auto', int or float, default=256
        Rows a tree: a number from 1 to 4,096, or a share of the rows in (0, 1] that never exceeds
        4,096; ``'auto'`` is 256. Where there are fewer rows, all of them.
    contamination : 'auto' or float, default='auto'
        Share of training rows to flag, in (0, 0.5]; ``'auto'`` flags scores below -0.5.
    random_state : int, RandomState or None, default=None
        Seed of ``fit``.
    n_jobs : int or None, default=None
        Threads that score, as in scikit-learn; results do not depend on it.

    Attributes
    ----------
    forest_ : Forest
        The trees.
    max_samples_ : int
        Most rows a tree was grown on.
    offset_ : float
        Threshold on :meth:`score_samples`.
    n_features_in_ : int
        Number of features.

    See Also
    --------
    sklearn.ensemble.IsolationForest : The same algorithm on linked nodes.

    References
    ----------
    Liu, Ting and Zhou (2008), Isolation forest, ICDM. doi:10.1109/ICDM.2008.17

    Examples
    --------
    >>> from fedanomaly.detectors import IsolationForest
    >>> detector = IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]])
    >>> detector.predict([[0.1], [0], [90]])
    array([ 1,  1, -1])
    """

    name = "isolation-forest"
    title = "Isolation forest: rows that random splits isolate early"
    default_scaling = "none"
    compiled = True
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {Union.name: Union}

    def __init__(
        self,
        *,
        n_estimators: int = 200,
        max_samples: str | int | float = 256,
        contamination: str | float = "auto",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.contamination = contamination
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on rows of shape (n_samples, n_features) in one place; ``y`` is ignored.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        self._check_params()
        rows = self._validated(X, reset=True)
        n_trees = int(self.n_estimators)
        random = check_random_state(self.random_state)
        keys = random.randint(0, 2**64, size=n_trees, dtype=np.uint64)
        self._take_over(self.grow(rows, keys))
        if self.contamination != "auto":
            self.offset_ = float(np.percentile(self._scores(rows), 100.0 * float(self.contamination)))
        return self

    def score_samples(self, X: npt.ArrayLike) -> Scores:
        """Return the scores of shape (n_samples,), in [-1, 0]: the lower, the more abnormal."""
        check_is_fitted(self, "forest_")
        return self._scores(self._validated(X, reset=False))

    def to_arrays(self) -> Arrays:
        """Return the trees as named arrays (format: :mod:`fedanomaly.detectors._forest_arrays`)."""
        check_is_fitted(self, "forest_")
        return forest_to_arrays(self.forest_)

    def load(self, arrays: Arrays) -> Self:
        """Take over trees, in place; ``offset_`` becomes -0.5."""
        self._take_over(forest_from_arrays(arrays))
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    def sample_size(self, n_rows: int) -> int:
        """Return how many of ``n_rows`` rows a tree is grown on."""
        limit = 256
        if isinstance(self.max_samples, Integral):
            limit = int(self.max_samples)
        elif self.max_samples != "auto":
            limit = min(max(1, int(float(self.max_samples) * n_rows)), MAX_PSI)
        return min(limit, n_rows)

    def grow(self, X: Array, keys: npt.NDArray[np.uint64], depth: int = 1) -> Forest:
        """Return one tree a key, grown on rows of ``X``; a tree depends on ``X`` and its key alone.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), float32 or float64
            C-contiguous, finite; at least one row.
        keys : ndarray of shape (n_trees,), uint64
            Random numbers.
        depth : int, default=1
            Least depth of the heap; it is deeper where the sample size needs it.
        """
        from fedanomaly.detectors import _forest_kernels  # numba: only where trees are grown or asked

        psi = self.sample_size(len(X))
        forest = Forest.blank(len(keys), psi, max(depth, depth_for(psi)), X.shape[1])
        _forest_kernels.grow(_read_only(X), keys, psi, forest.depth, forest.nodes, forest.counts)
        return forest

    def _scores(self, X: Array) -> Scores:
        from fedanomaly.detectors import _forest_kernels

        X, forest = _read_only(X), self.forest_
        mean = np.empty(len(X))
        tasks: list[tuple[Any, ...]] = [
            (X[i : i + _CHUNK], forest.nodes, forest.leaf_values, mean[i : i + _CHUNK])
            for i in range(0, len(X), _CHUNK)
        ]
        if len(tasks) == 1:  # joblib alone would take longer than one row
            _forest_kernels.score(*tasks[0])
        else:
            Parallel(n_jobs=self.n_jobs, require="sharedmem")(
                delayed(_forest_kernels.score)(*task) for task in tasks
            )
        return np.asarray(-np.exp2(-mean))

    def _take_over(self, forest: Forest) -> None:
        self.forest_ = forest
        self.max_samples_ = int(forest.psi.max())
        self.n_features_in_ = forest.n_features
        self.offset_ = _OFFSET

    def _validated(self, X: npt.ArrayLike, *, reset: bool) -> Array:
        rows: Array = validate_data(self, X, dtype=[np.float32, np.float64], order="C", reset=reset)
        return rows

    def _check_params(self) -> None:
        trees, samples, jobs = self.n_estimators, self.max_samples, self.n_jobs
        if isinstance(samples, Integral):
            samples_ok = 1 <= int(samples) <= MAX_PSI
        else:
            samples_ok = samples == "auto" or (isinstance(samples, Real) and 0 < float(samples) <= 1)
        check_params(
            n_estimators=(
                trees,
                isinstance(trees, Integral) and 1 <= int(trees) <= MAX_TREES,
                f"an integer from 1 to {MAX_TREES}",
            ),
            max_samples=(
                samples,
                samples_ok,
                f"'auto', an integer from 1 to {MAX_PSI}, or a share in (0, 1]",
            ),
            contamination=_params.contamination(self.contamination),
            n_jobs=(jobs, jobs is None or isinstance(jobs, Integral), "an integer or None"),
        )


def _read_only(X: Array) -> Array:
    """Return a view that cannot be written: numba compiles anew for arrays that differ in this."""
    view = np.asarray(X).view()
    view.flags.writeable = False
    return view
