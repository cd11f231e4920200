"""The embedded default: generated card payments, with the schema and the hardness of the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri  # type: ignore[import-untyped, unused-ignore]

from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data import creditcard_figures as figures
from fedanomaly.data.base import DATASETS, DataRequest, Dataset, Table
from fedanomaly.data.build import build_table, checked_rows
from fedanomaly.data.creditcard_figures import COMPONENTS, FEATURES

Floats = npt.NDArray[np.float64]
Generator = np.random.Generator

DEFAULT_ROWS = 284_807
FRAUD_RATE = 0.001727
LEAST_ROWS = 100

# What no table of figures holds; chosen so that a forest, logistic regression, LOF and the
# distances between rows come out as on the genuine sample (tests/data/test_synthetic.py).
_HIDDEN_SHARE = 0.15  # frauds inside the legitimate cloud
_HIDDEN_STRENGTH = 0.75  # how much of the hidden frauds' own shift and scale they show
_SUSPICIOUS_SHARE = 0.0008  # legitimate rows on the way towards the frauds
_SUSPICIOUS_STRENGTH = (0.2, 0.7)  # how far on that way
_KINDS = 3_000  # kinds of legitimate payment: rows of one kind resemble one another
_VOLATILITY = 0.3  # log sd of the factor by which all features of a row are large together
_KIND_VOLATILITY = 0.7  # the part of it that all rows of one kind share
_CAMPAIGN = 5  # frauds in a campaign: like one another, and soon after one another
_LOOSENESS = 0.25  # largest share of a fraud's variance that is not its campaign's
_FIRST_DAY = {"legitimate": 0.5102, "fraud": 0.5711}
_WHOLE_AMOUNTS = {"legitimate": 0.205, "fraud": 0.11}  # amounts above 1 without cents
_CHUNK = 1 << 14  # rows at a time: the work stays in the processor's cache
_DAY = 86_400
_GRID = 2.0**20


@DATASETS.register("synthetic")
class Synthetic(Dataset):
    """Generated rows in the schema of ``creditcard``: V1 to V28 and Amount, with Time beside them.

    Legitimate rows come from a Gaussian copula over the published marginal distributions, with
    3,000 kinds of payment and a common volatility; frauds from a second copula, in campaigns of
    similar rows that follow one another, some of them inside the legitimate cloud. One seed gives
    one table; tables of different length are different draws (fewer rows are no prefix of more).
    """

    name: ClassVar[str] = "synthetic"
    title: ClassVar[str] = "generated card payments as hard as `creditcard`, any number of rows (default)"

    def cache_key(self, request: DataRequest) -> str:
        """Return what the rows depend on."""
        return repr((request.rows, request.seed))

    def load(self, request: DataRequest) -> Table:
        """Generate ``request.rows`` rows (default 284,807, at least 100), .1727 % of them frauds."""
        rows = checked_rows(DEFAULT_ROWS if request.rows is None else request.rows, LEAST_ROWS)
        X, y, time = generate(rows, request.seed)
        return build_table(
            self.name,
            X,
            y,
            FEATURES,
            source=f"generated (seed {request.seed})",
            time=time,
            amount=X[:, -1].copy(),
            synthetic=True,
            warnings=("synthetic rows: generated to resemble the ULB credit-card data, not observed",),
        )


def generate(rows: int, seed: int) -> tuple[Floats, npt.NDArray[np.int8], Floats]:
    """Return ``X`` (rows, 29), ``y`` (rows,) and the second of each row (rows,), in order of time."""
    n_frauds = max(1, round(FRAUD_RATE * rows))
    n_legitimate = rows - n_frauds
    moments = np.sort(keyed_generator(seed, "synthetic", "time").random(n_legitimate))
    fraud, fraud_moments = _frauds(n_frauds, seed)

    time = np.concatenate([_seconds(moments, "legitimate"), _seconds(fraud_moments, "fraud")])
    order = np.argsort(time, kind="stable")
    place = np.empty(rows, dtype=np.int64)
    place[order] = np.arange(rows)

    X = np.empty((rows, len(FEATURES)))
    y = np.zeros(rows, dtype=np.int8)
    start = 0
    for chunk in _legitimate(moments, seed):
        X[place[start : start + len(chunk)]] = chunk
        start += len(chunk)
    X[place[n_legitimate:]] = fraud
    y[place[n_legitimate:]] = 1
    return X, y, time[order]


def _legitimate(moments: Floats, seed: int) -> Iterator[Floats]:
    """Yield the legitimate rows in order of time, some thousands at a time."""
    kinds = _Kinds(seed)
    for start in range(0, len(moments), _CHUNK):
        own = keyed_generator(seed, "synthetic", "legitimate", start)
        scores = kinds.scores(moments[start : start + _CHUNK], own)
        chunk = _from_scores(scores, "legitimate")
        suspicious = np.flatnonzero(own.random(len(chunk)) < _SUSPICIOUS_SHARE)
        if len(suspicious):
            strength = own.uniform(*_SUSPICIOUS_STRENGTH, len(suspicious))
            like = _campaigns(len(suspicious), own)[:, :COMPONENTS]
            chunk[suspicious, :COMPONENTS] += strength[:, None] * like
        yield _finished(chunk, "legitimate", own)


def _frauds(count: int, seed: int) -> tuple[Floats, Floats]:
    """Return the frauds' rows (count, 29) and when in the two days (0 to 1) each happens."""
    own = keyed_generator(seed, "synthetic", "fraud")
    moments = np.minimum(
        (np.arange(count) + own.random(count)) / count, 1 - 1e-9
    )  # even: few rows show noise
    hidden = np.zeros(count, dtype=bool)
    hidden[own.permutation(count)[: round(_HIDDEN_SHARE * count)]] = True
    rows = np.empty((count, len(FEATURES)))

    scores = _Kinds(seed).scores(moments[hidden], own)
    shift, scale = figures.hidden_frauds()
    resembling = _from_scores(scores, "legitimate")[:, :COMPONENTS]
    rows[hidden, :COMPONENTS] = resembling * (1 + _HIDDEN_STRENGTH * (scale - 1)) + _HIDDEN_STRENGTH * shift
    rows[hidden, COMPONENTS] = _amounts(_evened(own.standard_normal((1, len(resembling))))[0], "fraud")
    rows[~hidden] = _campaigns(int((~hidden).sum()), own)

    # Frauds that follow one another are one campaign; draw them together in time.
    overt = np.flatnonzero(~hidden)
    first = overt[(np.arange(len(overt)) // _CAMPAIGN) * _CAMPAIGN]
    moments[overt] = moments[first] + (moments[overt] - moments[first]) * own.random(len(overt)) ** 2
    return _finished(rows, "fraud", own), moments


def _campaigns(count: int, own: Generator) -> Floats:
    """Return overt frauds (count, 29), campaign after campaign."""
    n_campaigns = -(-count // _CAMPAIGN)
    campaign = np.arange(count) // _CAMPAIGN
    loose = _LOOSENESS * own.random(n_campaigns)[campaign] ** 2
    common = own.standard_normal((len(FEATURES), n_campaigns))[:, campaign]
    scores = np.sqrt(1 - loose) * common + np.sqrt(loose) * own.standard_normal((len(FEATURES), count))
    return _from_scores(_evened(_mixing("fraud") @ scores), "fraud")


class _Kinds:
    """Kinds of legitimate payment: normal scores that are alike within a kind."""

    def __init__(self, seed: int) -> None:
        own = keyed_generator(seed, "synthetic", "kinds")
        centres = own.standard_normal((len(FEATURES), _KINDS))
        # Uncorrelated and evenly normal: 3,000 draws alone would shift correlations and tails by luck.
        centres = _evened(np.linalg.inv(np.linalg.cholesky(np.cov(centres))) @ centres)
        tightness = 0.97 - 0.87 * own.random(_KINDS) ** 2
        self.centres = centres * np.sqrt(tightness)
        self.spread = np.sqrt(1 - tightness)
        self.volatility = _VOLATILITY * _KIND_VOLATILITY * own.standard_normal(_KINDS)

    def scores(self, moments: Floats, own: Generator) -> Floats:
        """Return normal scores, feature by feature: shape (29, len(moments))."""
        count = len(moments)
        kind = own.integers(0, _KINDS, count)
        scores = own.standard_normal((len(FEATURES), count))
        scores *= self.spread[kind]
        scores += self.centres[:, kind]
        scores = _mixing("legitimate") @ scores
        scores += np.outer(figures.time_correlations(), ndtri(np.clip(moments, 1e-9, 1 - 1e-9)))
        rest = _VOLATILITY * np.sqrt(1 - _KIND_VOLATILITY**2)
        return np.asarray(scores * np.exp(self.volatility[kind] + rest * own.standard_normal(count)))


@cache
def _mixing(kind: str) -> Floats:
    """Return the matrix that gives independent scores the published correlations."""
    target = figures.correlations(kind)
    known = figures.time_correlations() if kind == "legitimate" else np.zeros(len(FEATURES))
    values, vectors = np.linalg.eigh(target - np.outer(known, known))
    # Published to four digits, so not quite definite. The symmetric root does not depend on the
    # signs of the eigenvectors, which differ between linear algebra libraries.
    root = (vectors * np.sqrt(np.maximum(values, 1e-3))) @ vectors.T
    return np.asarray(root * np.sqrt((1 - known**2) / (root**2).sum(axis=1))[:, None])


@cache
def _knots(kind: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the scores at the published quantiles and the values there, of V1 to V28 and of Amount."""
    probability, values = figures.quantiles(kind)
    amount_probability, amounts = figures.amount_quantiles(kind)
    if kind == "fraud":
        at, amount_at = ndtri(probability), ndtri(amount_probability)
    else:  # normal times a log-normal volatility: its distribution by Gauss-Hermite quadrature
        nodes, weights = np.polynomial.hermite_e.hermegauss(31)
        grid = np.linspace(-14, 14, 5601)
        below = ndtr(grid[:, None] / np.exp(_VOLATILITY * nodes)) @ (weights / weights.sum())
        at, amount_at = np.interp(probability, below, grid), np.interp(amount_probability, below, grid)
    return at, np.ascontiguousarray(values.T), amount_at, amounts


def _evened(scores: Floats) -> Floats:
    """Replace the scores of each feature by the normal scores of their ranks.

    Where rows are few, their marginal distributions would otherwise depend on the luck of the draw.
    """
    ranks = scores.argsort(axis=1).argsort(axis=1)
    return np.asarray(ndtri((ranks + 0.5) / scores.shape[1]))


def _from_scores(scores: Floats, kind: str) -> Floats:
    """Return rows (n, 29) with the published marginal distributions from scores (29, n)."""
    at, values, _, _ = _knots(kind)
    rows = np.empty(scores.shape[::-1])
    for j in range(COMPONENTS):
        rows[:, j] = np.interp(scores[j], at, values[j])
    rows[:, COMPONENTS] = _amounts(scores[COMPONENTS], kind)
    return rows


def _amounts(scores: Floats, kind: str) -> Floats:
    _, _, at, amounts = _knots(kind)
    return np.interp(scores, at, amounts)


def _finished(rows: Floats, kind: str, own: Generator) -> Floats:
    """Round amounts to cents (some to units), the rest to a fine grid, and keep to the published ranges.

    Machines differ in the last bits of ``exp`` and of matrix products; on the grid they agree.
    """
    low, high = figures.published_ranges()
    np.clip(rows, low, high, out=rows)
    amounts = rows[:, COMPONENTS]
    whole = (
        (amounts >= 1.5) & (np.abs(amounts - 99.99) > 0.005) & (own.random(len(rows)) < _WHOLE_AMOUNTS[kind])
    )
    cents = np.where(whole, np.rint(amounts), np.rint(amounts * 100) / 100)
    rows = np.rint(rows * _GRID) / _GRID
    rows[:, COMPONENTS] = cents
    return rows


def _seconds(moments: Floats, kind: str) -> Floats:
    """Map moments (0 to 1, uniform) to whole seconds of two days with the published rhythm."""
    shares = figures.hourly_shares(kind)
    first = _FIRST_DAY[kind]
    below = np.concatenate([[0.0], np.cumsum(np.concatenate([first * shares, (1 - first) * shares]))])
    seconds = np.interp(moments, below, np.arange(49) * 3600.0)
    return np.asarray(np.floor(np.minimum(seconds, 2 * _DAY - 8)))
