"""What holds for every partition: the contract, and properties over all label distributions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table
from fedanomaly.partition import (
    PARTITIONERS,
    Indices,
    Partitioner,
    PartitionRequest,
    check_partitioner,
    registered,
    split,
)

NAMES = sorted(registered())
DISJOINT = [name for name in NAMES if not registered()[name].overlapping]


def make_table(y, n_groups=1, seed=0):
    y = np.asarray(y, dtype=np.int8)
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(len(y), 3)), 1)  # rounded: some rows are equal
    groups = {"site": np.arange(len(y), dtype=np.int64) % n_groups}
    return Table("t", X, y, ("a", "b", "c"), "test", "0" * 64, time=rng.random(len(y)), groups=groups)


@st.composite
def tables_and_requests(draw):
    y = draw(st.lists(st.integers(0, 1), min_size=1, max_size=60))
    request = PartitionRequest(
        clients=draw(st.integers(1, 12)),
        seed=draw(st.integers(0, 2**32)),
        alpha=draw(st.floats(1e-12, 1e12)),
        classes_per_client=draw(st.integers(1, 4)),
        min_rows=draw(st.integers(1, 6)),
    )
    return make_table(y, draw(st.integers(1, 20)), draw(st.integers(0, 5))), request


def test_all_partitions_of_the_issue_are_registered():
    assert set(NAMES) == {
        "even",
        "uneven",
        "thesis",
        "iid",
        "dirichlet",
        "quantity",
        "feature",
        "pathological",
        "time",
        "natural",
    }
    assert all(cls.name == name and cls.title for name, cls in registered().items())


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_contract(name):
    check_partitioner(registered()[name])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=tables_and_requests())
def test_splits_or_refuses_in_one_sentence(name, case):
    table, request = case
    try:
        parts = split(name, table, request)
    except UserError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert len(parts) == request.clients
    assert all(len(part) >= request.min_rows and part.dtype == np.int64 for part in parts)
    assert all((np.diff(part) > 0).all() for part in parts)
    held = np.concatenate(parts)
    normal = np.flatnonzero(table.y == 0)
    if name in DISJOINT:
        assert np.array_equal(np.sort(held), np.arange(len(table)))
    else:
        assert np.array_equal(np.sort(held[table.y[held] == 0]), normal)
    again = split(name, table, request)
    assert all(map(np.array_equal, parts, again))


@pytest.mark.parametrize("name", ["iid", "dirichlet", "quantity", "feature", "pathological", "time"])
@settings(max_examples=40, deadline=None)
@given(
    n_frauds=st.integers(0, 80),
    clients=st.integers(1, 8),
    alpha=st.floats(1e-9, 1e9),
    seed=st.integers(0, 99),
)
def test_any_label_distribution_is_served(name, n_frauds, clients, alpha, seed):
    table = make_table(np.arange(80) < n_frauds)
    request = PartitionRequest(clients, seed=seed, alpha=alpha, min_rows=80 // clients)
    sizes = [len(part) for part in split(name, table, request)]
    assert sum(sizes) == 80 and min(sizes) >= 80 // clients


@pytest.mark.parametrize("name", ["even", "uneven", "thesis", "iid", "dirichlet", "quantity", "pathological"])
def test_another_seed_is_another_split(name):
    table = make_table(np.arange(200) < 40)
    one, other = (split(name, table, PartitionRequest(4, seed=seed)) for seed in (1, 2))
    assert not all(map(np.array_equal, one, other))


@pytest.mark.parametrize("name", ["natural", "time"])
def test_follows_the_rows_when_they_are_permuted(name):
    table = make_table(np.arange(120) < 20, n_groups=7)
    order = np.random.default_rng(1).permutation(120)
    permuted = replace(
        table,
        X=table.X[order],
        y=table.y[order],
        time=table.time[order],
        groups={"site": table.groups["site"][order]},
    )
    one = split(name, table, PartitionRequest(4))
    other = split(name, permuted, PartitionRequest(4))
    assert [set(part) for part in one] == [set(order[part]) for part in other]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (PartitionRequest(0), "at least 1 client"),
        (PartitionRequest(-3), "at least 1 client"),
        (PartitionRequest(11, min_rows=10), "at most 10 clients"),
        (PartitionRequest(2, min_rows=0), "min_rows=0"),
        (PartitionRequest(2, alpha=0.0), "alpha"),
        (PartitionRequest(2, alpha=-1.0), "alpha"),
        (PartitionRequest(2, alpha=float("inf")), "alpha"),
        (PartitionRequest(2, classes_per_client=0), "classes_per_client"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_refuses_what_no_partition_can_do(name, request_, words):
    with pytest.raises(UserError, match=words):
        split(name, make_table(np.arange(100) < 50), request_)


def test_unknown_name_is_refused_with_a_hint():
    with pytest.raises(UserError, match="did you mean 'dirichlet'"):
        split("dirichlett", make_table(np.zeros(40)), PartitionRequest(2))


class _Broken(Partitioner):
    """Planted faults for the contract test to find."""

    name, title = "broken", "broken"

    def _split(self, table, request):
        cut = np.array_split(np.arange(len(table)), request.clients)
        return self.spoil(cut)

    def spoil(self, parts: Indices) -> Indices:
        return parts


def _lose(parts):
    return [parts[0][1:], *parts[1:]]


def _share(parts):
    return [np.union1d(parts[0], parts[-1][:1]), *parts[1:]] if len(parts) > 1 else [parts[0][1:]]


def _shuffle(parts):
    return [part[::-1] for part in parts]


def _narrow(parts):
    return [part.astype(np.int32) for part in parts]


@pytest.mark.parametrize("fault", [_lose, _share, _shuffle, _narrow])
def test_contract_finds_planted_faults(fault):
    class Faulty(_Broken):
        def spoil(self, parts):
            return fault(parts)

    check_partitioner(_Broken)
    with pytest.raises(AssertionError):
        check_partitioner(Faulty)


def test_contract_finds_randomness_and_writing():
    class Random(_Broken):
        def _split(self, table, request):
            order = np.random.default_rng().permutation(len(table))
            return [np.sort(part) for part in np.array_split(order, request.clients)]

    class Writing(_Broken):
        def _split(self, table, request):
            table.X[0] = 0
            return super()._split(table, request)

    class Careless(_Broken):
        def split(self, table, request):
            return self._split(table, replace(request, clients=max(request.clients, 1)))

    with pytest.raises(AssertionError, match="two results"):
        check_partitioner(Random)
    with pytest.raises(ValueError, match="read-only"):
        check_partitioner(Writing)
    with pytest.raises(AssertionError, match=r"not refused|rows"):
        check_partitioner(Careless)


def test_names_cannot_be_registered_twice():
    with pytest.raises(ValueError, match="twice"):
        PARTITIONERS.register("iid")(_Broken)
