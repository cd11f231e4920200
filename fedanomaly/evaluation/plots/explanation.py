"""One row explained: the features that add most to its abnormality, longest bar first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedanomaly.evaluation.plots.theme import BLACK, BLUE, GREY, ORANGE, picture, say

MOST_BARS = 15


def explanation(
    names: Sequence[str],
    values: npt.ArrayLike,
    contributions: npt.ArrayLike,
    path: Path,
    *,
    title: str = "",
    xlabel: str = "adds to the anomaly score",
    additive: bool = True,
) -> Path:
    """Draw what each feature adds to a row's abnormality.

    Parameters
    ----------
    names : sequence of str
        The features.
    values : array-like of shape (n_features,)
        The row, written beside the names.
    contributions : array-like of shape (n_features,)
        The higher, the more abnormal; negative ones speak for the row.
    path : Path
        Where the PNG goes.
    title : str
        Above the picture.
    xlabel : str
        What the bars' length is.
    additive : bool, default=True
        Whether contributions add up to something, so that many small ones can share a bar.

    Returns
    -------
    Path
        ``path``.

    Notes
    -----
    Of more than 15 features the 14 longest bars are drawn, and the sum of all others; the 15 longest if
    contributions are not additive.
    """
    row, terms = np.asarray(values, dtype=np.float64), np.asarray(contributions, dtype=np.float64)
    order = np.argsort(-np.abs(terms), kind="stable")
    shown = order if len(order) <= MOST_BARS else order[: MOST_BARS - additive]
    labels = [f"{_short(names[i])} = {row[i]:.4g}" for i in shown]
    lengths = [float(terms[i]) for i in shown]
    rest = additive * (len(order) - len(shown))
    if rest:
        labels.append(f"{rest} other features")
        lengths.append(float(terms[order[len(shown) :]].sum()))
    with picture(path, (7.6, 1.5 + 0.32 * max(3, len(labels)))) as (_, (axes,)):
        axes.set_title(title or "What made this row anomalous")
        if not np.any(lengths):
            say(axes, "no feature adds to the score of this row")
            return path
        colours = [ORANGE if length > 0 else BLUE for length in lengths]
        if rest:
            colours[-1] = GREY
        places = range(len(labels))
        bars = axes.barh(places, lengths, color=colours, height=0.72)
        axes.set_yticks(places, labels)
        for bar, length in zip(bars, lengths, strict=True):
            bar.set_hatch("" if length > 0 else "////")  # told apart in black and white
        axes.bar_label(bars, [f"{length:.3g}" for length in lengths], padding=3, fontsize=9)
        axes.axvline(0, color=BLACK, lw=0.8)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(xlabel)
    return path


def _short(name: str) -> str:
    return (name if len(name) <= 28 else f"{name[:27]}…").replace("$", r"\$")  # no formula
