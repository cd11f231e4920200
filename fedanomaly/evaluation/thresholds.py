"""Where to cut: thresholds chosen on summed calibration histograms, always at the edge of a bin.

A mean of local thresholds is wrong as soon as clients differ (it can flag most rows of some), so
clients add up histograms of calibration scores and one cut is made in the sum. A cut at a bin's
edge makes the confusion counts from histograms equal to those of ``predict`` exactly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.core.floatgrid import Histogram, lower_edges, to_keys
from fedanomaly.core.registry import Registry
from fedanomaly.evaluation.metrics import alerts_allowed
from fedanomaly.evaluation.ranking import Ranking

DEFAULT_CONTAMINATION = 0.01
"""What ``auto`` falls back to where no calibration row is labelled as fraud."""

_EMPTY = Histogram(np.empty(0, np.int64), np.empty(0, np.int64))
_NOTHING = int(to_keys(-sys.float_info.max))  # the lowest key with a finite edge: no score lies below it


@dataclass(frozen=True, eq=False)
class Calibration:
    """Histograms of scores on calibration rows, summed over clients; never of test rows.

    Attributes
    ----------
    scores : Histogram
        Every calibration row, labelled or not.
    legitimate, fraud : Histogram
        The labelled rows of each class; empty where there are no labels.
    balanced_legitimate, balanced_fraud : Histogram, optional
        The same classes after balancing (SMOTE, under-sampling). They are scaled back to the true
        class counts: synthetic rows may smooth a class's distribution, not change the prevalence.
    """

    scores: Histogram
    legitimate: Histogram = field(default=_EMPTY)
    fraud: Histogram = field(default=_EMPTY)
    balanced_legitimate: Histogram | None = None
    balanced_fraud: Histogram | None = None

    def ranking(self) -> Ranking:
        """Return the labelled classes, balanced where given, at their true sizes."""
        return Ranking.of(
            _scaled_back(self.legitimate, self.balanced_legitimate),
            _scaled_back(self.fraud, self.balanced_fraud),
        )


@dataclass(frozen=True)
class ThresholdOptions:
    """What a user asked for.

    Attributes
    ----------
    contamination : float in (0, 1) or "auto"
        Share of rows to flag; ``"auto"`` is the share of labelled frauds on the calibration rows.
    target_recall : float in (0, 1]
        Share of the calibration frauds to find (``recall``).
    budget : float > 0
        At most so many alerts over all calibration rows (``budget``): below 1 a share of the rows,
        from 1 on a number.
    alpha : float in (0, 1)
        Highest expected share of false alarms among legitimate rows (``conformal``).
    """

    contamination: float | Literal["auto"] = "auto"
    target_recall: float = 0.9
    budget: float = 0.01
    alpha: float = 0.01

    def __post_init__(self) -> None:
        if self.contamination != "auto" and not (
            isinstance(self.contamination, float | int) and 0 < self.contamination < 1
        ):
            raise UserError(f"contamination must be 'auto' or between 0 and 1, got {self.contamination!r}")
        if not 0 < self.target_recall <= 1:
            raise UserError(f"the target recall must be above 0 and at most 1, got {self.target_recall}")
        if not 0 < self.alpha < 1:
            raise UserError(f"alpha must be between 0 and 1, got {self.alpha}")
        alerts_allowed(self.budget, 1)


@dataclass(frozen=True)
class Threshold:
    """A cut: rows with ``score < offset``, that is rows in bins before ``key``, are flagged.

    Attributes
    ----------
    offset : float
        Lower edge of bin ``key``; the detector's ``offset_``.
    key : int
        Bin of the float grid (:mod:`fedanomaly.core.floatgrid`).
    kind : str
        How it was chosen, a name in :data:`THRESHOLDS`; the kind that was used, where one fell back.
    detail : str
        The choice in one sentence, fallbacks included.
    degenerate : str
        ``""``, or one sentence if it flags every calibration row or none.
    """

    offset: float
    key: int
    kind: str
    detail: str
    degenerate: str = ""


Chooser = Callable[[Calibration, ThresholdOptions], Threshold]
THRESHOLDS: Registry[Chooser] = Registry("threshold", "fedanomaly.thresholds")


def choose(kind: str, calibration: Calibration, options: ThresholdOptions | None = None) -> Threshold:
    """Return the threshold of a registered kind, with degenerate ones named.

    Never fails for want of rows: without frauds a kind that needs them falls back to
    ``contamination``, and without any calibration row nothing is flagged; ``detail`` says so.

    Raises
    ------
    UserError
        If ``kind`` is unknown.
    """
    chooser = THRESHOLDS.get(kind)
    rows = calibration.scores.total
    if rows == 0:
        return _at(_NOTHING, kind, "There are no calibration rows.", "It flags nothing.")
    threshold = chooser(calibration, options or ThresholdOptions())
    flagged = calibration.scores.below(threshold.key)
    if flagged == 0:
        return replace(threshold, degenerate=f"It flags none of the {rows:,.0f} calibration rows.")
    if flagged == rows:
        return replace(threshold, degenerate=f"It flags every one of the {rows:,.0f} calibration rows.")
    return threshold


@THRESHOLDS.register("contamination")
def contamination(calibration: Calibration, options: ThresholdOptions) -> Threshold:
    """Flag the share of calibration rows nearest to ``contamination`` (ties: the fewer)."""
    share, why = options.contamination, "as asked"
    if share == "auto":
        labelled = calibration.legitimate.total + calibration.fraud.total
        if calibration.fraud.total:
            share, why = calibration.fraud.total / labelled, "the share of labelled frauds among them"
        else:
            share, why = DEFAULT_CONTAMINATION, "the default, for no calibration row is labelled as fraud"
    ranking, flagged = _ranked(calibration.scores)
    key = ranking.cut(int(np.argmin(np.abs(flagged - share * flagged[-1]))))
    return _at(key, "contamination", f"The quantile that flags {share:.4g} of the calibration rows ({why}).")


@THRESHOLDS.register("best-f1")
def best_f1(calibration: Calibration, options: ThresholdOptions) -> Threshold:
    """Maximize F1 on the calibration labels (ties: the fewest flagged)."""
    ranking = calibration.ranking()
    frauds = calibration.fraud.total
    if not frauds:
        return _fall_back("best F1", calibration, options)
    found = np.concatenate([[0.0], np.cumsum(ranking.fraud)])
    false_alarms = np.concatenate([[0.0], np.cumsum(ranking.legitimate)])
    f1 = 2 * found / (found + false_alarms + frauds)
    best = int(np.argmax(f1))
    detail = f"The best F1 on the calibration labels, {f1[best]:.4f} with {frauds:,.0f} frauds."
    return _at(ranking.cut(best), "best-f1", detail)


@THRESHOLDS.register("recall")
def recall(calibration: Calibration, options: ThresholdOptions) -> Threshold:
    """Flag the fewest rows that hold the target share of the calibration frauds."""
    ranking = calibration.ranking()
    frauds = calibration.fraud.total
    if not frauds:
        return _fall_back("recall", calibration, options)
    found = np.concatenate([[0.0], np.cumsum(ranking.fraud)])
    # scaled counts do not add up to whole numbers exactly
    first = int(np.argmax(found >= options.target_recall * frauds * (1 - 1e-9)))
    detail = (
        f"The fewest rows that hold {options.target_recall:.4g} of the {frauds:,.0f} calibration frauds"
        f" (recall there: {found[first] / frauds:.4f})."
    )
    return _at(ranking.cut(first), "recall", detail)


@THRESHOLDS.register("budget")
def budget(calibration: Calibration, options: ThresholdOptions) -> Threshold:
    """Flag as many calibration rows as the alert budget allows, never more."""
    ranking, flagged = _ranked(calibration.scores)
    allowed = alerts_allowed(options.budget, flagged[-1])
    last = int(np.searchsorted(flagged, allowed, side="right")) - 1
    detail = (
        f"At most {allowed:,} alerts over {flagged[-1]:,.0f} calibration rows ({flagged[last]:,.0f} raised)."
    )
    return _at(ranking.cut(last), "budget", detail)


@THRESHOLDS.register("conformal")
def conformal(calibration: Calibration, options: ThresholdOptions) -> Threshold:
    """Flag rows whose split-conformal p-value against legitimate calibration rows is at most ``alpha``.

    A row's p-value is ``(1 + legitimate rows that score no higher) / (1 + legitimate rows)``, so
    that a legitimate row exchangeable with these is flagged with probability at most ``alpha``
    (Bates et al. 2023, *Testing for outliers with conformal p-values*, section 2). All rows stand
    in for the legitimate ones where nothing is labelled.
    """
    normal, who = calibration.legitimate, "legitimate calibration rows"
    if not normal.total:
        normal, who = calibration.scores, "calibration rows, none of them labelled legitimate"
    detail = f"Conformal p-value of at most {options.alpha:.4g} against {normal.total:,.0f} {who}"
    allowed = alerts_allowed(options.alpha, normal.total + 1) - 1
    if allowed < 0:
        return _at(_NOTHING, "conformal", f"{detail}: too few for any row to get so low a p-value.")
    first_spared = int(np.searchsorted(np.cumsum(normal.counts), allowed, side="right"))
    return _at(int(normal.keys[first_spared]), "conformal", f"{detail}.")


def _at(key: int, kind: str, detail: str, degenerate: str = "") -> Threshold:
    return Threshold(float(lower_edges(key)), key, kind, detail, degenerate)


def _fall_back(wanted: str, calibration: Calibration, options: ThresholdOptions) -> Threshold:
    threshold = contamination(calibration, options)
    reason = f"No calibration row is labelled as fraud, so {wanted} is undefined; contamination instead. "
    return replace(threshold, detail=reason + threshold.detail)


def _ranked(histogram: Histogram) -> tuple[Ranking, np.ndarray]:
    """Return the occupied bins, and how many rows are flagged by a cut at each and after the last."""
    ranking = Ranking.of(histogram, _EMPTY)
    return ranking, np.concatenate([[0.0], np.cumsum(ranking.legitimate)])


def _scaled_back(true: Histogram, balanced: Histogram | None) -> Histogram:
    if balanced is None or not balanced.total:
        return true
    return balanced.scaled(true.total / balanced.total)
