"""What every data set must keep, as a test that users can run on a class of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedanomaly.data.base import DATASETS, DataRequest, Dataset, Table
from fedanomaly.data.build import table_fingerprint


def check_dataset(dataset: str | type[Dataset], request: DataRequest | None = None) -> Table:
    """Load a data set twice and assert the contract of :class:`~fedanomaly.data.base.Table`.

    Parameters
    ----------
    dataset : str or type
        A registered name (``"adbench:2_annthyroid"``) or a class.
    request : DataRequest, optional
        With which the data set is loaded.

    Returns
    -------
    Table
        What was loaded, for further checks.

    Raises
    ------
    AssertionError
        With a sentence that says what is broken.
    """
    request = request or DataRequest()
    if isinstance(dataset, str):
        base, _, variant = dataset.partition(":")
        dataset, request = DATASETS.get(base), replace(request, variant=variant or request.variant)
    _check_class(dataset)
    table = dataset().load(request)
    _check_arrays(table)
    base = table.name.partition(":")[0]
    assert base == dataset.name, f"the table is called {table.name!r}, the data set {dataset.name!r}"
    again = dataset().load(request)
    assert again.fingerprint == table.fingerprint, "the same request gives different rows"
    assert again.warnings == table.warnings, "the same request gives different warnings"
    key = dataset().cache_key(request)
    assert key is None or key == dataset().cache_key(request), "the cache key changes between two calls"
    return table


def _check_class(dataset: type[Dataset]) -> None:
    assert issubclass(dataset, Dataset), f"{dataset!r} is no Dataset"
    for attribute in ("name", "title"):
        value = getattr(dataset, attribute, "")
        assert isinstance(value, str) and value, f"the class has no {attribute}"
        assert "\n" not in value, f"{attribute} must be one line"
    assert ":" not in dataset.name, "a colon in a name separates the variant"


def _check_arrays(table: Table) -> None:
    n = len(table)
    assert table.X.dtype == np.float64 and table.X.ndim == 2, "X must be a float64 matrix"
    assert table.X.shape == (n, len(table.feature_names)), "X, y and feature_names disagree in size"
    assert table.X.flags.c_contiguous, "X must be in C order"
    assert np.isfinite(table.X).all(), "X holds values that are not finite"
    assert table.y.dtype == np.int8 and table.y.ndim == 1, "y must be an int8 vector"
    assert set(np.unique(table.y)) == {0, 1}, "y must hold both 0 and 1, and nothing else"
    assert len(set(table.feature_names)) == len(table.feature_names), "two features have the same name"
    assert all(isinstance(name, str) and name for name in table.feature_names), "a feature has no name"
    for what, values in (("time", table.time), ("amount", table.amount)):
        if values is not None:
            assert values.shape == (n,) and values.dtype == np.float64, f"{what} must be {n} float64"
            assert np.isfinite(values).all(), f"{what} holds values that are not finite"
    for owner, codes in table.groups.items():
        assert codes.shape == (n,) and codes.dtype == np.int64, f"group {owner!r} must be {n} int64"
        assert codes.min() >= 0, f"group {owner!r} has negative codes"
    for what, array in (("X", table.X), ("y", table.y)):
        assert not array.flags.writeable, f"{what} must be read-only: clients share it"
    assert table.source and not table.source.startswith(("/", "\\")), "source must not be an absolute path"
    assert all(isinstance(warning, str) and warning for warning in table.warnings), "a warning is empty"
    assert table.fingerprint == table_fingerprint(
        table.X, table.y, table.feature_names, table.time, table.groups, table.amount
    ), "the fingerprint is not that of the content (use fedanomaly.data.table_fingerprint)"


__all__ = ["check_dataset"]
