import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedanomaly.core.errors import UserError
from fedanomaly.data import load_table, register_memory_table


@pytest.fixture
def rows():
    return np.arange(12.0).reshape(6, 2), np.array([0, 0, 0, 0, 0, 1])


def test_found_by_name(rows):
    X, y = rows
    name = register_memory_table(X, y)
    table = load_table(name)
    assert name == table.name == f"memory:{table.fingerprint[:16]}"
    assert np.array_equal(table.X, X) and np.array_equal(table.y, y)
    assert table.feature_names == ("x0", "x1") and not table.synthetic
    assert register_memory_table(X.tolist(), y.astype(bool)) == name


def test_the_callers_array_stays_the_callers(rows):
    X, y = rows
    table = load_table(register_memory_table(X, y))
    assert X.flags.writeable and y.flags.writeable
    X[0, 0] = 99
    assert table.X[0, 0] == 0 and not table.X.flags.writeable


def test_frames_give_names_and_groups_become_codes(rows):
    X, y = rows
    frame = pd.DataFrame(X, columns=["alpha", "beta"])
    name = register_memory_table(
        frame, pd.Series(y), groups={"bank": list("bbaacc")}, time=range(6), amount=frame["beta"]
    )
    table = load_table(name)
    assert table.feature_names == ("alpha", "beta")
    assert list(table.groups["bank"]) == [1, 1, 0, 0, 2, 2]
    assert list(table.time) == list(range(6)) and list(table.amount) == list(X[:, 1])
    assert name != register_memory_table(X, y)


@settings(max_examples=40, deadline=None)
@given(
    X=arrays(np.float64, st.tuples(st.integers(2, 20), st.integers(1, 4)), elements=st.floats(-1e300, 1e300)),
    data=st.data(),
)
def test_any_finite_table_survives(X, data):
    y = np.zeros(len(X), int)
    y[data.draw(st.lists(st.integers(0, len(X) - 1), min_size=1, max_size=len(X) - 1, unique=True))] = 1
    table = load_table(register_memory_table(X, y))
    assert np.array_equal(table.X, X) and np.array_equal(table.y, y)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda X, y: (X[:, 0], y), "X has 1 dimensions"),
        (lambda X, y: (X, y[:5]), "labels of shape"),
        (lambda X, y: (X, y[:, None]), "y has 2 dimensions"),
        (lambda X, y: (np.where(X == 5, np.nan, X), y), "'x1' holds nan in row 3"),
        (lambda X, y: (np.where(X == 5, np.inf, X), y), "'x1' holds inf in row 3"),
        (lambda X, y: (X, y * 2), "must be 0"),
        (lambda X, y: (X, y * 0), "both classes"),
        (lambda X, y: (X, y * 0 + 1), "both classes"),
        (lambda X, y: (X, np.array(["no"] * 6)), "y must hold numbers"),
        (lambda X, y: (pd.DataFrame({"a": X[:, 0], "b": list("uvwxyz")}), y), "column 'b'"),
        (lambda X, y: (pd.DataFrame(X, columns=["a", "a"]), y), "different names"),
        (lambda X, y: (X[:0], y[:0]), "both classes"),
    ],
)
def test_wrong_tables_are_refused(rows, change, said):
    with pytest.raises(UserError, match=said) as error:
        register_memory_table(*change(*rows))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("column", ["time", "amount"])
def test_wrong_columns_are_refused(rows, column):
    with pytest.raises(UserError, match=column):
        register_memory_table(*rows, **{column: np.arange(5)})
    with pytest.raises(UserError, match=column):
        register_memory_table(*rows, **{column: np.full(6, np.nan)})


def test_wrong_groups_and_names_are_refused(rows):
    with pytest.raises(UserError, match="bank"):
        register_memory_table(*rows, groups={"bank": [1, 2]})
    with pytest.raises(UserError, match="bank"):
        register_memory_table(*rows, groups={"bank": [1, "a", None, 2, 3, 4]})
    with pytest.raises(UserError, match="different names"):
        register_memory_table(*rows, feature_names=["a"])
