"""A federated model as a file: the detector's arrays, the scaling, the threshold, the features' names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Arrays, digest, load_arrays, require, under_prefix, with_prefix
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.detectors import DETECTORS, Detector, ScoreEnsemble
from fedanomaly.federation.plan import scaled, scaling_of

FORMAT = "fedanomaly-model-1"
MAX_TEXT = 1 << 20


@dataclass(frozen=True)
class Model:
    """A fitted detector and what turns raw rows into its input.

    Attributes
    ----------
    detector : Detector
        Fitted; its ``offset_`` is the federated threshold.
    scaling : dict of ndarray
        ``scaling/center`` and ``scaling/scale``; empty for detectors that need none.
    feature_names : tuple of str
        Columns of a raw row; empty if the server never saw the data.
    """

    detector: Detector
    scaling: Arrays
    feature_names: tuple[str, ...]

    def score_samples(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the scores of raw rows, shape (n_rows,): the lower, the more abnormal."""
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.detector.n_features_in_:
            raise UserError(
                f"the model takes rows of {self.detector.n_features_in_} features, got shape {rows.shape}"
            )
        if not np.isfinite(rows).all():
            raise UserError("the rows hold values that are missing or infinite; fill or drop them first")
        return self.detector.score_samples(scaled(rows, self.scaling))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return -1 for anomalies and 1 for the rest, shape (n_rows,)."""
        return np.where(self.score_samples(X) < self.detector.offset_, -1, 1).astype(np.int64)

    def to_arrays(self) -> Arrays:
        """Return the file's content."""
        ensemble = self.detector if isinstance(self.detector, ScoreEnsemble) else None
        detector = ensemble.detector if ensemble else self.detector
        params = {key: value for key, value in detector.get_params().items() if _plain(value)}
        return {
            "format": np.asarray(FORMAT),
            **({"combine": np.asarray(ensemble.combine)} if ensemble else {}),
            "detector": np.asarray(detector.name),
            "params": np.asarray(json.dumps(params, sort_keys=True)),
            "feature_names": np.asarray(self.feature_names, dtype=np.str_),
            "offset": np.asarray(self.detector.offset_, dtype=np.float64),
            **self.scaling,
            **with_prefix(self.detector.to_arrays(), "model"),
        }

    @property
    def sha256(self) -> str:
        """SHA-256 over names, dtypes, shapes and bytes of :meth:`to_arrays`."""
        return digest(self.to_arrays())

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Model:
        """Check and open a model; raise :class:`InvalidArrays` in one sentence if it is none."""
        found = _text(arrays, "format")
        if found != FORMAT:
            raise InvalidArrays(
                f"this is no model of a kind known here (format {found!r}, expected {FORMAT!r})"
            )
        cls_ = DETECTORS.get(_text(arrays, "detector"))
        try:
            params = json.loads(_text(arrays, "params"))
            detector: Detector = cls_(**params)
        except (TypeError, ValueError) as error:
            raise InvalidArrays(f"the model's parameters cannot be read: {error}") from None
        if "combine" in arrays:  # scores of several such detectors, as `score-mean` builds them
            detector = ScoreEnsemble(detector, _text(arrays, "combine"))
        detector.load(under_prefix(arrays, "model"))
        detector.offset_ = float(require(arrays, "offset", kind="f", shape=()))
        names = tuple(str(name) for name in require(arrays, "feature_names", kind="U", shape=(None,)))
        n_features = detector.n_features_in_
        scaling = scaling_of(arrays)
        for name in scaling:
            require(scaling, name, kind="f", shape=(n_features,))
        if names and len(names) != n_features:
            raise InvalidArrays(f"the model names {len(names)} features but takes {n_features}")
        return cls(detector, scaling, names)


def open_model(path: Path) -> Model:
    """Read a model file.

    Raises
    ------
    UserError
        If there is no such file, or it is no model.
    """
    if not path.is_file():
        raise UserError(f"there is no model file {path}")
    return common_model(load_arrays(path), path)


def common_model(arrays: Arrays, path: Path) -> Model:
    """Open the model all clients share; raise :class:`UserError` if each has its own."""
    if any(name.startswith("client-") for name in arrays):
        raise UserError(f"{path} holds one model a client (aggregation local), no common one to score with")
    return Model.from_arrays(arrays)


def _text(arrays: Arrays, name: str) -> str:
    array = require(arrays, name, kind="U", shape=())
    if array.nbytes > MAX_TEXT:
        raise InvalidArrays(f"text {name!r} is too long")
    return str(array)


def _plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))
