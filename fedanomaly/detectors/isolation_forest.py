"""Isolation forest (Liu, Ting and Zhou 2008) in flat arrays: quick to grow, to score and to send."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, NoReturn, Self, TypeGuard

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.detectors import _params
from fedanomaly.detectors._box_trees import CountForest
from fedanomaly.detectors._forest_arrays import forest_from_arrays, forest_to_arrays
from fedanomaly.detectors._forest_count import BOXES, Count
from fedanomaly.detectors._forest_exact import Exact, PooledExact
from fedanomaly.detectors._forest_recount import Recount
from fedanomaly.detectors._forest_union import Union
from fedanomaly.detectors._trees import MAX_PSI, MAX_TREES, Forest, depth_for
from fedanomaly.detectors.base import DETECTORS, Aggregation, Detector, Scores, check_params

_OFFSET = -0.5  # the score of an average row (Liu et al. 2008, section 2)


def _counts(detector: Detector) -> bool:
    """Return True if a detector's trees hold counts that can change, else raise :class:`AttributeError`."""
    if not hasattr(detector, "count_forest_"):
        raise AttributeError("only trees of the aggregation 'count' can add, forget or decay rows")
    return True


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
    grid_bits : int or None, default=None
        Bits of the mantissa, 1 to 23, to which the aggregations ``exact`` and ``count`` round values
        before anything about them leaves a client: 3 keep a value to 1 part in 8. None keeps all that
        nodes can.
    count_box : {'arcsinh', 'minmax'}, default='arcsinh'
        Scale on which the aggregation ``count`` draws thresholds evenly: the values themselves, or the
        inverse hyperbolic sine of the standardised values, for heavy tails.

    Attributes
    ----------
    forest_ : Forest
        The trees.
    count_forest_ : CountForest
        Their counts; only where they come from the aggregation ``count``.
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
    aggregations: ClassVar[dict[str, type[Aggregation]]] = {
        way.name: way for way in (Union, Recount, Exact, Count, PooledExact)
    }

    def __init__(
        self,
        *,
        n_estimators: int = 200,
        max_samples: str | int | float = 256,
        contamination: str | float = "auto",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        grid_bits: int | None = None,
        count_box: str = "arcsinh",
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.contamination = contamination
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.grid_bits = grid_bits
        self.count_box = count_box

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike | None = None) -> Self:
        """Fit on rows of shape (n_samples, n_features) in one place; ``y`` is ignored.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``X`` is not a table of finite numbers.
        """
        from fedanomaly.detectors import _forest_kernels  # numba, as below

        self._check_params()
        rows = self._rows_to_fit(X)
        if not _forest_kernels.all_finite(_read_only(rows)):
            self._refuse(X)
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
        if self._takes_as_it_is(X):  # a row is scored in a fifth of the time that validation takes
            return self._scores(np.asarray(X))
        return self._scores(self._validated(X, reset=False, finite=False))

    def to_arrays(self) -> Arrays:
        """Return the trees as named arrays.

        The format is that of :mod:`fedanomaly.detectors._forest_arrays`, for a forest that counts that of
        :meth:`CountForest.to_arrays <fedanomaly.detectors._box_trees.CountForest.to_arrays>`.
        """
        check_is_fitted(self, "forest_")
        counted: CountForest | None = getattr(self, "count_forest_", None)
        return forest_to_arrays(self.forest_) if counted is None else counted.to_arrays()

    def load(self, arrays: Arrays) -> Self:
        """Take over trees, in place; ``offset_`` becomes -0.5.

        Trees of the aggregation ``count`` keep all their counts, hence :meth:`add`, :meth:`forget` and
        :meth:`decay`; their array ``keys`` tells them from others.
        """
        if "keys" in arrays:
            self._count(CountForest.from_arrays(arrays))
            self.offset_ = _OFFSET
        else:
            self._take_over(forest_from_arrays(arrays))
        self.__dict__.pop("feature_names_in_", None)  # those of an earlier fit
        return self

    @available_if(_counts)  # type: ignore[untyped-decorator]
    def add(self, X: npt.ArrayLike) -> Self:
        """Count more rows, in place: the result is as if they had been there from the start.

        ``add``, ``forget`` and ``decay`` exist where the trees come from the aggregation ``count``, which
        no row has shaped. ``offset_`` stays.
        """
        return self._count(self.count_forest_.add(self._validated(X, reset=False)))

    @available_if(_counts)  # type: ignore[untyped-decorator]
    def forget(self, X: npt.ArrayLike, *, weight: float = 1.0) -> Self:
        """Unlearn rows, in place: the counts become, to the bit, those of a forest that never saw them.

        The box stays, smallest and largest values included.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows that have been counted.
        weight : float, default=1.0
            What they weigh by now: the product of all decays since. After a decay the result is exact
            where factors are powers of 1/2, otherwise to within 1e-6 of a row.

        Raises
        ------
        UserError
            If these rows cannot have been counted; nothing is changed.
        """
        check_params(weight=_share(weight))
        return self._count(self.count_forest_.forget(self._validated(X, reset=False), float(weight)))

    @available_if(_counts)  # type: ignore[untyped-decorator]
    def decay(self, factor: float) -> Self:
        """Let rows seen so far weigh ``factor`` (0 to 1, not 0) times what they did, in place."""
        check_params(factor=_share(factor))
        return self._count(self.count_forest_.decay(float(factor)))

    def sample_size(self, n_rows: int) -> int:
        """Return how many of ``n_rows`` rows a tree is grown on."""
        return min(self.sample_limit(n_rows), n_rows)

    def sample_limit(self, n_rows: int) -> int:
        """Return how many rows a tree may be grown on; only a share depends on ``n_rows``."""
        if isinstance(self.max_samples, Integral):
            return int(self.max_samples)
        if self.max_samples == "auto":
            return 256
        return int(min(max(1, int(float(self.max_samples) * n_rows)), MAX_PSI))

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
        from fedanomaly.detectors._forest_scoring import forest_scores  # numba, as above

        scores = forest_scores(X, self.forest_, self.n_jobs)
        if scores is None:
            self._refuse(X)
        return scores

    def _count(self, counted: CountForest) -> Self:
        """Score with these counts from now on."""
        offset = getattr(self, "offset_", _OFFSET)
        self._take_over(counted.forest())
        self.count_forest_, self.offset_ = counted, offset
        return self

    def _take_over(self, forest: Forest) -> None:
        self.__dict__.pop("count_forest_", None)
        self.forest_ = forest
        self.max_samples_ = int(forest.psi.max())
        self.n_features_in_ = forest.n_features
        self.offset_ = _OFFSET

    def _takes_as_it_is(self, X: object) -> bool:
        """Tell whether ``X`` is an array that validation would pass on unchanged."""
        return _is_plain(X) and X.shape[1] == self.n_features_in_ and not hasattr(self, "feature_names_in_")

    def _rows_to_fit(self, X: npt.ArrayLike) -> Array:
        """Return the rows to fit, which may hold values that are not finite."""
        if not _is_plain(X):
            return self._validated(X, reset=True, finite=False)
        self.__dict__.pop("feature_names_in_", None)  # as validation does, in a twentieth of fit's time
        self.n_features_in_ = X.shape[1]
        return X

    def _refuse(self, X: npt.ArrayLike) -> NoReturn:
        """Raise scikit-learn's sentence about values that are not finite."""
        self._validated(X, reset=False)
        raise ValueError("Input X holds a value that is not finite.")  # which validation overlooked

    def _validated(self, X: npt.ArrayLike, *, reset: bool, finite: bool = True) -> Array:
        rows: Array = validate_data(
            self, X, dtype=[np.float32, np.float64], order="C", reset=reset, ensure_all_finite=finite
        )
        return rows

    def _check_params(self) -> None:
        trees, samples, jobs = self.n_estimators, self.max_samples, self.n_jobs
        grid = self.grid_bits
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
            grid_bits=(
                grid,
                grid is None or (isinstance(grid, Integral) and 1 <= int(grid) <= 23),
                "an integer from 1 to 23, or None",
            ),
            count_box=(self.count_box, self.count_box in BOXES, f"one of {', '.join(BOXES)}"),
        )


def _is_plain(X: object) -> TypeGuard[Array]:
    """Tell whether ``X`` is a table that no validation would change, finite or not."""
    return (
        type(X) is np.ndarray
        and X.dtype in (np.float32, np.float64)
        and X.flags.c_contiguous
        and X.ndim == 2
        and X.size > 0
    )


def _share(value: Any) -> tuple[Any, bool, str]:
    return value, isinstance(value, Real) and 0 < float(value) <= 1, "a number above 0, up to 1"


def _read_only(X: Array) -> Array:
    """Return a view that cannot be written: numba compiles anew for arrays that differ in this."""
    view = np.asarray(X).view()
    view.flags.writeable = False
    return view
