"""Precision-recall and ROC curves of the federation beside what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedanomaly.core.floatgrid import Histogram
from fedanomaly.evaluation.plots.theme import GREY, LINES, picture, say
from fedanomaly.evaluation.ranking import Ranking

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Scored:
    """A model's test scores.

    Attributes
    ----------
    legitimate, fraud : Histogram
        Test scores of each class: the lower, the more abnormal.
    key : int, optional
        The threshold as a bin of the float grid; marked on the curves.
    """

    legitimate: Histogram
    fraud: Histogram
    key: int | None = None


def curves(models: Mapping[str, Scored], path: Path, *, title: str = "") -> Path:
    """Draw precision-recall and ROC curves, each model with its average precision and AUROC.

    Parameters
    ----------
    models : mapping of str to Scored
        By name; the first (the federation) is drawn boldest.
    path : Path
        Where the PNG goes.
    title : str
        Above both panels.

    Returns
    -------
    Path
        ``path``.
    """
    with picture(path, (9.5, 5.6), 2) as (figure, (left, right)):
        for axes, name, x, y in (
            (left, "Precision-recall", "recall", "precision"),
            (right, "ROC", "false-positive rate", "recall"),
        ):
            axes.set(title=name, xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(0, 1.03))
        rankings = {name: Ranking.of(model.legitimate, model.fraud) for name, model in models.items()}
        for index, (name, ranking) in enumerate(rankings.items()):
            look = {**LINES[index % len(LINES)], "zorder": 3 - 0.1 * index}
            recall, precision = ranking.precision_recall_curve()
            if not np.isnan(ranking.average_precision):
                ap = f"{name}: AP {ranking.average_precision:.3f}"
                left.step(recall, precision, where="pre", label=ap, **look)
            if not np.isnan(ranking.auroc):
                right.plot(*ranking.roc_curve(), label=f"{name}: AUROC {ranking.auroc:.3f}", **look)
        _zoom(left, rankings, models)
        for index, (name, model) in enumerate(models.items()):
            _mark(left, right, model, name, LINES[index % len(LINES)]["color"])
        first = next(iter(rankings.values()), None)
        chance = first.prevalence if first is not None else float("nan")
        _finish(left, [chance, chance], f"chance: {chance:.3g}", "no fraud in the test rows: undefined")
        _finish(right, [0, 1], "chance: 0.5", "needs test rows of both classes: undefined")
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return path


def _mark(left: Axes, right: Axes, model: Scored, name: str, color: str) -> None:
    """Mark where the threshold lies on both curves."""
    if model.key is None or not model.fraud.total:
        return
    tp, fp = model.fraud.below(model.key), model.legitimate.below(model.key)
    recall = tp / model.fraud.total
    look: dict[str, Any] = {"marker": "o", "ms": 9, "color": color, "mec": "white", "ls": "", "zorder": 5}
    if tp + fp:
        left.plot(recall, tp / (tp + fp), label=f"{name}: at the threshold", clip_on=False, **look)
    if model.legitimate.total:
        fpr = fp / model.legitimate.total
        right.plot(fpr, recall, label=f"{name}: at the threshold", clip_on=False, **look)


def _zoom(axes: Axes, rankings: Mapping[str, Ranking], models: Mapping[str, Scored]) -> None:
    """Cut the empty upper part where frauds are too rare for any curve to reach it.

    The very first alarms make precision jump about, so they do not decide.
    """
    reached = [0.0]
    for name, ranking in rankings.items():
        recall, precision = ranking.precision_recall_curve()
        reached += precision[recall >= 0.1].tolist()
        key = models[name].key
        if key is not None and models[name].fraud.below(key):
            tp = models[name].fraud.below(key)
            reached.append(tp / (tp + models[name].legitimate.below(key)))
    if 0 < max(reached) < 0.4:
        axes.set_ylim(0, 1.25 * max(reached))
        axes.set_title("Precision-recall (upper part cut off)")


def _finish(axes: Axes, chance: list[float], label: str, otherwise: str) -> None:
    """Add the line of chance and the legend, or say why there is no curve."""
    if not axes.lines:
        say(axes, otherwise)
        return
    axes.plot([0, 1], chance, color=GREY, lw=1.3, ls=(0, (1, 3)), label=label, zorder=1)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13))
