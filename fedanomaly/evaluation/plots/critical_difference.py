"""Mean ranks of methods on one axis; bars join those that chance may explain (Demšar 2006, figure 1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.evaluation.mean_ranks import RankComparison
from fedanomaly.evaluation.plots.theme import BLACK, GREY, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 0.24  # inches a label


def critical_difference(comparison: RankComparison, path: Path, *, title: str = "") -> Path:
    """Draw a critical-difference diagram.

    Parameters
    ----------
    comparison : RankComparison
        Of :func:`fedanomaly.evaluation.mean_ranks.compare_ranks`.
    path : Path
        Where the PNG goes.
    title : str
        Above the picture.

    Returns
    -------
    Path
        ``path``.
    """
    methods, mean = comparison.methods, comparison.mean_ranks
    left = (len(methods) + 1) // 2  # the better half is labelled on the left
    groups = comparison.groups
    bars = 0.22 * len(groups) + 0.3
    height = bars + _LINE * left + 0.2
    with picture(path, (9.5, height + 1.5)) as (figure, (axes,)):
        low, high = 1.0, float(len(methods))
        span = high - low
        axes.set_xlim(low - 0.42 * span, high + 0.42 * span)
        axes.set_ylim(height, -0.75)
        _scale(axes, comparison)
        for place, (name, rank) in enumerate(zip(methods, mean, strict=True)):
            better = place < left
            line = bars + _LINE * (place if better else len(methods) - 1 - place)
            end = low - 0.04 * span if better else high + 0.04 * span
            axes.plot([rank, rank, end], [0, line, line], color=GREY, lw=0.9, zorder=1)
            axes.plot(rank, 0, "o", color=BLACK, ms=4, zorder=3, clip_on=False)
            label = f"{name}  {rank:.2f}" if better else f"{rank:.2f}  {name}"
            axes.text(
                end + (-0.012 if better else 0.012) * span,
                line,
                label,
                ha="right" if better else "left",
                va="center",
                fontsize=9.5,
            )
        for number, (first, last) in enumerate(groups):
            y = 0.2 + 0.22 * number
            axes.plot([mean[first], mean[last]], [y, y], color=BLACK, lw=3.2, solid_capstyle="butt", zorder=2)
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return path


def _scale(axes: Axes, comparison: RankComparison) -> None:
    """Draw the axis of ranks, and the critical difference as a length above it."""
    low, high = 1.0, float(len(comparison.methods))
    axes.set_axis_off()
    axes.plot([low, high], [0, 0], color=BLACK, lw=1.2)
    step = max(1, round((high - low) / 10))
    for tick in range(1, len(comparison.methods) + 1, step):
        axes.plot([tick, tick], [-0.07, 0], color=BLACK, lw=1)
        axes.text(tick, -0.1, str(tick), ha="center", va="bottom", fontsize=9)
    reach = min(comparison.critical_difference, high - low)
    axes.plot([low, low + reach], [-0.42, -0.42], color=BLACK, lw=1.4, marker="|", ms=7)
    wide = "" if reach == comparison.critical_difference else ", wider than the axis"
    text = f"critical difference {comparison.critical_difference:.2f} (level {comparison.alpha:g}{wide})"
    axes.text(low, -0.5, text, ha="left", va="bottom", fontsize=9)
    axes.text(high + 0.02 * (high - low), 0, "mean rank (1 is best)", ha="left", va="center", fontsize=9)
