"""How different the clients are: counts, rates, and distances of their distributions to the pooled one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import Table
from fedanomaly.partition.base import Indices

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_CLIENT_SAMPLE = 512
_POOLED_SAMPLE = 4096
_KOLMOGOROV_MEAN = np.sqrt(np.pi / 2) * np.log(2)


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """A partition in figures; every array has shape (n_clients,) unless stated.

    Attributes
    ----------
    client : ndarray, int64
        Partition id.
    rows, anomalies : ndarray, int64
        How many rows and how many anomalies a client holds.
    anomaly_rate : ndarray, float64
        Share of a client's rows that are anomalies, 0 to 1.
    share, anomaly_share : ndarray, float64
        A client's share of all held rows and of all held anomalies (0 if nobody holds one).
    label_tv : ndarray, float64
        Total variation distance between a client's labels and the table's, 0 to 1.
    label_js : ndarray, float64
        Jensen-Shannon distance (root of the divergence in bits) between the same, 0 to 1.
    feature_ks : ndarray, float64
        Kolmogorov-Smirnov distance to the table, mean over features, 0 to 1; on a keyed sample of
        at most 512 rows a client and 4096 rows of the table.
    feature_ks_expected : ndarray, float64
        What ``feature_ks`` would be on average for a random client of that many sampled rows and
        continuous features: values near it show no skew.
    label_skew : float
        Total variation distance between the clients' shares of the anomalies and of the rows, 0 to
        1: 0 if all have the same rate, whatever that is.
    quantity_skew : float
        Gini coefficient of the sizes, 0 (equal) to 1 - 1 / n_clients.
    feature_skew : float
        Mean of ``feature_ks``, weighted by rows.
    n_unheld, n_shared : int
        Rows that no client holds, and rows that several hold (0 but for overlapping partitions).
    """

    client: Counts
    rows: Counts
    anomalies: Counts
    anomaly_rate: Floats
    share: Floats
    anomaly_share: Floats
    label_tv: Floats
    label_js: Floats
    feature_ks: Floats
    feature_ks_expected: Floats
    label_skew: float
    quantity_skew: float
    feature_skew: float
    n_unheld: int
    n_shared: int

    def columns(self) -> dict[str, Array]:
        """Return the arrays with one value a client, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if isinstance(value, np.ndarray)}

    def overall(self) -> dict[str, float]:
        """Return the figures of the partition as a whole, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if not isinstance(value, np.ndarray)}

    def records(self) -> list[dict[str, int | float]]:
        """Return one dict a client: the rows of a printed table."""
        columns = self.columns()
        return [{name: values[i].item() for name, values in columns.items()} for i in range(len(self.client))]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a client as a pandas frame."""
        import pandas as pd

        return pd.DataFrame(self.columns())


def summarise(table: Table, parts: Indices, seed: int = 0) -> Heterogeneity:
    """Return how the clients of a partition differ from each other and from the whole table.

    Parameters
    ----------
    table : Table
        All rows.
    parts : list of ndarray of int64
        Row numbers of each client; none empty.
    seed : int
        Key of the samples on which features are compared.
    """
    rows = np.array([len(part) for part in parts], dtype=np.int64)
    anomalies = np.array([int(table.y[part].sum()) for part in parts], dtype=np.int64)
    share, anomaly_share = rows / rows.sum(), anomalies / max(int(anomalies.sum()), 1)
    rate, pooled_rate = anomalies / rows, table.n_anomalies / len(table)
    holders = np.bincount(np.concatenate(parts), minlength=len(table))
    feature_ks, expected = _feature_distances(table.X, parts, seed)
    return Heterogeneity(
        client=np.arange(len(parts), dtype=np.int64),
        rows=rows,
        anomalies=anomalies,
        anomaly_rate=rate,
        share=share,
        anomaly_share=anomaly_share,
        label_tv=np.abs(rate - pooled_rate),
        label_js=_jensen_shannon(rate, pooled_rate),
        feature_ks=feature_ks,
        feature_ks_expected=expected,
        label_skew=float(np.abs(anomaly_share - share).sum() / 2) if anomalies.any() else 0.0,
        quantity_skew=_gini(rows),
        feature_skew=float(feature_ks @ share),
        n_unheld=int((holders == 0).sum()),
        n_shared=int((holders > 1).sum()),
    )


def _entropy(p: Floats) -> Floats:
    """Return the entropy of Bernoulli(p) in bits."""
    inside = (p > 0) & (p < 1)
    q = np.where(inside, p, 0.5)
    return np.where(inside, -(q * np.log2(q) + (1 - q) * np.log2(1 - q)), 0.0)


def _jensen_shannon(p: Floats, q: float) -> Floats:
    pooled = np.full_like(p, q)
    divergence = _entropy((p + pooled) / 2) - (_entropy(p) + _entropy(pooled)) / 2
    return np.sqrt(np.clip(divergence, 0.0, 1.0))


def _gini(sizes: Counts) -> float:
    ordered = np.sort(sizes)
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * ordered.sum()))


def _feature_distances(X: Array, parts: Indices, seed: int) -> tuple[Floats, Floats]:
    """Return each client's mean Kolmogorov-Smirnov distance to the table, and its mean without skew."""
    everyone = np.arange(len(X), dtype=np.int64)
    pooled = np.sort(X[_sample(everyone, _POOLED_SAMPLE, seed, -1)], axis=0)
    distances, expected = np.empty(len(parts)), np.empty(len(parts))
    for client, part in enumerate(parts):
        own = np.sort(X[_sample(part, _CLIENT_SAMPLE, seed, client)], axis=0)
        each = [_kolmogorov_smirnov(own[:, j], pooled[:, j]) for j in range(X.shape[1])]
        distances[client] = np.mean(each) if each else 0.0
        expected[client] = _KOLMOGOROV_MEAN * np.sqrt(1 / len(own) + 1 / len(pooled))
    return distances, expected


def _sample(rows: Counts, at_most: int, seed: int, client: int) -> Counts:
    if len(rows) <= at_most:
        return rows
    return np.sort(keyed_generator(seed, "heterogeneity", client).choice(rows, at_most, replace=False))


def _kolmogorov_smirnov(a: Floats, b: Floats) -> float:
    """Return the largest distance between two empirical distributions, given sorted samples.

    Between two values of ``a`` its distribution is flat and that of ``b`` rises, so the distance is
    largest at a value of ``a`` or just before one.
    """
    at = np.searchsorted(a, a, side="right") / len(a) - np.searchsorted(b, a, side="right") / len(b)
    before = np.searchsorted(b, a, side="left") / len(b) - np.searchsorted(a, a, side="left") / len(a)
    return float(max(at.max(), before.max()))
