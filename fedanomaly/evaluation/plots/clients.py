"""Who holds what: rows, frauds and fraud rate of every client."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fedanomaly.evaluation.plots.theme import BLACK, BLUE, ORANGE, client_ticks, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def fraud_distribution(
    clients: Sequence[str], rows: npt.ArrayLike, frauds: npt.ArrayLike, path: Path, *, title: str = ""
) -> Path:
    """Draw legitimate rows, frauds and fraud rate a client.

    Parameters
    ----------
    clients : sequence of str
        Their names.
    rows, frauds : array-like of shape (n_clients,)
        How many rows each holds, and how many of them are frauds.
    path : Path
        Where the PNG goes.
    title : str
        Above all panels (the partition).

    Returns
    -------
    Path
        ``path``.
    """
    total, bad = np.asarray(rows, dtype=np.float64), np.asarray(frauds, dtype=np.float64)
    rate = 100 * bad / np.where(total > 0, total, np.nan)
    overall = 100 * bad.sum() / total.sum() if total.sum() else float("nan")
    with picture(path, (11, 3.6), 3) as (figure, (left, middle, right)):
        panels: tuple[tuple[Axes, npt.NDArray[np.float64], str, dict[str, Any]], ...] = (
            (left, total - bad, "Legitimate rows", {"color": BLUE, "hatch": ""}),
            (middle, bad, "Frauds", {"color": ORANGE, "hatch": "////"}),
        )
        for axes, counts, name, style in panels:
            bars = axes.bar(range(len(total)), counts, edgecolor="white", linewidth=0.6, **style)
            axes.set_title(f"{name} ({counts.sum():,.0f})")
            axes.set_ylabel("rows")
            _scale(axes, counts)
            if len(total) <= 6:
                axes.bar_label(bars, [f"{count:,.0f}" for count in counts], padding=2, fontsize=9)
                axes.margins(y=0.12)
        right.plot(range(len(total)), rate, "o", color=BLACK, ms=6 if len(total) <= 16 else 4, clip_on=False)
        right.set_title("Fraud rate" + (f" (all clients: {overall:.3g} %)" if np.isfinite(overall) else ""))
        right.set_ylabel("frauds in 100 rows")
        if np.isfinite(overall):
            right.axhline(overall, color=BLACK, lw=1.2, ls="--")
        held = rate[rate > 0]
        if len(held) and held.max() > 50 * held.min():
            right.set_yscale("symlog", linthresh=float(held.min()))  # logarithmic, with a place for zero
            right.set_ylim(0, 2 * held.max())
        else:
            right.set_ylim(0, 1.15 * max([*held, 0.05]))
        for axes in (left, middle, right):
            client_ticks(axes, list(clients))
        if title:
            figure.suptitle(title, x=0.01, ha="left")
    return path


def _scale(axes: Axes, counts: npt.NDArray[np.float64]) -> None:
    """Take a logarithmic axis where the largest count would hide the smallest."""
    from matplotlib.ticker import MaxNLocator

    held = counts[counts > 0]
    if len(held) and held.max() > 50 * held.min():
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5 * held.min())
        return
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    if not len(held):
        axes.set_ylim(0, 1)
