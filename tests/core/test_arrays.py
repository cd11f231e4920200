import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.arrays import (
    digest,
    load_arrays,
    require,
    require_only,
    save_arrays,
    under_prefix,
    with_prefix,
)
from fedanomaly.core.errors import InvalidArrays

named = st.dictionaries(
    st.text("abc/", min_size=1, max_size=4),
    hnp.arrays(
        st.sampled_from(["<f8", "<i4", "|b1", "<U3"]), hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)
    ),
    min_size=1,
    max_size=3,
)


@given(named)
def test_the_digest_knows_content_not_order(arrays):
    assert digest(arrays) == digest(dict(reversed(arrays.items())))
    name = next(iter(arrays))
    assert digest({**arrays, name: np.zeros(99)}) != digest(arrays)
    assert digest({**arrays, "zzz": np.zeros(1)}) != digest(arrays)


def test_the_digest_knows_dtype_and_shape():
    values = [
        np.zeros(4, np.int32),
        np.zeros(2, np.int64),
        np.zeros((2, 2), np.int32),
        np.zeros(4, np.float32),
    ]
    assert len({digest({"a": value}) for value in values}) == 4


@given(named)
def test_files_hold_what_was_saved(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("npz") / "model.npz"
    arrays = {name.replace("/", "."): array for name, array in arrays.items()}
    save_arrays(path, arrays)
    assert digest(load_arrays(path)) == digest(arrays)
    with np.load(path, allow_pickle=False) as file:
        assert set(file.files) == set(arrays)


def test_objects_are_not_saved_and_nonsense_is_not_loaded(tmp_path):
    with pytest.raises(InvalidArrays, match="needs a pickle"):
        save_arrays(tmp_path / "a.npz", {"a": np.array([{}], dtype=object)})
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], dtype=object))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("pickled.npz", "text.npz", "absent.npz"):
        with pytest.raises(InvalidArrays, match="not a readable model"):
            load_arrays(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros(3, np.int64), "has dtype int64"),
        (np.zeros((2, 2)), "has shape"),
        (np.array([np.nan, 1.0]), "not finite"),
        (np.array([-1.0, 1.0]), "below 0"),
        (np.array([9.0]), "above 5"),
        ([1.0], "has dtype list"),
    ],
)
def test_what_does_not_fit_is_named(array, sentence):
    with pytest.raises(InvalidArrays, match=sentence):
        require({"a": array}, "a", kind="f", shape=(None,), low=0, high=5)


def test_missing_and_unknown_names_are_named():
    with pytest.raises(InvalidArrays, match="array 'b' is missing"):
        require({"a": np.zeros(1)}, "b", kind="f", shape=(1,))
    with pytest.raises(InvalidArrays, match=r"unknown arrays \['c'\]"):
        require_only({"a": np.zeros(1), "c": np.zeros(1)}, {"a"})


@given(named)
def test_prefixes_come_off_again(arrays):
    mixed = {**with_prefix(arrays, "model"), "other": np.zeros(1)}
    assert digest(under_prefix(mixed, "model")) == digest(arrays)
