"""Generated clusters with any number of features, of which ten tell anomalies: ``blobs:500``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import DATASETS, DataRequest, Dataset, Table
from fedanomaly.data.build import build_table, checked_rows

Floats = npt.NDArray[np.float64]

DEFAULT_ROWS = 20_000
DEFAULT_FEATURES = 30
LEAST_ROWS = 200
MOST_FEATURES = 10_000
ANOMALY_RATE = 0.01
TELLING = 10
"""Features in which anomalies differ; the first of each table. All others are noise to a detector."""
CLUSTERS = 5
_CENTRES = 2.0  # sd of the clusters' centres, where a feature's sd within a cluster is 1
_COMMON = 0.5  # share of that variance that a row's two hidden factors explain
_SHIFT = 2.0  # sd of what is added to each telling feature of an anomaly
_CHUNK = 1 << 13
_GRID = 2.0**20


@DATASETS.register("blobs")
class Blobs(Dataset):
    """Five clusters in any number of correlated features; anomalies are displaced in ten of them.

    The first ten features are the same kind whatever their number, so the width of a table is the
    only thing that changes: the more features, the more of them say nothing.
    """

    name: ClassVar[str] = "blobs"
    title: ClassVar[str] = (
        "generated clusters, any number of rows and features: blobs:500 has 500, ten of which tell anomalies"
    )
    takes_variant: ClassVar[bool] = True

    def cache_key(self, request: DataRequest) -> str:
        """Return what the rows depend on."""
        return repr((request.variant, request.rows, request.seed))

    def load(self, request: DataRequest) -> Table:
        """Generate ``request.rows`` rows (default 20,000, at least 200), 1 % of them anomalies."""
        features = _features(request.variant)
        rows = checked_rows(DEFAULT_ROWS if request.rows is None else request.rows, LEAST_ROWS)
        X, y, cluster = generate(rows, features, request.seed)
        return build_table(
            f"{self.name}:{features}",
            X,
            y,
            [f"x{j}" for j in range(features)],
            source=f"generated (seed {request.seed})",
            groups={"cluster": cluster},
            synthetic=True,
            warnings=("synthetic rows: clusters made to vary the number of features, not observed",),
        )


def generate(
    rows: int, features: int, seed: int
) -> tuple[Floats, npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """Return ``X`` (rows, features), ``y`` (rows,) and the cluster of each row (rows,)."""
    own = keyed_generator(seed, "blobs", features)
    centres = _CENTRES * own.standard_normal((CLUSTERS, features))
    angle = 2 * np.pi * own.random(features)  # of a feature's loadings on the two factors
    y = np.zeros(rows, dtype=np.int8)
    y[own.permutation(rows)[: max(1, round(ANOMALY_RATE * rows))]] = 1
    cluster = own.integers(0, CLUSTERS, rows)
    X = np.empty((rows, features))
    for start in range(0, rows, _CHUNK):
        part = slice(start, min(rows, start + _CHUNK))
        X[part] = np.sqrt(1 - _COMMON) * own.standard_normal(X[part].shape)
        factors = np.sqrt(_COMMON) * own.standard_normal((len(X[part]), 2))
        X[part] += factors[:, :1] * np.cos(angle) + factors[:, 1:] * np.sin(angle)
        X[part] += centres[cluster[part]]
    told = min(TELLING, features)
    X[y == 1, :told] += _SHIFT * own.standard_normal((int(y.sum()), told))
    return np.rint(X * _GRID) / _GRID, y, cluster  # machines differ in the last bits of cos; here they agree


def _features(variant: str) -> int:
    if not variant:
        return DEFAULT_FEATURES
    if not (variant.isascii() and variant.isdigit() and 1 <= int(variant) <= MOST_FEATURES):
        raise UserError(
            f"blobs:{variant} means nothing; say how many features, from 1 to {MOST_FEATURES}, e.g. blobs:100"
        )
    return int(variant)
