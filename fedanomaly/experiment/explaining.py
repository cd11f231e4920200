"""Explain rows of a file by a saved model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.detectors.explain import explain, shap_values
from fedanomaly.experiment.model_file import Model
from fedanomaly.federation.plan import scaled

_SEED = 0


@dataclass(frozen=True)
class Explanation:
    """One row explained.

    Attributes
    ----------
    names : tuple of str
        The features.
    row, contributions : ndarray of shape (n_features,)
        Values as they stand in the file, and what each adds to the abnormality.
    anomaly_score : float
        The higher, the more abnormal.
    flagged : bool
        Whether it is above the model's threshold.
    method : str
        What the contributions are, in words.
    additive : bool
        Whether they add up to something.
    """

    names: tuple[str, ...]
    row: npt.NDArray[np.float64]
    contributions: npt.NDArray[np.float64]
    anomaly_score: float
    flagged: bool
    method: str
    additive: bool

    def draw(self, path: Path, title: str) -> Path:
        """Draw it to a PNG file."""
        from fedanomaly.evaluation.plots import explanation

        return explanation(
            self.names,
            self.row,
            self.contributions,
            path,
            title=title,
            xlabel=self.method,
            additive=self.additive,
        )

    def records(self) -> list[dict[str, object]]:
        """Return one record a feature, the largest contribution first."""
        order = np.argsort(-self.contributions, kind="stable")
        return [
            {
                "feature": self.names[i],
                "value": float(self.row[i]),
                "contribution": float(self.contributions[i]),
            }
            for i in order
        ]


def explain_row(model: Model, X: npt.NDArray[np.float64], row: int, *, shap: bool = False) -> Explanation:
    """Return the explanation of one row.

    Parameters
    ----------
    model : Model
        Opened.
    X : ndarray of shape (n_rows, n_features)
        Raw rows; SHAP takes them as background.
    row : int
        Which one, from 0.
    shap : bool, default=False
        SHAP values instead of the detector's own terms or paths.

    Raises
    ------
    UserError
        If there is no such row, or the detector has no explanation of its own.
    """
    if not 0 <= row < len(X):
        raise UserError(f"there is no row {row}: the file has rows 0 to {len(X) - 1}")
    score = float(model.score_samples(X[row : row + 1])[0])
    rows = scaled(X, model.scaling)
    if shap:
        contributions = shap_values(model.detector, rows[row : row + 1], rows, seed=_SEED)[0]
    else:
        contributions = explain(model.detector, rows[row : row + 1])[0]
    names = model.feature_names or tuple(f"feature {i}" for i in range(X.shape[1]))
    flagged = score < model.detector.offset_
    additive = shap or not hasattr(model.detector, "forest_")
    return Explanation(names, X[row], contributions, -score, flagged, _words(model, shap), additive)


def _words(model: Model, shap: bool) -> str:
    if shap:
        return "SHAP value: against the mean score of the file's rows"
    if hasattr(model.detector, "forest_"):
        return "importance on the row's paths (local DIFFI)"
    return "squared distance by feature" if model.detector.name == "gmm" else "adds to the anomaly score"
