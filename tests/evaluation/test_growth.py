import numpy as np
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.evaluation import growth

SIZES = np.array([2.0, 5, 10, 20, 50, 100, 200, 500, 1000])


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 1.7, 2.0])
def test_an_exact_law_is_found(exponent):
    found = growth(SIZES, 0.25 * SIZES**exponent)
    assert found.exponent == pytest.approx(exponent, abs=1e-12)
    assert found.low == pytest.approx(found.high, abs=1e-9)
    assert found.factor == pytest.approx(0.25) and found.misfit == pytest.approx(1.0)
    assert found.at(300) == pytest.approx(0.25 * 300**exponent)
    assert (found.smallest, found.largest, found.sizes) == (2, 1000, 9)
    assert str(found) == f"{exponent:.2f} [{exponent:.2f}, {exponent:.2f}]"


def test_the_interval_covers_as_often_as_it_says():
    sizes, covered = np.repeat(SIZES, 3), 0
    for trial in range(400):
        noise = keyed_generator(trial, "growth").normal(0, 0.2, len(sizes))
        found = growth(sizes, 3 * sizes**1.3 * np.exp(noise))
        covered += found.low <= 1.3 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_seeds_do_not_hide_that_there_is_no_law():
    bent = 50 + SIZES  # a constant, then linear
    once, often = growth(SIZES, bent), growth(np.tile(SIZES, 20), np.tile(bent, 20))
    assert str(once) == str(often) and once.high - once.low > 0.2 and once.misfit > 1.3


def test_a_constant_hides_the_growth_of_small_sizes():
    cost = 5 + 0.1 * SIZES**2
    assert growth(SIZES, cost).exponent < 1.8
    assert growth(SIZES, cost, least=50).exponent == pytest.approx(2.0, abs=0.02)


def test_one_cold_start_changes_nothing():
    costs = np.tile(3 * SIZES, 3)
    costs[4] *= 50
    assert growth(np.tile(SIZES, 3), costs) == growth(SIZES, 3 * SIZES)


def test_undefined_costs_are_left_out():
    sizes, cost = np.append(SIZES, [7, 7]), np.append(2 * SIZES, [np.nan, 0])
    assert growth(sizes, cost) == growth(SIZES, 2 * SIZES)


@pytest.mark.parametrize("sizes", [[], [5], [5, 5, 9, 9]])
def test_too_few_sizes_give_no_exponent(sizes):
    found = growth(sizes, np.ones(len(sizes)))
    assert np.isnan(found.exponent) and str(found) == "undefined"
    assert found.sizes == len(set(sizes))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: growth([1, 2], [1.0]), "one size a cost"),
        (lambda: growth([0, 1, 2], [1.0, 1, 1]), "positive"),
        (lambda: growth([1, 2, 3], [1.0, 1, 1], confidence=1.0), "between 0 and 1"),
    ],
)
def test_bad_input_is_one_sentence(call, said):
    with pytest.raises(UserError, match=said):
        call()
