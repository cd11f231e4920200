"""Confusion counts over all rows, and found, missed and false alarms of every client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fedanomaly.evaluation.markdown import percent
from fedanomaly.evaluation.plots.theme import BLUE, LIGHT, ORANGE, client_ticks, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def confusion_counts(
    overall: Mapping[str, float],
    per_client: Mapping[str, Mapping[str, float]],
    path: Path,
    *,
    title: str = "",
) -> Path:
    """Draw the confusion matrix of all rows, and what each client finds, misses and raises in vain.

    Parameters
    ----------
    overall : mapping of str to float
        ``tp``, ``fp``, ``tn``, ``fn`` over all clients.
    per_client : mapping of str to mapping of str to float
        The same a client, by name.
    path : Path
        Where the PNG goes.
    title : str
        Above all panels.

    Returns
    -------
    Path
        ``path``.
    """
    from matplotlib.ticker import MaxNLocator

    names = list(per_client)
    with picture(path, (12, 4), 3, width_ratios=(1, 1.5, 1.5)) as (figure, (matrix, frauds, alarms)):
        _matrix(matrix, overall)
        found, missed, false_alarms = (
            np.array([per_client[name].get(count, 0.0) for name in names]) for count in ("tp", "fn", "fp")
        )
        places = np.arange(len(names))
        edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.6}
        frauds.bar(places, found, color=BLUE, label="found", **edge)
        frauds.bar(places, missed, bottom=found, color=ORANGE, hatch="////", label="missed", **edge)
        frauds.set_title("Frauds", pad=24)
        frauds.legend(loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2, borderpad=0.2)
        alarms.bar(places, false_alarms, color=LIGHT, hatch="....", edgecolor="#555555", linewidth=0.6)
        alarms.set_title("False alarms (legitimate rows flagged)", pad=24)
        for axes, counts in ((frauds, found + missed), (alarms, false_alarms)):
            axes.set_ylabel("test rows")
            axes.set_ylim(0, 1.12 * max([*counts, 1.0]))
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_formatter("{x:,.0f}")
            if len(names):
                client_ticks(axes, names)
            if 0 < len(names) <= 6:
                for place, count in zip(places, counts, strict=True):
                    axes.annotate(
                        f"{count:,.0f}",
                        (place, count),
                        (0, 2),
                        textcoords="offset points",
                        ha="center",
                        fontsize=9,
                    )
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return path


def _matrix(axes: Axes, counts: Mapping[str, float]) -> None:
    """Draw four cells, shaded by the share of their true class."""
    axes.set_title("All test rows", pad=24)
    axes.set_xlim(0, 2)
    axes.set_ylim(2, 0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([0.5, 1.5], ["flagged", "spared"])
    axes.set_yticks([0.5, 1.5], ["fraud", "legitimate"], rotation=90, va="center")
    cells = (("tp", "fn"), ("fp", "tn"))
    for row, (flagged, spared) in enumerate(cells):
        total = counts.get(flagged, 0.0) + counts.get(spared, 0.0)
        for column, name in enumerate((flagged, spared)):
            count = counts.get(name, 0.0)
            share = count / total if total else 0.0
            right = name in ("tp", "tn")
            shade = (BLUE if right else ORANGE) + f"{int(20 + 150 * share):02x}"
            axes.fill_between([column + 0.02, column + 0.98], row + 0.02, row + 0.98, color=shade, lw=0)
            below = f"\n{percent(share)}" if total else ""
            axes.text(column + 0.5, row + 0.5, f"{count:,.0f}{below}", ha="center", va="center", fontsize=11)
