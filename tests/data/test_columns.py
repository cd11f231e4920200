import gzip
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedanomaly.core.errors import UserError
from fedanomaly.data.columns import read_columns


def parquet() -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": ["x", "y"]}), content)
    return content.getvalue()


def zipped(*contents: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(zipfile.ZipInfo(f"{number}.csv"), content)  # always the same time: test ids
    return packed.getvalue()


GOOD = [b"a,b\n1,x\n2,y\n", parquet(), gzip.compress(b"a,b\n1,x\n2,y\n", mtime=0), zipped(parquet())]


def read(content: bytes, required=("a",), **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        return read_columns(path, required, **options)


@pytest.mark.parametrize("content", GOOD)
def test_whatever_it_is_packed_in(content):
    columns = read(content, ("b", "a"))
    assert len(columns) == 2 and "a" in columns and "c" not in columns
    assert list(columns.numbers("a")) == [1.0, 2.0]
    codes, names = columns.codes("b")
    assert [names[code] for code in codes] == ["x", "y"]


@settings(max_examples=150, deadline=None)
@given(
    content=st.binary(max_size=200), head=st.sampled_from([b"", b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"a\n"])
)
@example(content=b"\xff\xfe\x00", head=b"a\n")
def test_a_stranger_gets_a_sentence(content, head):
    try:
        read(head + content).numbers("a")
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gets_a_sentence(data):
    good = data.draw(st.sampled_from(GOOD))
    at = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255))
    cut = data.draw(st.booleans())
    try:
        read(good[:at] if cut else good[:at] + bytes([byte]) + good[at + 1 :]).numbers("a")
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_every_digit_of_a_csv_file_is_read(values):
    text = pd.DataFrame({"a": values}).to_csv(index=False)
    assert np.array_equal(read(text.encode()).numbers("a"), values)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"a\n", "no rows"),
        (b"a;b\n1;2\n", "no column 'a'"),
        (b"a,b\n1,2\n3\n", "cannot be read"),
        (b"a,b\n1,2\n,4\n", "'a' has no value in row 2"),
        (b"a,b\n1,2\nx,4\n", "'a' must hold numbers"),
        (b"a,b\n1,2\ninf,4\n", "'a' holds inf in row 2"),
        (zipped(b"a\n1\n", b"a\n2\n"), "holds 2 files"),
        (zipped(), "holds 0 files"),
        (zipped(zipped(b"a\n1\n")), "neither CSV nor Parquet"),
        (b"\x80\x05\x95", "pickles are never loaded"),
    ],
)
def test_what_is_wrong_is_said(content, said):
    with pytest.raises(UserError) as error:
        read(content).numbers("a")
    assert said in str(error.value)


def test_aliases_and_a_file_without_header():
    assert list(read(b"A \n1\n2\n", aliases={"A": "a"}).numbers("a")) == [1, 2]
    assert list(read(b"1,x\n2,y\n", header=("a", "b")).numbers("a")) == [1, 2]
