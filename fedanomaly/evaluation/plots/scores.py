"""How the scores of the two classes lie around the threshold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedanomaly.core.floatgrid import Floats, Histogram, lower_edges, to_keys
from fedanomaly.evaluation.plots.theme import BLACK, BLUE, ORANGE, picture, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST_BINS, _MOST_BINS = 20, 60


def score_distributions(
    legitimate: Histogram, fraud: Histogram, path: Path, *, offset: float | None = None, title: str = ""
) -> Path:
    """Draw the share of each class's rows by score, with the threshold.

    Parameters
    ----------
    legitimate, fraud : Histogram
        Test scores of each class: the lower, the more abnormal.
    path : Path
        Where the PNG goes.
    offset : float, optional
        The threshold; rows below it are flagged.
    title : str
        Above the picture.

    Returns
    -------
    Path
        ``path``.

    Notes
    -----
    The axis is logarithmic where scores of one sign span more than two decades. The outermost bins
    also hold what lies beyond them, at most 1 row in 500 of a class at either end.
    """
    with picture(path, (8, 4.3)) as (_, (axes,)):
        axes.set_title(title or "Scores of the test rows")
        present = [histogram for histogram in (legitimate, fraud) if histogram.total]
        if not present:
            say(axes, "there are no test rows")
            return path
        low = min(histogram.quantile(0.002) for histogram in present)
        high = max(histogram.quantile(0.998) for histogram in present)
        if offset is not None and abs(offset - (low + high) / 2) <= high - low:
            low, high = min(low, offset), max(high, offset)
        fewest = min(histogram.total for histogram in present)
        edges, logarithmic = _edges(low, high, fewest, low if offset is None else offset)
        if logarithmic:
            axes.set_xscale("symlog", linthresh=float(np.abs(edges).min()))
        looks: tuple[tuple[Histogram, str, dict[str, Any]], ...] = (
            (legitimate, "legitimate rows", {"facecolor": BLUE + "50", "edgecolor": BLUE}),
            (fraud, "frauds", {"facecolor": "none", "edgecolor": ORANGE, "hatch": "////"}),
        )
        for histogram, name, style in looks:
            if histogram.total:
                label = f"{name} ({histogram.total:,.0f})"
                axes.stairs(_shares(histogram, edges), edges, fill=True, linewidth=1.6, label=label, **style)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, 1.12 * axes.dataLim.y1)
        axes.set_xlabel(f"score ({'logarithmic; ' if logarithmic else ''}the lower, the more abnormal)")
        axes.set_ylabel("% of the class's rows")
        if offset is not None:
            _draw_threshold(axes, offset)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return path


def _edges(low: float, high: float, rows: float, anchor: float) -> tuple[Floats, bool]:
    """Return bin edges that cover two scores, equally wide on a linear or a logarithmic axis.

    One edge is ``anchor``, where it lies between them: no bar then stands on both sides of the cut.
    """
    finest = int(np.clip(2 * np.sqrt(rows), _FEWEST_BINS, _MOST_BINS))  # few rows would make a comb
    bins = int(np.clip(to_keys(high) - to_keys(low) + 1, 2, finest))  # nor finer than the float grid
    nearer, farther = sorted((abs(low), abs(high)))
    anchor = anchor if low <= anchor <= high else low
    if low * high > 0 and farther > 100 * nearer:
        sign = np.sign(low)
        ends = np.log(nearer), np.log(farther)
        return np.sort(sign * np.exp(_steps(*ends, bins, float(np.log(abs(anchor)))))), True
    if high - low <= 1e-3 * farther or high == low:
        room = 0.05 * farther or 1.0
        low, high = low - room, high + room
    return _steps(low, high, bins, anchor), False


def _steps(low: float, high: float, bins: int, anchor: float) -> Floats:
    width = (high - low) / bins
    before, after = np.ceil((anchor - low) / width - 1e-9), np.ceil((high - anchor) / width - 1e-9)
    return anchor + width * np.arange(-before, after + 1)


def _shares(histogram: Histogram, edges: Floats) -> Floats:
    """Return the percentage of a class's rows in each bin, the outermost taking what lies beyond."""
    bins = np.clip(np.searchsorted(edges, lower_edges(histogram.keys), side="right") - 1, 0, len(edges) - 2)
    return 100 * np.bincount(bins, histogram.counts, len(edges) - 1) / histogram.total


def _draw_threshold(axes: Axes, offset: float) -> None:
    low, high = axes.get_xlim()
    if not low <= offset <= high:
        where, side = (
            ("left", "every row drawn is spared") if offset < low else ("right", "every row is flagged")
        )
        x = 0.01 if where == "left" else 0.99
        note: dict[str, Any] = {"transform": axes.transAxes, "ha": where, "va": "top", "color": BLACK}
        axes.text(x, 0.99, f"threshold {offset:.4g} lies outside: {side}", fontsize=9.5, **note)
        return
    axes.axvline(offset, color=BLACK, lw=1.6, ls=":", label=f"threshold ({offset:.4g})")
    place = axes.transAxes.inverted().transform(axes.transData.transform((offset, 0)))[0]
    side = "right" if place > 0.15 else "left"  # of the text: it must not run over the axis
    text = " \N{LEFTWARDS ARROW} flagged "
    axes.text(offset, 0.96, text, ha=side, va="center", fontsize=9.5, transform=axes.get_xaxis_transform())
