"""Means with intervals against anything: one panel a question, one line an answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.evaluation.plots.theme import LINES, picture, say

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MARKERS = "osD^v"


def interval_curves(
    points: pd.DataFrame,
    path: Path,
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    logarithmic: bool = False,
) -> Path:
    """Draw a panel for each ``panel``, in it a line with its interval for each ``line``.

    Parameters
    ----------
    points : DataFrame
        Columns ``panel``, ``line``, ``x``, ``mean``, ``low``, ``high``; in the order of drawing. A
        point whose ``x`` is infinite stands apart at the right, as ``none``.
    path : Path
        Where the PNG goes.
    xlabel, ylabel, title : str
        Of all panels.
    logarithmic : bool, default=False
        Whether x grows by factors.

    Returns
    -------
    Path
        ``path``.
    """
    panels = list(dict.fromkeys(points["panel"]))
    lines = list(dict.fromkeys(points["line"]))
    columns = 2 if len(panels) in (2, 4) else min(3, max(1, len(panels)))
    rows = -(-max(1, len(panels)) // columns)
    top = float(np.nanmax([*points["high"], *points["mean"], 0.0]))
    with picture(path, (3.9 * columns + 0.4, 3.1 * rows + 0.9), columns, rows, sharey=True) as (figure, axes):
        for place, one in enumerate(axes):
            if place >= len(panels):
                one.set_axis_off()
                continue
            one.set_title(panels[place], fontsize=10.5)
            _panel(one, points[points["panel"] == panels[place]], lines, logarithmic)
            one.set_ylim(0, min(1.02, 1.05 * top) if top > 0 else 1.0)
            if place % columns == 0:
                one.set_ylabel(ylabel)
            if place + columns >= len(panels):
                one.set_xlabel(xlabel)
        handles = {h.get_label(): h for one in axes for h in one.get_legend_handles_labels()[0]}
        shown = [handles[line] for line in lines if line in handles]
        if len(shown) > 1:
            figure.legend(handles=shown, loc="outside lower center", ncols=min(4, len(shown)))
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return path


def _panel(axes: Axes, points: pd.DataFrame, lines: list[str], logarithmic: bool) -> None:
    if not points["mean"].notna().any():
        return say(axes, "undefined everywhere")
    finite = sorted(x for x in set(points["x"]) if np.isfinite(x))
    beyond = _beyond(finite, logarithmic)
    if logarithmic:
        axes.set_xscale("log")
        axes.minorticks_off()
    for number, line in enumerate(lines):
        own = points[points["line"] == line].sort_values("x")
        if own.empty:
            continue
        look = {**LINES[number % len(LINES)], "marker": _MARKERS[number % len(_MARKERS)], "ms": 4.5}
        x = own["x"].where(np.isfinite(own["x"]), beyond).to_numpy()
        inside = np.isfinite(own["x"]).to_numpy()
        mean, low, high = (own[name].to_numpy() for name in ("mean", "low", "high"))
        axes.plot(x[inside], mean[inside], label=line, zorder=3 - 0.1 * number, **look)
        axes.fill_between(x[inside], low[inside], high[inside], color=look["color"], alpha=0.15, lw=0)
        if not inside.all():
            error = np.abs(np.array([mean - low, high - mean]))[:, ~inside]
            axes.errorbar(x[~inside], mean[~inside], error, capsize=3, **{**look, "linestyle": ""})
    labels = [f"{x:g}" for x in finite]
    ticks = list(finite)
    if not np.isfinite(points["x"]).all():
        ticks, labels = [*ticks, beyond], [*labels, "none"]
    axes.set_xticks(ticks, labels)
    return None


def _beyond(finite: list[float], logarithmic: bool) -> float:
    """Return where what is infinite stands."""
    if not finite:
        return 1.0
    step = finite[-1] - finite[0] or 1.0
    return finite[-1] * 6.0 if logarithmic else finite[-1] + 0.2 * step
