"""Noise has the scale it is asked for, and repaired sums are possible ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.privacy.noise import clip_rows, gaussian, laplace
from fedanomaly.privacy.repair import possible_covariance, rising_counts

N = 200_000


def draws(mechanism, scale, whole):
    return mechanism(keyed_generator(1, "noise"), scale, (N,), whole)


@pytest.mark.parametrize("sigma", [0.4, 3.0, 50.0])
def test_gaussian_noise_has_its_standard_deviation(sigma):
    noise = draws(gaussian, sigma, False)
    assert noise.std() == pytest.approx(sigma, rel=0.01) and abs(noise.mean()) < 0.01 * sigma
    rounded = draws(gaussian, sigma, True)
    assert rounded.dtype == np.int64 and np.array_equal(rounded, np.rint(noise))


@pytest.mark.parametrize("scale", [0.4, 3.0, 50.0])
def test_laplace_noise_has_its_scale(scale):
    assert np.abs(draws(laplace, scale, False)).mean() == pytest.approx(scale, rel=0.01)
    whole = draws(laplace, scale, True)
    p = np.exp(-1 / scale)
    assert whole.dtype == np.int64
    assert whole.var() == pytest.approx(2 * p / (1 - p) ** 2, rel=0.03)
    counts = np.array([(whole == k).sum() for k in (-2, -1, 0, 1, 2)])
    expected = N * (1 - p) / (1 + p) * p ** np.abs(np.arange(-2, 3))
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected) + 5)


def test_noise_is_keyed():
    assert np.array_equal(draws(laplace, 2.0, True), draws(laplace, 2.0, True))


def test_rows_are_shortened_not_turned():
    X = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(clip_rows(X, 1.0), [[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]])


@given(st.lists(st.integers(-50, 200), min_size=2, max_size=30), st.integers(1, 500))
def test_repaired_counts_are_counts(counts, n):
    repaired = rising_counts(np.array([counts, counts[::-1]]), n)
    assert repaired.min() >= 0 and np.array_equal(repaired.sum(axis=1), [n, n])


def test_counts_without_noise_stay():
    counts = np.array([[0, 3, 0, 5, 2], [1, 1, 1, 1, 6]])
    assert np.array_equal(rising_counts(counts), counts)


def test_noise_beyond_the_rows_adds_no_rows():
    counts = np.zeros((1, 400), dtype=np.int64)
    counts[0, 180:220] = 1000
    noisy = counts + gaussian(keyed_generator(3, "tail"), 30.0, counts.shape, True)
    repaired = rising_counts(noisy, 40_000)
    assert repaired[0, :150].sum() + repaired[0, 250:].sum() < 0.01 * 40_000
    assert np.clip(noisy, 0, None)[0, :150].sum() > 1000  # what taking 0 for negative counts would do


def test_a_possible_covariance_stays_and_an_impossible_one_becomes_possible():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    whole = np.cov(X.T)
    np.testing.assert_allclose(possible_covariance(whole), whole, rtol=1e-9)
    noise = rng.normal(scale=5 * np.abs(whole).max(), size=whole.shape)
    repaired = possible_covariance(whole + noise)
    assert np.linalg.eigvalsh(repaired).min() > 0 and np.array_equal(repaired, repaired.T)
