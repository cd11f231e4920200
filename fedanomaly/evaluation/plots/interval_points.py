"""Means with intervals side by side: a row a case, a mark a method, a panel a question."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.evaluation.plots.theme import (
    LIGHT,
    LINES,
    MARKERS,
    legend_below,
    panel_grid,
    picture,
    say,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def interval_points(points: pd.DataFrame, path: Path, *, label: str = "", title: str = "") -> Path:
    """Draw a panel for each ``panel``, in it a row for each ``x``, in it a mark for each ``line``.

    Parameters
    ----------
    points : DataFrame
        Columns ``panel``, ``line``, ``x`` (a text), ``mean``, ``low``, ``high``; in the order of drawing.
    path : Path
        Where the PNG goes.
    label : str
        What all panels show; empty: each panel's title says it, and its axis is its own.
    title : str
        Above the picture.

    Returns
    -------
    Path
        ``path``.
    """
    panels, lines, rows = (list(dict.fromkeys(points[name])) for name in ("panel", "line", "x"))
    columns, deep = panel_grid(len(panels))
    height = 0.7 + max(0.28, 0.1 + 0.11 * len(lines)) * len(rows)
    width = 3.1 * columns + 0.08 * max(map(len, rows), default=0) + 0.3
    size = (width, height * deep + 0.7)
    with picture(path, size, columns, deep, sharey=True, sharex=bool(label)) as (figure, axes):
        for place, one in enumerate(axes):
            if place >= len(panels):
                one.set_axis_off()
                continue
            one.set_title(fill(panels[place], 36), fontsize=10.5)
            own = points[points["panel"] == panels[place]]
            _panel(one, own, lines, rows, points if label else own)
            if label and place + columns >= len(panels):
                one.set_xlabel(label)
                one.tick_params(labelbottom=True)  # also where the row below has no panel
        legend_below(figure, axes, lines, 0.5)
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return path


def _panel(axes: Axes, points: pd.DataFrame, lines: list[str], rows: list[str], to_fit: pd.DataFrame) -> None:
    """Draw one panel; its axis holds all points ``to_fit``."""
    if not points["mean"].notna().any():
        return say(axes, "undefined everywhere")
    present = [line for line in lines if (points["line"] == line).any()]
    step = 0.8 / len(present)
    for place_of_line, line in enumerate(present):
        number = lines.index(line)
        own = points[points["line"] == line].set_index("x").reindex(rows)
        place = np.arange(len(rows)) + (place_of_line - (len(present) - 1) / 2) * step
        mean, low, high = (own[name].to_numpy(float) for name in ("mean", "low", "high"))
        error = np.nan_to_num(np.abs(np.array([mean - low, high - mean])))
        axes.errorbar(
            mean,
            place,
            xerr=error,
            linestyle="",
            marker=MARKERS[number % len(MARKERS)],
            color=LINES[number % len(LINES)]["color"],
            markersize=4.8,
            elinewidth=1.4,
            capsize=2.2,
            label=line,
        )
    for between in range(1, len(rows)):
        axes.axhline(between - 0.5, color=LIGHT, lw=0.6)
    axes.set_yticks(np.arange(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    top = float(np.nanmax([*to_fit["high"], *to_fit["mean"], 0.0]))
    lowest = float(np.nanmin([*to_fit["low"], 0.0])) if to_fit["mean"].min() < 0 else 0.0
    axes.set_xlim(1.05 * lowest, 1.05 * top if top > 0 else 1.0)
    return None
