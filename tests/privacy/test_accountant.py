"""The closed forms against the definition, and against accountants of others."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.core.errors import UserError
from fedanomaly.privacy.accountant import Budget, gaussian_delta, gaussian_epsilon, gaussian_mu

BUDGETS = [(0.1, 1e-6), (1.0, 1e-5), (3.0, 1e-9), (10.0, 1e-5)]


def delta_by_definition(mu, epsilon):
    """The hockey-stick divergence of N(mu, 1) from N(0, 1): integral of max(0, p - e^eps q)."""
    x = np.linspace(-40, 40, 800_001)
    p, q = np.exp(-((x - mu) ** 2) / 2), np.exp(-(x**2) / 2)
    return float(np.maximum(p - np.exp(epsilon) * q, 0).sum() * (x[1] - x[0]) / np.sqrt(2 * np.pi))


@pytest.mark.parametrize(("epsilon", "delta"), BUDGETS)
def test_mu_is_what_the_definition_of_privacy_asks_for(epsilon, delta):
    mu = gaussian_mu(epsilon, delta)
    assert delta_by_definition(mu, epsilon) == pytest.approx(delta, rel=1e-4)
    assert gaussian_epsilon(mu, delta) == pytest.approx(epsilon, rel=1e-9)


@pytest.mark.parametrize(("epsilon", "delta"), BUDGETS)
def test_a_moments_accountant_never_finds_less_and_not_much_more(epsilon, delta):
    """Mironov (2017), Renyi differential privacy: proposition 3 and the Gaussian mechanism's corollary 3."""
    releases = 7
    z = Budget(epsilon, delta, releases).noise_multiplier
    orders = np.concatenate([np.linspace(1.01, 12, 500), np.linspace(12, 500, 500)])
    bound = float(np.min(releases * orders / (2 * z**2) + np.log(1 / delta) / (orders - 1)))
    assert epsilon <= bound <= 1.5 * epsilon


def test_dp_accounting_agrees():
    pld = pytest.importorskip("dp_accounting.pld")
    accounting = pytest.importorskip("dp_accounting")
    budget = Budget(1.0, 1e-5, 7)
    accountant = pld.PLDAccountant(accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(accounting.GaussianDpEvent(budget.noise_multiplier), 7)
    assert accountant.get_epsilon(1e-5) == pytest.approx(1.0, rel=1e-3)
    accountant.compose(accounting.GaussianDpEvent(budget.noise_multiplier), 7)
    assert accountant.get_epsilon(1e-5) == pytest.approx(Budget(1.0, 1e-5, 7).spent(14), rel=1e-3)


@given(st.floats(0.05, 20), st.sampled_from([0.0, 1e-9, 1e-5]), st.integers(1, 50))
def test_all_releases_spend_all_and_fewer_spend_less(epsilon, delta, releases):
    budget = Budget(epsilon, delta, releases)
    spent = [budget.spent(number) for number in range(releases + 1)]
    assert spent[0] == 0 and spent[-1] == pytest.approx(epsilon, rel=1e-6)
    assert all(first < second for first, second in pairwise(spent))


def test_laplace_scales_add_up_their_epsilons():
    budget = Budget(2.0, 0.0, 4)
    assert budget.mechanism == "laplace"
    assert budget.scale(l1=3.0, l2=1.0, parts=2) == 3.0 * 4 * 2 / 2.0
    assert budget.spent(1) == 0.5


def test_parts_of_a_release_compose_to_the_release():
    budget = Budget(1.0, 1e-5, 3)
    sigma = budget.scale(l1=9.0, l2=2.0, parts=2)
    whole = np.sqrt(3 * 2) * 2.0 / sigma  # six Gaussian mechanisms of sensitivity 2
    assert gaussian_delta(whole, 1.0) == pytest.approx(1e-5, rel=1e-6)


@pytest.mark.parametrize("values", [(0.0, 1e-5, 1), (1.0, 1.0, 1), (1.0, -1e-5, 1), (1.0, 1e-5, 0)])
def test_no_budget_is_refused(values):
    with pytest.raises(UserError, match="a privacy budget needs"):
        Budget(*values)
