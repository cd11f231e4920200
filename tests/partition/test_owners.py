"""Whole-number shares, minimum sizes, owners to row numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.partition.owners import apportion, deal, raise_to, rows_by_owner, shares, top_up

weights = st.lists(st.floats(0, 1e6), min_size=1, max_size=30).filter(lambda w: sum(w) > 1e-300)


@given(total=st.integers(0, 10**7), w=weights)
def test_apportion_adds_up_and_is_within_one_of_the_quota(total, w):
    counts = apportion(total, w)
    assert counts.sum() == total
    quotas = total * (np.array(w) / np.sum(w))
    assert (np.abs(counts - quotas) < 1 + 1e-6).all()


def test_apportion_gives_remainders_to_the_largest_fraction_then_the_first():
    assert apportion(10, [1, 1, 1]).tolist() == [4, 3, 3]
    assert apportion(10, [0.55, 0.27, 0.18]).tolist() == [5, 3, 2]


@given(counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=30), data=st.data())
def test_raise_to_keeps_the_sum_and_the_minima(counts, data):
    minimum = data.draw(st.lists(st.integers(0, 10**5), min_size=len(counts), max_size=len(counts)))
    counts = np.array(counts)
    if sum(minimum) > counts.sum():
        with pytest.raises(ValueError, match="minima"):
            raise_to(counts, minimum)
        return
    raised = raise_to(counts, minimum)
    assert raised.sum() == counts.sum() and (raised >= minimum).all()
    assert (raised[counts <= minimum] == np.array(minimum)[counts <= minimum]).all()


@settings(max_examples=200)
@given(alpha=st.floats(5e-324, 1e300), n=st.integers(1, 50), seed=st.integers(0, 9))
def test_shares_are_shares_for_any_alpha(alpha, n, seed):
    drawn = shares(np.random.default_rng(seed), alpha, n)
    assert np.isfinite(drawn).all() and (drawn >= 0).all() and drawn.sum() == pytest.approx(1)


def test_shares_have_the_moments_of_a_dirichlet():
    drawn = np.array([shares(np.random.default_rng(s), 0.3, 4) for s in range(8000)])
    assert drawn.mean(axis=0) == pytest.approx([0.25] * 4, abs=0.015)
    assert drawn.var(axis=0) == pytest.approx([0.25 * 0.75 / 2.2] * 4, rel=0.06)


@given(owner=st.lists(st.integers(0, 9), min_size=1, max_size=100))
def test_rows_by_owner(owner):
    parts = rows_by_owner(np.array(owner), 12)
    assert [part.tolist() for part in parts] == [
        [row for row, who in enumerate(owner) if who == client] for client in range(12)
    ]


def test_deal_cuts_an_order():
    assert [part.tolist() for part in deal(np.array([3, 0, 2, 1]), np.array([1, 3]))] == [[3], [0, 1, 2]]


def test_more_than_65536_clients():
    parts = rows_by_owner(np.arange(70_000)[::-1].copy(), 70_000)
    assert len(parts) == 70_000 and parts[0].tolist() == [69_999]


@given(owner=st.lists(st.integers(0, 5), min_size=30, max_size=80), seed=st.integers(0, 9))
def test_top_up_moves_no_more_than_it_must(owner, seed):
    owner = np.array(owner)
    before = np.bincount(owner, minlength=6)
    after = top_up(owner, 6, 5, np.random.default_rng(seed))
    sizes = np.bincount(after, minlength=6)
    assert (sizes >= 5).all() and sizes.sum() == len(owner)
    assert (after != owner).sum() == np.maximum(5 - before, 0).sum()
