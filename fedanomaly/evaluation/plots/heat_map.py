"""A table of figures as shades, each with its number: methods against partitions, or against tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.evaluation.plots.theme import BLACK, BLUE, GREY, picture

_CELL = (0.72, 0.27)  # inches


def heat_map(
    values: npt.ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    path: Path,
    *,
    title: str = "",
    label: str = "",
    breaks: Sequence[int] = (),
) -> Path:
    """Draw figures from 0 to 1 as shades from white (0) to dark blue, with the best of each column bold.

    Parameters
    ----------
    values : array-like of shape (n_rows, n_columns)
        Higher is better; NaN is drawn as undefined.
    rows, columns : sequence of str
        Names.
    path : Path
        Where the PNG goes.
    title : str
        Above the picture.
    label : str
        What the figures are.
    breaks : sequence of int
        Rows before which a line is drawn, to hold groups apart.

    Returns
    -------
    Path
        ``path``.
    """
    from matplotlib.colors import LinearSegmentedColormap

    shown = np.asarray(values, dtype=np.float64)
    longest = max(map(len, rows), default=1)
    slanted = max(map(len, columns), default=1) > 9
    width = max(_CELL[0] * len(columns), 0.085 * max(len(label) + 30, len(title) - longest)) + 0.085 * longest
    size = (width + 0.6, _CELL[1] * len(rows) + (1.7 if slanted else 1.2))
    top = max(0.1, float(np.nanmax(shown, initial=0.0)))
    shades = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", "#9CC8E3", BLUE, "#00304D"])
    with picture(path, size) as (figure, (axes,)):
        masked = np.ma.masked_invalid(shown)
        axes.pcolormesh(masked, cmap=shades, vmin=0, vmax=top, edgecolors="white", linewidth=1.2)
        axes.set_ylim(len(rows), 0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.xaxis.set_ticks_position("top")
        turn: dict[str, Any] = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if slanted else {}
        axes.set_xticks(np.arange(len(columns)) + 0.5, list(columns), **turn)
        axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows), fontsize=9.5)
        best = [np.nanmax(column) if np.isfinite(column).any() else np.nan for column in shown.T]
        for (row, column), value in np.ndenumerate(shown):
            defined = bool(np.isfinite(value))
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{value:.3f}".removeprefix("0") if defined else "-",
                ha="center",
                va="center",
                fontsize=9,
                weight="bold" if defined and value == best[column] else "normal",
                color=GREY if not defined else "white" if value > 0.55 * top else BLACK,
            )
        for place in breaks:
            axes.axhline(place, color=GREY, lw=1)
        if label:
            axes.set_xlabel(f"{label}; the best of a column is bold")
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return path
