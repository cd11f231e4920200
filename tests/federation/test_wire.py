import zlib

import numpy as np
import pytest
from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.errors import InvalidArrays
from fedanomaly.federation.wire import NUMPY, ZLIB, pack, payload_bytes, unpack

arrays_st = st.dictionaries(
    st.text(min_size=1, max_size=8),
    hnp.arrays(
        dtype=st.sampled_from(["<f8", "<f4", "<i8", "<u2", "|i1", "|b1", "<U5"]),
        shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7),
        elements=None,
    ),
    max_size=4,
)


@given(arrays=arrays_st, compress=st.booleans())
def test_what_is_packed_is_unpacked(arrays, compress):
    back = unpack(pack(arrays, compress=compress))
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.writeable


def test_regular_arrays_shrink():
    record = pack({"zeros": np.zeros(10_000)})
    assert payload_bytes(record) < 200


def test_objects_do_not_travel():
    with pytest.raises(InvalidArrays, match="plain array"):
        pack({"a": np.array([{}], dtype=object)})


@given(
    dtype=st.sampled_from(["<f8", "O", "V8", "nonsense", "<M8[s]", "<U999999", ""]),
    shape=st.lists(st.integers(-2, 2**40), max_size=9),
    stype=st.sampled_from([ZLIB, NUMPY, "torch"]),
    data=st.binary(max_size=200),
)
def test_hostile_entries_are_refused_in_one_sentence(dtype, shape, stype, data):
    record = ArrayRecord({"a": FlowerArray(dtype=dtype, shape=tuple(shape), stype=stype, data=data)})
    try:
        arrays = unpack(record, limit=1 << 20)
    except InvalidArrays as error:
        assert "'a'" in str(error)
    else:
        assert arrays["a"].nbytes <= 1 << 20


@given(st.binary(max_size=300), st.integers(0, 120), st.integers(0, 255))
def test_a_changed_npy_header_never_crashes(tail, position, value):
    data = bytearray(FlowerArray(np.arange(6.0).reshape(2, 3)).data + tail)
    data[position % len(data)] = value
    record = ArrayRecord({"a": FlowerArray(dtype="<f8", shape=(2, 3), stype=NUMPY, data=bytes(data))})
    try:
        assert unpack(record, limit=1 << 20)["a"].nbytes <= 1 << 20
    except InvalidArrays:
        pass


def test_a_deflate_bomb_is_not_inflated():
    bomb = zlib.compress(bytes(50_000_000))
    record = ArrayRecord({"a": FlowerArray(dtype="<f8", shape=(10,), stype=ZLIB, data=bomb)})
    with pytest.raises(InvalidArrays, match="does not hold the 80 bytes"):
        unpack(record)


def test_the_limit_counts_all_arrays_of_a_message():
    record = pack({name: np.zeros(1000) for name in "abc"})
    with pytest.raises(InvalidArrays, match="at most"):
        unpack(record, limit=20_000)


def test_pickled_content_is_refused():
    import io

    file = io.BytesIO()
    np.save(file, np.array([{"x": 1}], dtype=object), allow_pickle=True)
    record = ArrayRecord({"a": FlowerArray(dtype="O", shape=(1,), stype=NUMPY, data=file.getvalue())})
    with pytest.raises(InvalidArrays):
        unpack(record)
