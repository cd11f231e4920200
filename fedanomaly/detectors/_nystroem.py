"""The Nyström feature map on synthetic landmarks, from statistics that add up over clients.

Landmarks are drawn from the normal distribution with the mean and covariance of all rows, so that
no row serves as one. With ``K`` the kernel matrix of the landmarks and ``L L^T = K + ridge * I``, a
row's features are ``phi(x) = L^-1 k(landmarks, x)``: the features ``K^(-1/2) k(landmarks, x)`` of
Williams and Seeger (2001), turned by a rotation, with every eigenvalue of ``K`` lifted by ``ridge``
(the eigenvalue floor; ``K`` has ones on its diagonal). Inner products are those of the Gaussian
kernel projected on the landmarks, and ``||phi(x)|| <= 1``.

Cholesky's factor instead of the symmetric root, and loops of our own instead of a linear algebra library,
because the same bits must come out on server and clients whatever number of threads each runs with.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array, Arrays
from fedanomaly.detectors._rbf import kernel_values

Floats = npt.NDArray[np.float64]

RIDGE = 1e-6
_CHUNK_ROWS = 4096


def moments(X: Array) -> Arrays:
    """Return ``count`` (1,), ``sum`` (F,) and ``products`` (F, F), the sum of outer products of rows."""
    products = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, len(X), _CHUNK_ROWS):
        part = np.asarray(X[start : start + _CHUNK_ROWS], dtype=np.float64)
        products += np.einsum("nf,ng->fg", part, part, optimize=False)
    total = np.asarray(X, dtype=np.float64).sum(axis=0)
    return {"count": np.array([len(X)], dtype=np.int64), "sum": total, "products": products}


def mean_and_covariance(total: Arrays) -> tuple[Floats, Floats]:
    """Return mean (F,) and population covariance (F, F) from summed :func:`moments`."""
    count = int(total["count"][0])
    mean = total["sum"] / count
    return mean, total["products"] / count - np.multiply.outer(mean, mean)


def kernel_gamma(gamma: Any, mean: Floats, covariance: Floats) -> float:
    """Return the kernel width, as scikit-learn's SVMs define ``scale``, ``auto`` and numbers.

    ``scale`` is ``1 / (F * variance)`` with the variance of all values of the table in one heap.
    """
    if gamma == "auto":
        return 1.0 / len(mean)
    if gamma == "scale":
        variance = float((np.diag(covariance) + mean**2).mean() - mean.mean() ** 2)
        return 1.0 / (len(mean) * variance) if variance > 0 else 1.0
    return float(gamma)


def draw_landmarks(mean: Floats, covariance: Floats, n: int, generator: np.random.Generator) -> Floats:
    """Return ``n`` landmarks from N(mean, covariance), shape (n, F)."""
    floor = 1e-12 * max(float(np.diag(covariance).max()), 1e-300)  # constant and collinear features
    root = cholesky(covariance, floor)
    normal = generator.standard_normal((n, len(mean)))
    return np.asarray(mean + np.einsum("nf,gf->ng", normal, root, optimize=False), dtype=np.float64)


def landmark_root(landmarks: Floats, gamma: float) -> Floats:
    """Return Cholesky's factor ``L`` of the landmarks' kernel matrix with its eigenvalues lifted."""
    return cholesky(kernel_values(landmarks, landmarks, gamma) + RIDGE * np.eye(len(landmarks)), RIDGE)


def cholesky(matrix: Floats, floor: float) -> Floats:
    """Return the lower-triangular ``L`` with ``L L^T = matrix``; pivots below ``floor`` are lifted to it.

    With a floor > 0 it never fails: rounding in a semi-definite matrix cannot stop a federation.
    """
    from fedanomaly.detectors import _triangular

    root = np.zeros(matrix.shape)
    _triangular.factorise(np.array(matrix, dtype=np.float64, order="C"), floor, root)
    return root


def solve_lower(root: Floats, b: Floats) -> Floats:
    """Return ``L^-1 b`` for shape (n,) or (n, columns): from kernel values (or their mean) to features."""
    from fedanomaly.detectors import _triangular

    x = np.array(b, dtype=np.float64, order="C")
    solve = _triangular.solve_lower_one if x.ndim == 1 else _triangular.solve_lower
    solve(root, x)
    return x


def solve_upper(root: Floats, b: Floats) -> Floats:
    """Return ``L^-T b``, shape (n,): from weights on features to coefficients on kernel values."""
    from fedanomaly.detectors import _triangular

    x = np.array(b, dtype=np.float64)
    _triangular.solve_upper_one(root, x)
    return x
