"""Generated payments of five banks that meet different kinds of fraud: heterogeneity that means something."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import DATASETS, DataRequest, Dataset, Table
from fedanomaly.data.build import build_table, checked_rows

Floats = npt.NDArray[np.float64]

DEFAULT_ROWS = 50_000
LEAST_ROWS = 500
FRAUD_RATE = 0.02
DAYS = 30
SITES = (0.30, 0.25, 0.20, 0.15, 0.10)
"""Share of all rows at each site."""
FRAUD_TYPES = ("account takeover", "card testing", "payment scam", "money mule")
_MAIN_SHARE = 0.85  # of a site's frauds are of its own type; the last site sees all types alike
_FAINT = 0.10  # share of frauds that show next to nothing

FEATURES = (
    "amount",
    "hour",
    "payments_last_day",
    "hours_since_last",
    "amount_to_usual",
    "balance_share",
    "account_age_days",
    "device_age_days",
    "payee_age_days",
    "distance_km",
    "failed_logins",
    "payee_risk",
)


class Payments(NamedTuple):
    """Generated payments, in order of time.

    Attributes
    ----------
    X : ndarray of shape (n_rows, 12), float64
    y : ndarray of shape (n_rows,), int8
    time : ndarray of shape (n_rows,), float64
        Seconds since the start.
    site : ndarray of shape (n_rows,), int64
        0 to 4.
    fraud_type : ndarray of shape (n_rows,), int64
        Index into :data:`FRAUD_TYPES`, -1 for legitimate rows.
    """

    X: Floats
    y: npt.NDArray[np.int8]
    time: Floats
    site: npt.NDArray[np.int64]
    fraud_type: npt.NDArray[np.int64]


@DATASETS.register("payments")
class TypedPayments(Dataset):
    """Five sites of unequal size, four types of fraud; four sites meet mostly one type each.

    A model of one site hardly knows the frauds of the others: the case for a federation, in the
    manner of NVIDIA FLARE's payment-fraud study. ``groups['site']`` is the natural partition.
    """

    name: ClassVar[str] = "payments"
    title: ClassVar[str] = (
        "generated payments of five sites with different types of fraud, any number of rows"
    )

    def cache_key(self, request: DataRequest) -> str:
        """Return what the rows depend on."""
        return repr((request.rows, request.seed))

    def load(self, request: DataRequest) -> Table:
        """Generate ``request.rows`` rows (default 50,000, at least 500), 2 % of them frauds."""
        rows = checked_rows(DEFAULT_ROWS if request.rows is None else request.rows, LEAST_ROWS)
        payments = generate(rows, request.seed)
        return build_table(
            self.name,
            payments.X,
            payments.y,
            FEATURES,
            source=f"generated (seed {request.seed})",
            time=payments.time,
            groups={"site": payments.site},
            amount=payments.X[:, 0].copy(),
            synthetic=True,
            warnings=("synthetic rows: payments and frauds are generated, not observed",),
        )


def generate(rows: int, seed: int) -> Payments:
    """Return ``rows`` payments; the same seed and number of rows give the same payments."""
    own = keyed_generator(seed, "payments", rows)
    site = np.repeat(np.arange(len(SITES)), _parts(rows, np.array(SITES)))
    fraud_type = np.full(rows, -1)
    for s in range(len(SITES)):
        members = np.flatnonzero(site == s)
        count = max(len(FRAUD_TYPES), round(FRAUD_RATE * len(members)))
        shares = np.full(len(FRAUD_TYPES), (1 - _MAIN_SHARE) / (len(FRAUD_TYPES) - 1))
        if s < len(FRAUD_TYPES):
            shares[s] = _MAIN_SHARE
        types = np.repeat(np.arange(len(FRAUD_TYPES)), _parts(count, shares / shares.sum()))
        fraud_type[own.permutation(members)[:count]] = types

    columns = _legitimate(site, own)
    for kind, name in enumerate(FRAUD_TYPES):
        _make_fraud(name, np.flatnonzero(fraud_type == kind), columns, own)
    columns["amount_to_usual"] *= columns["amount"]
    columns["balance_share"] = np.clip(columns["balance_share"], 0, 1)

    time = np.floor((own.integers(0, DAYS, rows) * 24 + columns["hour"]) * 3600)
    order = np.argsort(time, kind="stable")
    columns["amount"] = np.maximum(columns["amount"], 0.01)
    X = np.column_stack([columns[feature] for feature in FEATURES])[order]
    X = np.rint(X * 1000) / 1000  # machines differ in the last bits of exp and log
    X[:, 0] = np.rint(X[:, 0] * 100) / 100
    return Payments(X, (fraud_type[order] >= 0).astype(np.int8), time[order], site[order], fraud_type[order])


def _parts(total: int, shares: Floats) -> npt.NDArray[np.int64]:
    """Split a number by shares, exactly."""
    ends = np.rint(np.concatenate([[0.0], np.cumsum(shares)]) * total)
    return np.asarray(np.diff(ends), dtype=np.int64)


def _legitimate(site: npt.NDArray[np.int64], own: np.random.Generator) -> dict[str, Floats]:
    """Return the features of ordinary payments; sites differ in sums, hours and distances."""
    n = len(site)
    usual = np.exp(own.normal(np.array([3.4, 3.9, 3.0, 4.3, 3.6])[site], 0.7))
    return {
        "amount": usual * np.exp(own.normal(0, 0.8, n)),
        "hour": (own.normal(np.array([14.0, 15.0, 13.0, 12.0, 16.0])[site], 4.5)) % 24,
        "payments_last_day": own.poisson(np.array([2.0, 1.5, 3.0, 1.0, 2.0])[site]).astype(np.float64),
        "hours_since_last": own.exponential(14.0, n),
        "amount_to_usual": 1 / usual,  # times the amount, once that is final
        "balance_share": own.beta(1.2, 9.0, n),
        "account_age_days": own.gamma(2.0, 700.0, n),
        "device_age_days": own.gamma(1.2, 250.0, n),
        "payee_age_days": own.exponential(200.0, n) * (own.random(n) > 0.15),
        "distance_km": own.lognormal(np.array([1.2, 1.6, 1.0, 2.0, 1.4])[site], 1.2),
        "failed_logins": own.poisson(0.08, n).astype(np.float64),
        "payee_risk": own.beta(1.5, 12.0, n),
    }


def _make_fraud(
    name: str, at: npt.NDArray[np.int64], columns: dict[str, Floats], own: np.random.Generator
) -> None:
    """Turn ordinary payments into frauds of one type, some of them faint."""
    n = len(at)
    shown = np.where(own.random(n) < _FAINT, 0.1, own.uniform(0.6, 1.0, n))

    def towards(feature: str, value: Floats) -> None:
        columns[feature][at] += shown * (value - columns[feature][at])

    if name == "account takeover":
        towards("device_age_days", own.exponential(2.0, n))
        towards("failed_logins", own.poisson(3.5, n).astype(np.float64))
        towards("distance_km", own.lognormal(6.0, 0.8, n))
        towards("amount", columns["amount"][at] * own.uniform(2, 6, n))
    elif name == "card testing":
        towards("amount", own.uniform(0.1, 2.0, n))
        towards("payments_last_day", own.poisson(25.0, n).astype(np.float64))
        towards("hours_since_last", own.exponential(0.05, n))
    elif name == "payment scam":
        towards("amount", columns["amount"][at] * own.uniform(6, 20, n))
        towards("balance_share", own.beta(8.0, 2.0, n))
        towards("payee_age_days", own.exponential(0.5, n))
    else:  # money mule
        towards("account_age_days", own.exponential(20.0, n))
        towards("payee_risk", own.beta(8.0, 3.0, n))
        towards("balance_share", own.beta(20.0, 1.2, n))
        towards("hours_since_last", own.exponential(1.0, n))
