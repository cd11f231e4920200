"""Means with intervals against anything: one panel a question, one line an answer."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.evaluation.plots.theme import LINES, MARKERS, legend_below, panel_grid, picture, say

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_MOST_TICKS = 8


def interval_curves(
    points: pd.DataFrame,
    path: Path,
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    logarithmic: bool = False,
    log_y: bool = False,
    own_y: bool = False,
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
    logarithmic, log_y : bool, default=False
        Whether x, or y, grows by factors.
    own_y : bool, default=False
        Whether each panel is a question of its own, named by its title, with an axis of its own.

    Returns
    -------
    Path
        ``path``.
    """
    panels = list(dict.fromkeys(points["panel"]))
    lines = list(dict.fromkeys(points["line"]))
    columns, rows = panel_grid(len(panels))
    size = (3.9 * columns + 0.4, 3.1 * rows + 0.9)
    with picture(path, size, columns, rows, sharey=not own_y) as (figure, axes):
        for place, one in enumerate(axes):
            if place >= len(panels):
                one.set_axis_off()
                continue
            one.set_title(fill(panels[place], 44), fontsize=10.5)
            own = points[points["panel"] == panels[place]]
            _panel(one, own, lines, logarithmic)
            _scale_y(one, own if own_y else points, log_y)
            if place % columns == 0 and not own_y:
                one.set_ylabel(ylabel)
            if place + columns >= len(panels):
                one.set_xlabel(xlabel)
        legend_below(figure, axes, lines, 0.75)
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
        look = {**LINES[number % len(LINES)], "marker": MARKERS[number % len(MARKERS)], "ms": 4.5}
        x = own["x"].where(np.isfinite(own["x"]), beyond).to_numpy()
        inside = np.isfinite(own["x"]).to_numpy()
        mean, low, high = (own[name].to_numpy() for name in ("mean", "low", "high"))
        axes.plot(x[inside], mean[inside], label=line, zorder=3 - 0.1 * number, **look)
        axes.fill_between(x[inside], low[inside], high[inside], color=look["color"], alpha=0.15, lw=0)
        if not inside.all():
            error = np.abs(np.array([mean - low, high - mean]))[:, ~inside]
            axes.errorbar(x[~inside], mean[~inside], error, capsize=3, **{**look, "linestyle": ""})
    if len(finite) > _MOST_TICKS and not logarithmic and np.isfinite(points["x"]).all():
        return None  # the usual ticks are fewer
    ticks = list(finite[:: -(-len(finite) // _MOST_TICKS)])
    labels = [_short(x) for x in ticks]
    if not np.isfinite(points["x"]).all():
        ticks, labels = [*ticks, beyond], [*labels, "none"]
    axes.set_xticks(ticks, labels)
    return None


def _scale_y(axes: Axes, points: pd.DataFrame, logarithmic: bool) -> None:
    """Show all means and intervals; rates from 0, what grows by factors from its smallest mean."""
    means = points["mean"].dropna()
    top = float(np.nanmax([*points["high"], *means, 0.0]))
    if logarithmic and (means > 0).any():
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        low, high = float(means[means > 0].min()) / 2, 2 * top
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _short(y)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        largest = 1.02 if means.max() <= 1 else np.inf  # a rate: an interval may pass 1, its axis not
        axes.set_ylim(0, min(largest, 1.05 * top) if top > 0 else 1.0)


def _short(x: float) -> str:
    """Return a number in a few letters: 6.4M, 10k, 0.05."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= 10 * factor or (x >= factor and x % factor == 0) or (factor >= 1e6 and x >= factor):
            return f"{x / factor:.3g}{letter}"
    return f"{x:g}".removeprefix("0") if 0 < x < 1 else f"{x:g}"


def _beyond(finite: list[float], logarithmic: bool) -> float:
    """Return where what is infinite stands."""
    if not finite:
        return 1.0
    step = finite[-1] - finite[0] or 1.0
    return finite[-1] * 6.0 if logarithmic else finite[-1] + 0.2 * step
