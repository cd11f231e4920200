"""Logistic regression by weights: the objective, a client's local steps, and the ball of the optimum."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays, require_only
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.detectors._received import require_float64

Floats = npt.NDArray[np.float64]

LOCAL_STEPS = 20
"""Gradient steps a client takes in one round; each looks at all its rows."""

MOST_INTERCEPT = 30.0
_LARGE = 1e100  # rows are cut to +-1e100, so that every product is finite


class LogisticModel:
    """A linear score: ``decision(X) = X @ coef + intercept``, the log-odds of an anomaly.

    Its objective is ``J(w, b) = sum_i s_i log(1 + exp(-t_i (<w, x_i> + b))) + alpha ||w||^2 / 2`` with
    ``t_i`` = 1 for anomalies, else -1, and shares ``s_i`` that add up to 1 over all rows of all clients,
    so that the clients' objectives weighted by their rows add up to that of all rows. Since
    ``J(0, 0) = log 2``, the optimum lies in ``||w|| <= sqrt(2 log 2 / alpha)``: weights outside that
    ball come from no data, and no client can send them.
    """

    def __init__(self, coef: Floats, intercept: float) -> None:
        self.coef = coef
        self.intercept = intercept

    def decision(self, X: Array) -> Floats:
        """Return the log-odds, shape (n_rows,); summed without BLAS, whose order varies by machine."""
        rows = np.clip(X, -_LARGE, _LARGE)
        return np.asarray(np.einsum("nf,f->n", rows, self.coef, optimize=False) + self.intercept)

    def to_arrays(self) -> Arrays:
        """Return ``coef`` (n_features,) and ``intercept`` (1,), float64."""
        return {"coef": self.coef, "intercept": np.array([self.intercept])}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> LogisticModel:
        """Read the arrays back, or raise :class:`InvalidArrays`."""
        require_only(arrays, {"coef", "intercept"})
        coef = require_float64(arrays, "coef", (None,))
        if not len(coef):
            raise InvalidArrays("a logistic regression needs at least one feature")
        return cls(coef, float(require_float64(arrays, "intercept", (1,))[0]))

    def inside(self, alpha: float) -> LogisticModel:
        """Return the closest model in the ball."""
        radius = math.sqrt(2.0 * math.log(2.0) / alpha)
        shrunk = self.coef * min(1.0, radius / max(_norm(self.coef), 1e-300))
        return LogisticModel(shrunk, min(MOST_INTERCEPT, max(-MOST_INTERCEPT, self.intercept)))

    def improved(self, X: Array, y: Array, shares: Floats, alpha: float, mu: float = 0.0) -> LogisticModel:
        """Return the model after :data:`LOCAL_STEPS` gradient steps on a client's rows.

        Parameters
        ----------
        X, y : ndarray of shape (n_rows, n_features) and (n_rows,)
            Rows, scaled, and labels (1 = anomaly).
        shares : ndarray of shape (n_rows,)
            Weight of each row in the client's objective.
        alpha : float
            Strength of the penalty.
        mu : float
            FedProx's proximal term.

        Notes
        -----
        The step is 1 / L of the client's own objective, which cannot diverge: L is a quarter of the
        largest eigenvalue of the weighted second moment of the rows, by power iteration.
        """
        rows = np.clip(X, -_LARGE, _LARGE)
        rate = 1.0 / (0.25 * _largest_eigenvalue(rows, shares) + alpha + mu)
        start, model = self, self
        for _ in range(LOCAL_STEPS):
            odds = np.exp(-np.clip(model.decision(rows), -700.0, 700.0))
            residual = shares * (1.0 / (1.0 + odds) - y)
            slope = np.einsum("n,nf->f", residual, rows, optimize=False)
            slope = slope + alpha * model.coef + mu * (model.coef - start.coef)
            pull = float(residual.sum()) + mu * (model.intercept - start.intercept)
            model = LogisticModel(model.coef - rate * slope, model.intercept - rate * pull).inside(alpha)
        return model


def check_weights(arrays: Arrays, n_features: int | None, alpha: float) -> None:
    """Raise :class:`InvalidArrays` unless ``arrays`` are weights inside the ball."""
    require_only(arrays, {"coef", "intercept"})
    require_float64(arrays, "coef", (n_features,))
    model = LogisticModel.from_arrays(arrays)
    require_float64(arrays, "intercept", (1,), low=-MOST_INTERCEPT, high=MOST_INTERCEPT)
    if _norm(model.coef) > _norm(model.inside(alpha).coef) * (1 + 1e-9):
        raise InvalidArrays("the norm of coef is larger than any data can make it")


def received_weights(request: Arrays, n_features: int, alpha: float) -> tuple[LogisticModel, float]:
    """Return the model a client was sent, put into the ball, and FedProx's ``mu``."""
    proximal = {"mu": np.reshape(request.get("proximal_mu", np.zeros(1)), -1)}
    mu = float(require_float64(proximal, "mu", (1,), low=0)[0])
    require_float64(request, "coef", (n_features,))
    model = LogisticModel.from_arrays(
        {name: request[name] for name in ("coef", "intercept") if name in request}
    )
    return model.inside(alpha), mu


def fit_exactly(X: Array, y: Array, alpha: float, balanced: bool) -> LogisticModel:
    """Return the optimum of the objective on rows in one place, by scikit-learn; both classes are there."""
    from sklearn.linear_model import LogisticRegression

    machine = LogisticRegression(
        C=1.0 / (alpha * len(X)), class_weight="balanced" if balanced else None, max_iter=2000
    ).fit(X, y)
    return LogisticModel(np.array(machine.coef_[0]), float(machine.intercept_[0]))


def _largest_eigenvalue(X: Array, shares: Floats) -> float:
    """Return that of ``sum_i s_i (x_i, 1) (x_i, 1)^T``, from below; far closer than the factor 2 allowed."""
    v, constant = np.einsum("n,nf->f", shares, np.abs(X), optimize=False), float(shares.sum())
    signed = np.einsum("n,nf->f", shares, X, optimize=False)
    v = np.where(signed < 0, -v, v)
    value = constant
    for _ in range(20):
        length = math.hypot(_norm(v), constant)
        v, constant = v / length, constant / length
        along = shares * (np.einsum("nf,f->n", X, v, optimize=False) + constant)
        v, constant = np.einsum("n,nf->f", along, X, optimize=False), float(along.sum())
        value = max(value, math.hypot(_norm(v), constant))
    return value


def _norm(v: Floats) -> float:
    """Return the Euclidean norm; scaled first, so that squares of large values stay finite."""
    largest = float(np.abs(v).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    return largest * math.sqrt(float(((v / largest) ** 2).sum()))
