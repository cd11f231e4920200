"""Which features made a row anomalous: exact terms where the score is a sum, paths in forests, or SHAP."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_array

from fedanomaly.core.errors import UserError
from fedanomaly.detectors._diffi import local_diffi
from fedanomaly.detectors._trees import Forest
from fedanomaly.detectors.base import Detector

Contributions = npt.NDArray[np.float64]


def explain(detector: Detector, X: npt.ArrayLike) -> Contributions:
    """Return what each feature adds to the abnormality of rows.

    Parameters
    ----------
    detector : Detector
        Fitted. One with terms of its own (``z-score``, ``iqr``, ``mahalanobis``, ``pca``, ``hbos``,
        ``ecod``, ``gmm``) or a forest.
    X : array-like of shape (n_rows, n_features)
        Rows as the detector scores them (scaled, where it was fitted on scaled rows).

    Returns
    -------
    ndarray of shape (n_rows, n_features), float64
        The higher, the more abnormal. Terms add up to ``-score_samples`` (for ``gmm`` to a distance:
        see :meth:`fedanomaly.detectors.GMM.contributions`). For a forest: local DIFFI (Carletti, Terzi
        and Susto 2023), which ranks features and adds up to nothing.

    Raises
    ------
    UserError
        If the detector has neither terms nor trees; :func:`shap_values` explains any.
    ValueError
        If ``X`` is not a table of finite numbers with the detector's features.

    Examples
    --------
    >>> from fedanomaly.detectors import ZScore
    >>> detector = ZScore().fit([[0, 1], [2, 3], [0, 3], [2, 1]])
    >>> explain(detector, [[1, 6]])
    array([[0., 8.]])
    """
    terms = getattr(detector, "contributions", None)
    if terms is not None:
        return np.asarray(terms(X), dtype=np.float64)
    forest = getattr(detector, "forest_", None)
    if isinstance(forest, Forest):
        return local_diffi(forest, _rows(detector, X))
    raise UserError(f"{detector.name} has no explanation of its own; SHAP explains any detector")


def shap_values(
    detector: Detector, X: npt.ArrayLike, background: npt.ArrayLike, *, permutations: int = 10, seed: int = 0
) -> Contributions:
    """Return SHAP values (Lundberg and Lee 2017) of the abnormality, for comparison.

    Parameters
    ----------
    detector : Detector
        Fitted; any.
    X : array-like of shape (n_rows, n_features)
        Rows to explain.
    background : array-like of shape (n_background, n_features)
        Rows that stand for a feature whose value is not known; at most 100 of them are used.
    permutations : int, default=10
        Orders of the features that are tried, each forwards and backwards, at least 1.
    seed : int, default=0
        Of these orders.

    Returns
    -------
    ndarray of shape (n_rows, n_features), float64
        A row's values add up to its ``-score_samples`` less the mean of it over the background.

    Raises
    ------
    UserError
        If the package ``shap`` is not installed.
    """
    try:
        shap: Any = import_module("shap")
    except ImportError:
        raise UserError("SHAP needs the package shap: pip install shap") from None
    rows, others = _rows(detector, X), _rows(detector, background)
    evaluations = 2 * max(1, permutations) * (rows.shape[1] + 1) + 1
    before = np.random.get_state()  # noqa: NPY002 - shap seeds NumPy's global generator
    try:
        explainer = shap.PermutationExplainer(
            lambda batch: -detector.score_samples(batch), shap.maskers.Independent(others, 100), seed=seed
        )
        found = explainer(rows, max_evals=evaluations, silent=True)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    return np.asarray(found.values, dtype=np.float64)


def _rows(detector: Detector, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
    rows = np.asarray(check_array(X, dtype=np.float64, order="C"), dtype=np.float64)
    if rows.shape[1] != detector.n_features_in_:
        raise ValueError(f"X has {rows.shape[1]} features, but the model takes {detector.n_features_in_}")
    return rows
