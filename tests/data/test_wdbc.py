import numpy as np
from sklearn.datasets import load_breast_cancer

from fedanomaly.data import DataRequest, check_dataset


def test_malignant_is_the_anomaly():
    table = check_dataset("wdbc", DataRequest())
    assert table.X.shape == (569, 30) and table.n_anomalies == 212
    assert table.feature_names[0] == "mean radius"
    assert table.X[table.y == 1, 0].mean() > table.X[table.y == 0, 0].mean()  # malignant cells are larger
    assert np.array_equal(table.X, load_breast_cancer().data)
