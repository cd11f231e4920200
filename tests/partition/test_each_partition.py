"""What each partition promises beyond the contract."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.core.errors import UserError
from fedanomaly.data.base import Table
from fedanomaly.partition import PartitionRequest, registered, split, summarise


def make_table(n_rows=1000, n_frauds=100, **more):
    rng = np.random.default_rng(3)
    y = np.zeros(n_rows, np.int8)
    y[rng.permutation(n_rows)[:n_frauds]] = 1
    X = more.pop("X", rng.normal(size=(n_rows, 5)))
    return Table("t", X, y, tuple("abcdefgh"[: X.shape[1]]), "test", "0" * 64, **more)


def counts(table, parts, label=1):
    return [int((table.y[part] == label).sum()) for part in parts]


@settings(max_examples=40, deadline=None)
@given(n_frauds=st.integers(1, 50), clients=st.integers(1, 20), seed=st.integers(0, 9))
def test_even_differs_by_one_at_most(n_frauds, clients, seed):
    table = make_table(250, n_frauds)
    request = PartitionRequest(clients, seed=seed)
    if clients > n_frauds:
        with pytest.raises(UserError, match=f"{n_frauds} anomalies over {clients} clients"):
            split("even", table, request)
        return
    parts = split("even", table, request)
    for per_client in (counts(table, parts), counts(table, parts, 0), [len(part) for part in parts]):
        assert max(per_client) - min(per_client) <= 1


def test_uneven_default_is_the_thesis_normalised():
    table = make_table(3000, 150)
    parts = split("uneven", table, PartitionRequest(5))
    assert counts(table, parts) == [20, 30, 10, 40, 50]
    assert max(counts(table, parts, 0)) - min(counts(table, parts, 0)) <= 1


def test_uneven_default_for_other_client_counts_is_linear():
    table = make_table(1000, 60)
    assert counts(table, split("uneven", table, PartitionRequest(3))) == [10, 20, 30]


def test_uneven_given_ratios_are_relative_and_may_be_zero():
    table = make_table(1000, 60)
    parts = split("uneven", table, PartitionRequest(3, fraud_ratios=(0.0, 0.1, 0.2)))
    assert counts(table, parts) == [0, 20, 40]


def test_uneven_gives_every_positive_ratio_an_anomaly():
    table = make_table(1000, 4)
    parts = split("uneven", table, PartitionRequest(4, fraud_ratios=(1e-9, 1.0, 1e-9, 1.0)))
    assert min(counts(table, parts)) == 1


@pytest.mark.parametrize("name", ["uneven", "thesis"])
@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ((0.5,), "1 fraud ratios were given for 3 clients"),
        ((0.5, -0.1, 0.2), "fraud ratio -0.1 of client 1"),
        ((0.5, float("nan"), 0.2), "client 1"),
        ((0.0, 0.0, 0.0), "all fraud ratios are 0"),
        ((1e308, 1e308, 1e308), "too large"),
    ],
)
def test_bad_ratios_are_refused(name, ratios, words):
    with pytest.raises(UserError, match=words):
        split(name, make_table(), PartitionRequest(3, fraud_ratios=ratios))


def test_uneven_refuses_more_clients_than_anomalies():
    with pytest.raises(UserError, match="3 anomalies over 4 clients"):
        split("uneven", make_table(1000, 3), PartitionRequest(4))


def test_uneven_refuses_ratios_that_leave_a_client_short():
    with pytest.raises(UserError, match="normal rows are too few"):
        split("uneven", make_table(100, 98), PartitionRequest(2, fraud_ratios=(0.99, 0.01)))


def test_thesis_draws_from_all_anomalies():
    table = make_table(5000, 400)
    parts = split("thesis", table, PartitionRequest(5))
    assert counts(table, parts) == [80, 120, 40, 160, 200]
    held = np.concatenate(parts)
    assert np.array_equal(np.sort(held[table.y[held] == 0]), np.flatnonzero(table.y == 0))
    summary = summarise(table, parts)
    # independent draws: 400 * .8 * .7 * .9 * .6 * .5 = 60 at nobody, two clients share r1 * r2 * 400
    assert summary.n_unheld == pytest.approx(60, abs=25)
    frauds = [set(part[table.y[part] == 1]) for part in parts]
    assert len(frauds[3] & frauds[4]) == pytest.approx(80, abs=30)


def test_thesis_says_that_it_overlaps():
    partitioner = registered()["thesis"]()
    assert partitioner.overlapping
    assert "overlap" in partitioner.title
    assert partitioner.notes(make_table(), PartitionRequest(5)) == (partitioner.warning,)


def test_thesis_refusals():
    with pytest.raises(UserError, match=r"1\.5 is above 1"):
        split("thesis", make_table(), PartitionRequest(2, fraud_ratios=(0.5, 1.5)))
    with pytest.raises(UserError, match="no anomalies"):
        split("thesis", make_table(1000, 0), PartitionRequest(2))


def test_thesis_repeats_its_ratios_for_more_clients():
    table = make_table(5000, 100)
    assert counts(table, split("thesis", table, PartitionRequest(7)))[5:] == [20, 30]


def test_iid_sizes_are_equal():
    assert sorted(len(part) for part in split("iid", make_table(1003), PartitionRequest(4))) == [
        250,
        251,
        251,
        251,
    ]


def test_dirichlet_alpha_sets_the_skew():
    table = make_table(20_000, 2000)
    skew = [
        np.mean(
            [
                summarise(table, split("dirichlet", table, PartitionRequest(8, alpha=a, seed=s))).label_skew
                for s in range(5)
            ]
        )
        for a in (0.05, 1.0, 1000.0)
    ]
    assert skew[0] > 0.5 > skew[1] > 0.05 > skew[2]


def test_dirichlet_small_alpha_is_topped_up_not_redrawn():
    table = make_table(100, 5)
    parts = split("dirichlet", table, PartitionRequest(10, alpha=1e-300, min_rows=10))
    assert [len(part) for part in parts] == [10] * 10


def test_quantity_alpha_sets_the_sizes():
    table = make_table(20_000, 2000)
    gini = [
        summarise(table, split("quantity", table, PartitionRequest(8, alpha=a))).quantity_skew
        for a in (0.1, 1e4)
    ]
    assert gini[0] > 0.5 and gini[1] < 0.02


def test_pathological_concentrates_the_anomalies():
    table = make_table(1000, 20)
    parts = split("pathological", table, PartitionRequest(5, classes_per_client=2))
    assert sorted(counts(table, parts)) == [0, 0, 0, 0, 20]


def test_pathological_refuses_more_shards_than_rows():
    with pytest.raises(UserError, match="2000 rows"):
        split("pathological", make_table(100), PartitionRequest(10, classes_per_client=200))


def test_time_is_contiguous():
    clock = np.random.default_rng(0).permutation(1000).astype(np.float64)
    table = make_table(time=clock)
    parts = split("time", table, PartitionRequest(4))
    assert [set(clock[part]) for part in parts] == [set(range(at, at + 250)) for at in (0, 250, 500, 750)]
    assert registered()["time"]().notes(table, PartitionRequest(4)) == ()


def test_time_without_times_is_row_order_and_says_so():
    table = make_table()
    parts = split("time", table, PartitionRequest(4))
    assert [(part[0], part[-1]) for part in parts] == [(0, 249), (250, 499), (500, 749), (750, 999)]
    assert "order of its rows" in registered()["time"]().notes(table, PartitionRequest(4))[0]


@settings(max_examples=30, deadline=None)
@given(n_groups=st.integers(1, 40), clients=st.integers(1, 10), seed=st.integers(0, 9))
def test_natural_keeps_groups_whole(n_groups, clients, seed):
    group = np.random.default_rng(seed).integers(0, n_groups, 1000)
    table = make_table(groups={"customer": group})
    present = len(np.unique(group))
    if clients > present:
        with pytest.raises(UserError, match=f"{present} groups"):
            split("natural", table, PartitionRequest(clients))
        return
    parts = split("natural", table, PartitionRequest(clients))
    held = [set(group[part]) for part in parts]
    assert sum(map(len, held)) == present == len(set().union(*held))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= np.bincount(group).max()


def test_natural_column_is_chosen_by_name():
    groups = {"customer": np.arange(1000) % 10, "site": np.arange(1000) // 500}
    table = make_table(groups=groups)
    assert [
        len(set(groups["site"][p])) for p in split("natural", table, PartitionRequest(2, column="site"))
    ] == [1, 1]
    assert len(split("natural", table, PartitionRequest(10))) == 10  # the first column is the default
    with pytest.raises(UserError, match="'terminal'; known: customer, site"):
        split("natural", table, PartitionRequest(2, column="terminal"))


def test_natural_refuses_groups_too_small_and_tables_without_owners():
    with pytest.raises(UserError, match="leave a client 1 rows"):
        split(
            "natural",
            make_table(groups={"site": (np.arange(1000) == 0).astype(np.int64)}),
            PartitionRequest(2),
        )
    with pytest.raises(UserError, match="no column of owners"):
        split("natural", make_table(), PartitionRequest(2))


def test_feature_blocks_are_equal_and_skewed():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 6)) + 6 * rng.integers(0, 3, 3000)[:, None]
    table = make_table(3000, 30, X=X)
    parts = split("feature", table, PartitionRequest(6))
    assert {len(part) for part in parts} == {500}
    skewed = summarise(table, parts).feature_skew
    random = summarise(table, split("iid", table, PartitionRequest(6))).feature_skew
    assert skewed > 0.4 and random < 0.1


def test_feature_finds_separate_clusters():
    site = np.arange(900) % 3
    X = np.random.default_rng(0).normal(size=(900, 2)) + 50.0 * np.array([[0, 0], [1, 0], [0, 1]])[site]
    parts = split("feature", make_table(900, 9, X=X), PartitionRequest(3))
    assert all(len(set(site[part])) == 1 for part in parts)


@pytest.mark.parametrize(
    "column",
    [
        np.zeros(300),
        np.full(300, 1e308),
        np.where(np.arange(300) % 2, 1.7e308, -1.7e308),
        np.where(np.arange(300) == 7, 5e-324, 0.0),
        np.where(np.arange(300) < 5, 1e6, 0.0),
    ],
    ids=["zeros", "constant", "huge", "denormal", "rare"],
)
def test_feature_survives_any_finite_column(column):
    X = np.column_stack([column, np.arange(300) % 2])
    with np.errstate(invalid="raise"):
        parts = split("feature", make_table(300, 3, X=X), PartitionRequest(4))
    assert [len(part) for part in parts] == [75] * 4


@settings(max_examples=20, deadline=None)
@given(scale=st.integers(-30, 30), seed=st.integers(0, 9))
def test_feature_ignores_the_unit_of_a_column(scale, seed):
    X = np.random.default_rng(seed).normal(size=(400, 3))
    one = split("feature", make_table(400, 9, X=X), PartitionRequest(4))
    other = split("feature", make_table(400, 9, X=X * 2.0**scale), PartitionRequest(4))
    assert all(map(np.array_equal, one, other))


def test_feature_does_not_depend_on_how_sums_are_ordered(monkeypatch):
    """The distances are exact whole numbers, so chunks of another size change nothing."""
    from fedanomaly.partition import feature

    table = make_table(2000, 20)
    one = split("feature", table, PartitionRequest(7))
    monkeypatch.setattr(feature, "_CHUNK", 37)
    other = split("feature", table, PartitionRequest(7))
    assert all(map(np.array_equal, one, other))
