"""How much noise a privacy budget asks for, and how much of it is spent.

Gaussian mechanisms compose exactly: releases with parameters ``mu_1, mu_2, ...`` (sensitivity over
standard deviation) are one Gaussian mechanism with ``mu = sqrt(mu_1**2 + mu_2**2 + ...)`` (Dong, Roth
and Su 2022, *Gaussian differential privacy*, corollary 3.3), whose epsilon and delta have a closed form
(Balle and Wang 2018, *Improving the Gaussian mechanism for differential privacy*, theorem 8). No
accountant by moments or by numerical convolution can say less than that, so none is needed. Laplace
mechanisms compose by adding up their epsilons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedanomaly.core.errors import UserError

_MU = (1e-6, 1e3)
_HALVINGS = 80


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return the smallest delta for which a Gaussian mechanism is (epsilon, delta)-private.

    Parameters
    ----------
    mu : float
        Sensitivity over standard deviation, above 0.
    epsilon : float
        At least 0.
    """
    from scipy.special import log_ndtr, ndtr  # type: ignore[import-untyped, unused-ignore]

    tail = math.exp(min(0.0, epsilon + float(log_ndtr(-epsilon / mu - mu / 2))))
    return max(0.0, float(ndtr(mu / 2 - epsilon / mu)) - tail)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the smallest epsilon for which a Gaussian mechanism is (epsilon, delta)-private."""
    if mu <= 0:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        high *= 2.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return the largest ``mu`` whose Gaussian mechanism is (epsilon, delta)-private."""
    low, high = _MU
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if gaussian_delta(middle, epsilon) > delta else (middle, high)
    return low


@dataclass(frozen=True)
class Budget:
    """A privacy budget in equal parts for a known number of releases.

    Parameters
    ----------
    epsilon : float
        Privacy loss of all releases together, above 0.
    delta : float
        Chance that the loss is larger, in [0, 1); 0: pure privacy, by Laplace noise.
    releases : int
        How many answers a client gives at most, at least 1.
    """

    epsilon: float
    delta: float
    releases: int

    def __post_init__(self) -> None:
        if not (0 < self.epsilon < math.inf and 0 <= self.delta < 1 and self.releases >= 1):
            raise UserError(
                "a privacy budget needs an epsilon above 0, a delta from 0 to below 1 and a release, got "
                f"epsilon {self.epsilon}, delta {self.delta}, {self.releases} releases"
            )

    @property
    def mechanism(self) -> str:
        """``gaussian``, or ``laplace`` where delta is 0."""
        return "gaussian" if self.delta else "laplace"

    def scale(self, l1: float, l2: float, parts: int = 1) -> float:
        """Return the noise scale of one of ``parts`` arrays of one release.

        Parameters
        ----------
        l1, l2 : float
            Most that one row moves the array, in the sum of absolute values and in Euclidean norm.
        parts : int
            How many arrays of this release get noise; they share its part of the budget equally.

        Returns
        -------
        float
            Standard deviation (Gaussian) or scale (Laplace), in the array's unit.
        """
        if self.delta:
            mu = gaussian_mu(self.epsilon, self.delta) / math.sqrt(self.releases * parts)
            return l2 / mu
        return l1 * self.releases * parts / self.epsilon

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation over sensitivity of one Gaussian release."""
        return self.scale(1.0, 1.0)

    def spent(self, releases: int) -> float:
        """Return the epsilon that the first ``releases`` releases amount to, at the same delta."""
        if releases <= 0:
            return 0.0
        if not self.delta:
            return self.epsilon * releases / self.releases
        mu = gaussian_mu(self.epsilon, self.delta) * math.sqrt(releases / self.releases)
        return gaussian_epsilon(mu, self.delta)
