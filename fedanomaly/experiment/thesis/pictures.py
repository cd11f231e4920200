"""The reproduction in pictures: the forest over the rounds, and what each fault does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.evaluation import Interval, mean_interval
from fedanomaly.evaluation.plots.theme import BLUE, GREY, LINES, ORANGE, picture
from fedanomaly.experiment.thesis.effects import FAULTS, effect
from fedanomaly.experiment.thesis.published import DETECTORS
from fedanomaly.experiment.thesis.reproduce import CORRECTED, PUBLISHED

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


def metrics_over_rounds(frame: pd.DataFrame, path: Path, metric: str, title: str) -> Path:
    """Draw the forest's metric over the rounds, both splits and procedures, with intervals."""
    with picture(path, (10.0, 4.0), columns=2, sharey=True) as (_, axes):
        for ax, procedure in zip(axes, (PUBLISHED, CORRECTED), strict=True):
            for split, line in zip(("even", "uneven"), LINES, strict=False):
                chosen = frame[
                    (frame["procedure"] == procedure)
                    & (frame["fault"] == "")
                    & (frame["detector"] == "isolation-forest")
                    & (frame["split"] == split)
                    & (frame["metric"] == metric)
                ]
                spread = [mean_interval(part["value"].to_numpy()) for _, part in chosen.groupby("round")]
                rounds = np.arange(1, len(spread) + 1)
                ax.plot(rounds, [one.mean for one in spread], label=f"{split} split", **line)
                ax.fill_between(
                    rounds,
                    [one.low for one in spread],
                    [one.high for one in spread],
                    color=line["color"],
                    alpha=0.15,
                    linewidth=0,
                )
            ax.set_title(procedure)
            ax.set_xlabel("round")
            ax.set_xticks(rounds)
        axes[0].set_ylabel(f"{title} (95 % interval over seeds)")
        axes[0].legend()
    return path


def fault_effects(
    frame: pd.DataFrame,
    path: Path,
    metrics: Sequence[str] = ("precision", "recall", "accuracy", "average_precision"),
) -> Path:
    """Draw what each fault alone does: a panel a metric and detector, a line a fault, off and on.

    Parameters
    ----------
    frame : DataFrame
        As :func:`~fedanomaly.experiment.thesis.reproduce.reproduce` returns it.
    path : Path
        Where the PNG goes.
    metrics : sequence of str
        A row of panels each.

    Returns
    -------
    Path
        ``path``.
    """
    names = [name.replace("_", " ").replace("smote", "SMOTE") for name in FAULTS]
    size = (10.5, 0.9 + 2.15 * len(metrics))
    with picture(path, size, len(DETECTORS), len(metrics), sharex="row", sharey=True) as (figure, panels):
        for place, ax in enumerate(panels):
            metric, detector = metrics[place // len(DETECTORS)], DETECTORS[place % len(DETECTORS)]
            for line, fault in enumerate(FAULTS):
                found = effect(frame, fault, detector, metric)
                _change(ax, line, found.off, found.on)
            ax.set_xlim(-0.03, 1.03)
            ax.set_xlabel(metric.replace("_", " "))
            ax.grid(axis="y", visible=False)
            if place < len(DETECTORS):
                ax.set_title(detector)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.5, -0.5)
        handles = {h.get_label(): h for ax in panels for h in ax.get_legend_handles_labels()[0]}
        figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=3)
    return path


def _change(ax: Axes, line: int, off: Interval, on: Interval) -> None:
    """Draw one fault's line; where a side is undefined, it says so."""
    ax.plot([off.mean, on.mean], [line + 0.17, line - 0.17], color=GREY, linewidth=1.0, zorder=1)
    for one, shift, colour, marker, fill, label in (
        (off, 0.17, BLUE, "o", "white", "without the fault"),
        (on, -0.17, ORANGE, "D", ORANGE, "with it (bars: 95 % interval over seeds)"),
    ):
        if np.isnan(one.mean):
            ax.text(0.99, line + shift, "undefined", ha="right", va="center", color=colour, fontsize=8)
            continue
        half = np.nan_to_num(one.high - one.mean)
        ax.errorbar(
            one.mean,
            line + shift,
            xerr=half,
            color=colour,
            marker=marker,
            markerfacecolor=fill,
            markersize=5,
            capsize=2,
            linestyle="",
            label=label,
        )
