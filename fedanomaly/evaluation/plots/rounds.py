"""Metrics per round: every client thin, the aggregate bold, the references level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedanomaly.evaluation.plots.theme import BLUE, GREY, LIGHT, LINES, picture, say

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

METRICS = ("precision", "recall", "accuracy", "f1", "auroc", "average_precision")
TITLES = {
    "precision": "Precision",
    "recall": "Recall",
    "accuracy": "Accuracy",
    "f1": "F1",
    "auroc": "AUROC",
    "average_precision": "Average precision",
}


def metrics_per_round(
    rounds: pd.DataFrame,
    path: Path,
    *,
    metrics: Sequence[str] = METRICS,
    references: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
) -> Path:
    """Draw one panel a metric over the rounds.

    Parameters
    ----------
    rounds : DataFrame
        Tidy: ``round``, ``client`` (``"all"`` is the aggregate), ``metric``, ``value``; optionally
        ``phase``, of which only ``evaluate`` is drawn, and ``low`` and ``high``: an interval.
    path : Path
        Where the PNG goes.
    metrics : sequence of str
        Which metrics, in order.
    references : mapping of str to mapping of str to float, optional
        Level lines by name (``local``, ``pooled``), each with a value a metric. The accuracy of
        flagging nothing is drawn on its own, where the rounds hold ``accuracy_flag_nothing``.
    title : str
        Above all panels.

    Returns
    -------
    Path
        ``path``.
    """
    if "phase" in rounds:
        rounds = rounds[rounds["phase"] == "evaluate"]
    levels = {name: dict(values) for name, values in (references or {}).items()}
    nothing = rounds[(rounds["metric"] == "accuracy_flag_nothing") & (rounds["client"] == "all")]["value"]
    if len(nothing):
        levels["flag nothing"] = {"accuracy": float(nothing.iloc[-1])}
    columns = min(3, len(metrics))
    height = -(-len(metrics) // columns)
    size = (3.6 * columns + 0.4, 2.75 * height + 0.7)
    with picture(path, size, columns, height) as (figure, panels):
        for axes, metric in zip(panels, metrics, strict=False):
            axes.set_title(TITLES.get(metric, metric.replace("_", " ")))
            _panel(
                axes,
                rounds[rounds["metric"] == metric],
                {n: v[metric] for n, v in levels.items() if metric in v},
            )
        for axes in panels[len(metrics) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(metrics) - columns) : len(metrics)]:
            axes.set_xlabel("round")
        handles = {h.get_label(): h for axes in panels for h in axes.get_legend_handles_labels()[0]}
        if handles:
            figure.legend(
                handles=list(handles.values()), loc="outside lower center", ncols=min(5, len(handles))
            )
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return path


def _panel(axes: Axes, values: pd.DataFrame, levels: Mapping[str, float]) -> None:
    from matplotlib.ticker import MaxNLocator

    if not values["value"].notna().any():
        say(axes, "undefined in every round")
        return
    several = values["round"].nunique() > 1
    thin = 1.0 if values["client"].nunique() <= 20 else 0.5
    label = "each client"
    for client, own in values.groupby("client", sort=False):
        if client == "all":
            continue
        own = own.sort_values("round")
        alone = own["value"].isna().any() or not several  # a value between gaps makes no line
        look: dict[str, Any] = {"color": LIGHT if several else GREY, "marker": "o" if alone else "", "ms": 3}
        axes.plot(own["round"], own["value"], lw=thin, label=label, zorder=1, **look)
        label = "_"
    aggregate = values[values["client"] == "all"].sort_values("round")
    if {"low", "high"} <= set(aggregate.columns):
        axes.fill_between(
            aggregate["round"], aggregate["low"], aggregate["high"], color=BLUE, alpha=0.2, lw=0
        )
    marker = "o" if len(aggregate) <= 12 or aggregate["value"].isna().any() else ""
    axes.plot(
        aggregate["round"], aggregate["value"], **LINES[0], marker=marker, ms=5, label="all clients", zorder=3
    )
    for style, (name, level) in zip((LINES[1], LINES[2], LINES[3], LINES[4]), _by_name(levels), strict=False):
        if not np.isnan(level):
            axes.axhline(level, **{**style, "linewidth": 1.5}, label=name, zorder=2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    first, last = values["round"].min(), values["round"].max()
    room = min(0.4, 0.03 * (last - first)) or 0.5
    axes.set_xlim(first - room, last + room)
    drawn = [*values["value"].dropna(), *(level for level in levels.values() if not np.isnan(level))]
    low, high = min(drawn), max(drawn)
    room = 0.06 * (high - low) or 0.01
    axes.set_ylim(low - room, high + room if high > 1 else min(high + room, 1 + 0.2 * room))
    axes.ticklabel_format(axis="y", useOffset=False)


def _by_name(levels: Mapping[str, float]) -> list[tuple[str, float]]:
    """Give each reference the same style in every panel, whichever are drawn there."""
    order = ["local", "pooled", "flag nothing"]
    return [(name, levels.get(name, float("nan"))) for name in order + [n for n in levels if n not in order]]
