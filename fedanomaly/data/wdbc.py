"""Wisconsin diagnostic breast cancer, bundled with scikit-learn: a tiny real table that is always there."""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

from fedanomaly.data.base import DATASETS, DataRequest, Dataset, Table
from fedanomaly.data.build import build_table


@DATASETS.register("wdbc")
class WDBC(Dataset):
    """569 tumours, 30 measurements of cell nuclei; the 212 malignant ones are the anomalies."""

    name: ClassVar[str] = "wdbc"
    title: ClassVar[str] = "Wisconsin breast cancer (Street et al. 1993), bundled, 569 x 30, 37 % malignant"

    def cache_key(self, request: DataRequest) -> str:
        """Return what the rows depend on."""
        return repr((version("scikit-learn"), request.rows))

    def load(self, request: DataRequest) -> Table:
        """Return the bundled rows."""
        from sklearn.datasets import load_breast_cancer

        bunch = load_breast_cancer()
        return build_table(
            self.name,
            bunch.data,
            1 - bunch.target,  # scikit-learn's target is 1 for benign
            [str(feature) for feature in bunch.feature_names],
            source="scikit-learn's breast cancer table",
            rows=request.rows,
        )
