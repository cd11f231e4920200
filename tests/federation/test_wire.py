import contextlib
import json
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.errors import InvalidArrays
from fedanomaly.federation.wire import pack, unpack

arrays_st = st.dictionaries(
    st.text(min_size=1, max_size=8),
    hnp.arrays(
        dtype=st.sampled_from(["<f8", "<f4", "<i8", "<u2", "|i1", "|b1", "<U5", ">i4"]),
        shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7),
    ),
    max_size=4,
)


def bundle(header, body):
    return len(header).to_bytes(4, "little") + header + body


@given(arrays=arrays_st)
def test_what_is_packed_is_unpacked(arrays):
    back = unpack(pack(arrays))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.writeable


def test_regular_arrays_shrink():
    assert len(pack({"zeros": np.zeros(10_000)})) < 200


def test_objects_do_not_travel():
    with pytest.raises(InvalidArrays, match="plain array"):
        pack({"a": np.array([{}], dtype=object)})


@given(header=st.binary(max_size=80), body=st.binary(max_size=80))
def test_random_bytes_are_refused(header, body):
    with contextlib.suppress(InvalidArrays):
        unpack(bundle(header, body), limit=1 << 20)


@given(
    entries=st.lists(
        st.tuples(
            st.one_of(st.text(max_size=3), st.integers()),
            st.sampled_from(
                ["<f8", "O", "V8", "nonsense", "<M8[s]", "<U999999", "f8,i4", "(3,)f8", "", "<i4"]
            ),
            st.one_of(st.lists(st.integers(-2, 2**41), max_size=9), st.text(max_size=2), st.none()),
        ),
        max_size=3,
    ),
    body=st.binary(max_size=40),
    deflate=st.booleans(),
)
def test_false_headers_are_refused_before_memory_is_spent(entries, body, deflate):
    record = bundle(json.dumps(entries).encode(), zlib.compress(body) if deflate else body)
    try:
        arrays = unpack(record, limit=1 << 20)
    except InvalidArrays:
        return
    assert sum(array.nbytes for array in arrays.values()) == len(body)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(position, value):
    good = pack({"a": np.arange(60.0).reshape(2, 30), "b": np.array("text")})
    data = bytearray(good)
    data[position % len(data)] = value
    with contextlib.suppress(InvalidArrays):
        unpack(bytes(data))


def test_a_deflate_bomb_is_not_inflated():
    header = json.dumps([["a", "<f8", [10]]]).encode()
    with pytest.raises(InvalidArrays, match="does not hold the 80 bytes"):
        unpack(bundle(header, zlib.compress(bytes(50_000_000))))


def test_the_limit_counts_all_arrays_of_a_message():
    with pytest.raises(InvalidArrays, match="at most"):
        unpack(pack({name: np.zeros(1000) for name in "abc"}), limit=20_000)


@pytest.mark.parametrize("data", [b"", b"ab", bytes(4), b"\xff\xff\xff\xff12345678"])
def test_what_is_no_bundle_is_refused(data):
    with pytest.raises(InvalidArrays):
        unpack(data)


def test_large_bodies_that_hardly_shrink_are_framed_and_come_back():
    noise = {"a": np.random.default_rng(0).normal(size=60_000)}
    assert len(pack(noise)) >= noise["a"].nbytes
    np.testing.assert_array_equal(unpack(pack(noise))["a"], noise["a"])


def test_names_are_unique():
    header = json.dumps([["a", "|u1", [1]], ["a", "|u1", [1]]]).encode()
    with pytest.raises(InvalidArrays, match="twice"):
        unpack(bundle(header, zlib.compress(b"xy")))
