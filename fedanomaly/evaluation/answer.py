"""The first paragraph of a report: what came out, in words, beside what it must be compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fedanomaly.evaluation.markdown import number, percent

NAMES = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "average_precision": "average precision",
}
_SAME = 0.005  # closer than this, two values are called level


def answer(method: str, metrics: Mapping[str, float], references: Mapping[str, Mapping[str, float]]) -> str:
    """Return one paragraph: precision, recall, accuracy, F1, and where they stand.

    Parameters
    ----------
    method : str
        What was run; the subject of the first sentence (``"isolation-forest (union), 5 clients"``).
    metrics : mapping of str to float
        Of all test rows, from :func:`~fedanomaly.evaluation.metrics.evaluate`.
    references : mapping of str to mapping of str to float
        The same of ``local`` and ``pooled``, where they were computed.
    """
    if not metrics.get("rows"):
        return f"{method}: no test row was evaluated, so there is no result."
    sentences = [_flagged(method, metrics), _classes(metrics), _accuracy(metrics)]
    sentences += [_standing(name, metrics, references) for name in ("average_precision", "f1")]
    return " ".join(filter(None, sentences))


def standing(value: float, local: float, pooled: float) -> str:
    """Say where a federated value lies between ``local`` and ``pooled``; ``""`` if one is undefined."""
    if any(math.isnan(v) for v in (value, local, pooled)):
        return ""
    gap = pooled - local
    if abs(gap) < _SAME:
        if abs(value - local) < 2 * _SAME:
            return "level with both references, which are practically equal"
        return f"{'above' if value > local else 'below'} both references, which are practically equal"
    if abs(value - pooled) < _SAME:
        return "level with pooling all rows"
    if abs(value - local) < _SAME:
        return "level with what clients reach alone"
    if gap < 0:
        return f"{_side(value, pooled, local)} (here pooling does worse than clients alone)"
    if value < local:
        return "below what clients reach alone"
    if value > pooled:
        return "above what pooling all rows gives"
    return f"{percent((value - local) / gap)} of the way from local to pooled"


def _side(value: float, low: float, high: float) -> str:
    return (
        "below both references"
        if value < low
        else "above both references"
        if value > high
        else "between the two"
    )


def _flagged(method: str, metrics: Mapping[str, float]) -> str:
    flagged, rows = metrics["tp"] + metrics["fp"], metrics["rows"]
    return f"**{method}** flags {flagged:,.0f} of {rows:,.0f} test rows ({percent(flagged / rows)})."


def _classes(metrics: Mapping[str, float]) -> str:
    if not metrics["frauds"]:
        return "No test row is a fraud: every alarm is false, and recall and F1 are undefined."
    recall, precision = number("recall", metrics["recall"]), number("precision", metrics["precision"])
    found = f"It finds {metrics['tp']:,.0f} of {metrics['frauds']:,.0f} frauds (recall **{recall}**)"
    if math.isnan(metrics["precision"]):
        return f"{found}; as it flags nothing, precision is undefined."
    return (
        f"{found}; {percent(metrics['precision'])} of its alarms are right (precision **{precision}**; "
        f"at this rate of false alarms no detector could pass {number('', metrics['precision_ceiling'])}), "
        f"which makes an F1 of **{number('f1', metrics['f1'])}**."
    )


def _accuracy(metrics: Mapping[str, float]) -> str:
    own, nothing = metrics["accuracy"], metrics["accuracy_flag_nothing"]
    verdict = "less than" if own < nothing else "the same as" if own == nothing else "more than"
    return f"Accuracy is **{percent(own)}**, {verdict} the {percent(nothing)} of flagging nothing at all."


def _standing(name: str, metrics: Mapping[str, float], references: Mapping[str, Mapping[str, float]]) -> str:
    value, local, pooled = (
        source.get(name, math.nan)
        for source in (metrics, references.get("local", {}), references.get("pooled", {}))
    )
    place = standing(value, local, pooled)
    if not place:
        return ""
    label = NAMES[name][0].upper() + NAMES[name][1:]
    ends = f"local {number(name, local)}, pooled {number(name, pooled)}"
    return f"{label}: {number(name, value)}, {place} ({ends})."
