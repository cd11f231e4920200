import pytest
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.core.errors import InvalidArrays
from fedanomaly.federation.protocol import (
    INLINE_BYTES,
    Declared,
    Task,
    bundle_of,
    content_of,
)


@given(
    phase=st.sampled_from(["scaling", "setup", "round"]),
    index=st.integers(0, 9),
    server_round=st.integers(0, 99),
    participants=st.lists(st.integers(0, 2**31), max_size=5),
)
def test_a_task_survives_the_journey(phase, index, server_round, participants):
    task = Task(phase, index, server_round, tuple(participants))
    assert Task.from_content(content_of(task.facts(), b"")) == task


@pytest.mark.parametrize("size", [0, 10, INLINE_BYTES, INLINE_BYTES + 1])
def test_bundles_of_any_size_arrive(size):
    content = content_of(Declared(1, 2, 0.5).facts(), b"x" * size)
    assert bundle_of(content) == b"x" * size
    assert Declared.from_content(content) == Declared(1, 2, 0.5)


def test_a_small_message_is_one_record():
    assert len(content_of({"client": 1}, b"abc")) == 1


values = st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3), st.booleans())


@given(st.dictionaries(st.sampled_from(["client", "rows", "seconds", "phase", "index", "bundle"]), values))
def test_false_facts_are_refused_in_one_sentence(facts):
    content = RecordDict({"facts": ConfigRecord(facts)})
    for read in (Declared.from_content, Task.from_content, bundle_of):
        try:
            read(content)
        except InvalidArrays as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"facts": MetricRecord({"client": 1})}),
        RecordDict({"facts": ConfigRecord(), "bundle": ArrayRecord()}),
    ],
)
def test_incomplete_messages_are_refused(content):
    with pytest.raises(InvalidArrays):
        bundle_of(content)
