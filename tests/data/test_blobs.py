import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest, check_dataset, load_table
from fedanomaly.data.blobs import CLUSTERS, TELLING, generate


@pytest.mark.parametrize(("variant", "features"), [("", 30), ("1", 1), ("10", 10), ("500", 500)])
def test_table(variant, features):
    table = check_dataset("blobs", DataRequest(rows=400, seed=3, variant=variant))
    assert table.X.shape == (400, features) and table.n_anomalies == 4 and table.synthetic
    assert table.name == f"blobs:{features}"
    assert set(np.unique(table.groups["cluster"])) == set(range(CLUSTERS))


def test_another_seed_gives_other_rows(tmp_path):
    one, two = (load_table("blobs:12", DataRequest(rows=300, seed=s, cache_dir=tmp_path)) for s in (1, 2))
    assert one.fingerprint != two.fingerprint
    assert (
        load_table("blobs:12", DataRequest(rows=300, seed=1, cache_dir=tmp_path)).fingerprint
        == one.fingerprint
    )


def test_ten_features_tell_anomalies_and_no_other():
    X, y, cluster = generate(40_000, 60, seed=0)
    normal = np.stack([X[(cluster == c) & (y == 0)].mean(axis=0) for c in range(CLUSTERS)])
    squared = (X - normal[cluster]) ** 2
    auroc = [roc_auc_score(y, squared[:, j]) for j in range(60)]
    assert min(auroc[:TELLING]) > 0.65
    assert min(auroc[TELLING:]) > 0.4 and max(auroc[TELLING:]) < 0.6
    assert squared[y == 0].mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("variant", ["0", "-3", "ten", "1e3", "99999", "²"])
def test_what_is_no_number_of_features_is_refused(variant):
    with pytest.raises(UserError, match="how many features"):
        load_table(f"blobs:{variant}", DataRequest(rows=300))


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match="at least 200"):
        load_table("blobs:5", DataRequest(rows=10))
