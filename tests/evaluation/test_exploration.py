"""The first pictures of a table are drawn for the ordinary and for the odd."""

import warnings

import numpy as np
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation import plots


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5_000


def rows(n=500, frauds=20, seed=0):
    rng = np.random.default_rng(seed)
    y = np.zeros(n, dtype=np.int8)
    y[:frauds] = 1
    X = np.stack([rng.normal(size=n), rng.lognormal(3, 3, size=n), np.ones(n), rng.integers(0, 3, n)], axis=1)
    return X, y


@pytest.mark.parametrize("frauds", [0, 1, 2, 20, 500])
def test_every_picture_is_drawn(tmp_path, frauds):
    X, y = rows(frauds=frauds)
    names = ["normal", "amount", "constant", "kind"]
    columns = dict(zip(names, X.T, strict=True))
    assert is_picture(plots.class_balance(y, tmp_path / "a.png"))
    assert is_picture(plots.hourly_rhythm(X[:, 1], y, tmp_path / "b.png"))
    assert is_picture(plots.class_distributions(columns, y, tmp_path / "c.png", title="All"))
    assert is_picture(plots.correlations(X, y, names, tmp_path / "d.png"))
    codes = X[:, 3].astype(np.int64)
    assert is_picture(plots.fraud_by_category(codes, ["x", "y", "z", "never"], y, tmp_path / "e.png"))
    assert is_picture(plots.projection(X, y, tmp_path / "f.png"))
    assert is_picture(
        plots.smote_rows(X[y == 1, :2], X[:30, :2], X[y == 0, :2], tmp_path / "g.png", names=("u", "v"))
    )


def test_the_same_rows_give_the_same_picture(tmp_path):
    X, y = rows()
    first = plots.projection(X, y, tmp_path / "a.png").read_bytes()
    assert plots.projection(X, y, tmp_path / "b.png").read_bytes() == first


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(UserError, match="no feature"):
        plots.class_distributions({}, np.zeros(3, np.int8), tmp_path / "a.png")
