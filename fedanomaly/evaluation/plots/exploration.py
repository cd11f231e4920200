"""A first look at a table: classes, hours, amounts, correlations, projections, what SMOTE adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation.plots.theme import BLACK, BLUE, FRAUD, GREY, LEGITIMATE, ORANGE, picture, say

Numbers = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]

_SHOWN_ROWS = 4000  # legitimate rows in a scatter: more hide each other
_HOURS = 24


def class_balance(y: Labels, path: Path, *, title: str = "How rare frauds are") -> Path:
    """Draw how many rows each class has, on a logarithmic axis, with the share of frauds.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        1 = fraud.
    path : Path
        Where the PNG goes.
    title : str
        Above the picture.
    """
    counts = [int(np.count_nonzero(y != 1)), int(np.count_nonzero(y == 1))]
    with picture(path, (6.4, 2.6)) as (_, (axes,)):
        axes.set_title(title)
        bars = axes.barh(["legitimate", "fraud"], counts, color=[BLUE, ORANGE], height=0.55)
        bars[1].set_hatch("//")
        for place, count in enumerate(counts):
            axes.annotate(
                f"{count:,} ({count / max(1, len(y)):.3%})",
                (max(count, 1), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_xscale("log")
        axes.set_xlim(1, max(2, len(y)) * 30)
        axes.set_xlabel("rows (logarithmic)")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return path


def hourly_rhythm(
    hours: Numbers, y: Labels, path: Path, *, title: str = "When rows of each class happen"
) -> Path:
    """Draw each class's share of its rows by hour of the day, with 95 % intervals.

    Parameters
    ----------
    hours : ndarray of shape (n_rows,)
        Hours since a midnight; the hour of the day is their remainder by 24.
    y : ndarray of shape (n_rows,)
        1 = fraud.
    """
    hour = np.floor(np.mod(hours, _HOURS)).astype(np.int64)
    with picture(path, (8, 3.8)) as (_, (axes,)):
        axes.set_title(title)
        for label, look, name in ((0, LEGITIMATE, "legitimate"), (1, FRAUD, "fraud")):
            chosen = hour[y == label]
            if not len(chosen):
                continue
            share = np.bincount(chosen, minlength=_HOURS) / len(chosen)
            half = 1.96 * np.sqrt(share * (1 - share) / len(chosen))
            axes.step(range(_HOURS), share, where="mid", label=f"{name} ({len(chosen):,} rows)", **look)
            axes.fill_between(
                range(_HOURS),
                np.maximum(share - half, 0),
                share + half,
                step="mid",
                color=look["color"],
                alpha=0.15,
                linewidth=0,
            )
        axes.set_xlabel("hour of the day")
        axes.set_ylabel("share of the class (95 % interval)")
        axes.set_xticks(range(0, _HOURS, 3))
        axes.set_ylim(bottom=0)
        axes.legend()
    return path


def class_distributions(
    columns: Mapping[str, Numbers], y: Labels, path: Path, *, title: str = "", per_row: int = 3
) -> Path:
    """Draw the distribution of each feature in each class, one panel a feature.

    Amounts and other features of one sign that span more than three decades get a logarithmic axis.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_rows,)
        Features by name.
    """
    if not columns:
        raise UserError("there is no feature to draw")
    n_rows = -(-len(columns) // per_row)
    with picture(path, (3.6 * per_row, 2.7 * n_rows), columns=per_row, rows=n_rows) as (figure, axes):
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        for ax, (name, values) in zip(axes, columns.items(), strict=False):
            _one_distribution(ax, name, values, y)
        for ax in axes[len(columns) :]:
            ax.set_axis_off()
        axes[0].set_ylabel("density")
        axes[0].legend(fontsize=8)
    return path


def _one_distribution(ax: Any, name: str, values: Numbers, y: Labels) -> None:
    ax.set_title(name)
    classes = [values[y == label] for label in (0, 1) if np.any(y == label)]
    low = min(float(np.quantile(part, 0.005)) for part in classes)
    high = max(float(np.quantile(part, 0.995)) for part in classes)
    if not high > low:
        say(ax, "constant")
        return
    positive = values[values > 0]
    wide = values.min() >= 0 and len(positive) and high / max(np.quantile(positive, 0.01), 1e-12) > 1e3
    shown = np.log10(1 + values) if wide else values
    if wide:
        low, high = float(np.log10(1 + low)), float(np.log10(1 + high))
    edges = np.linspace(low, high, 41)
    for label, look, legend in ((0, LEGITIMATE, "legitimate"), (1, FRAUD, "fraud")):
        chosen = np.clip(shown[y == label], edges[0], edges[-1])
        if len(chosen):
            density, _ = np.histogram(chosen, bins=edges, density=True)
            ax.stairs(density, edges, label=legend, linewidth=1.6, **look)
    if wide:
        ticks = np.arange(np.ceil(edges[0]), np.floor(edges[-1]) + 1)
        ax.set_xticks(ticks, [f"{10**tick:,.0f}" if tick < 6 else f"1e{tick:.0f}" for tick in ticks])
    ax.set_yticks([])


def correlations(
    X: Numbers, y: Labels, names: Sequence[str], path: Path, *, title: str = "Correlations by class"
) -> Path:
    """Draw the correlation matrix of each class side by side.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Features.
    names : sequence of str
        One a feature.
    """
    with picture(path, (11.4, 5.2), columns=2) as (figure, axes):
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        image = None
        for ax, label, name in ((axes[0], 0, "legitimate"), (axes[1], 1, "fraud")):
            rows = X[y == label]
            if len(rows) < 3:
                say(ax, f"too few {name} rows")
                continue
            with np.errstate(invalid="ignore", divide="ignore"):
                matrix = np.nan_to_num(np.corrcoef(rows, rowvar=False))
            np.fill_diagonal(matrix, 1.0)
            off = np.abs(matrix[~np.eye(len(matrix), dtype=bool)]).mean()
            ax.set_title(f"{name}: mean |r| = {off:.3f}")
            image = ax.imshow(matrix, cmap="PuOr", vmin=-1, vmax=1)
            step = max(1, len(names) // 15)
            ticks = range(0, len(names), step)
            ax.set_xticks(ticks, [names[i] for i in ticks], rotation=60, ha="right", fontsize=8)
            ax.set_yticks(ticks, [names[i] for i in ticks], fontsize=8)
            ax.grid(visible=False)
        if image is not None:
            figure.colorbar(image, ax=axes, label="correlation", shrink=0.8)
    return path


def fraud_by_category(
    codes: npt.NDArray[np.int64], names: Sequence[str], y: Labels, path: Path, *, title: str = "Fraud by type"
) -> Path:
    """Draw rows and share of frauds a category (payment type, site), with 95 % Wilson intervals."""
    counts = np.bincount(codes, minlength=len(names)).astype(np.float64)
    frauds = np.bincount(codes, weights=(y == 1).astype(np.float64), minlength=len(names))
    share = np.divide(frauds, counts, out=np.zeros_like(frauds), where=counts > 0)
    n, z = np.maximum(counts, 1), 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    with picture(path, (9.6, 3.4), columns=2) as (figure, (left, right)):
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        left.barh(list(names), counts, color=BLUE, height=0.6)
        left.set_xlabel("rows")
        errors = np.abs(np.stack([share - (middle - half), (middle + half) - share])).clip(min=0)
        right.barh(list(names), share, color=ORANGE, height=0.6, hatch="//", edgecolor="white")
        right.errorbar(share, range(len(names)), xerr=errors, fmt="none", ecolor=BLACK, capsize=3)
        right.set_xlabel("share of frauds (95 % interval)")
        right.set_xlim(left=0)
        for ax in (left, right):
            ax.invert_yaxis()
            ax.grid(axis="y", visible=False)
    return path


def projection(
    X: Numbers, y: Labels, path: Path, *, title: str = "The two main components", seed: int = 0
) -> Path:
    """Draw rows in the plane of the two components of largest variance (standardised features).

    All frauds and a sample of the legitimate rows are shown; the axes leave out the outermost 1 in
    200 legitimate rows at either end.
    """
    normal, frauds = np.flatnonzero(y != 1), np.flatnonzero(y == 1)
    some = np.random.default_rng(seed).permutation(normal)[:_SHOWN_ROWS]
    scale = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(np.cov(Z, rowvar=False))
    plane = Z @ vectors[:, ::-1][:, :2]
    explained = values[::-1][:2] / values.sum()
    with picture(path, (7.0, 4.8)) as (_, (axes,)):
        axes.set_title(title)
        axes.scatter(
            plane[some, 0],
            plane[some, 1],
            s=6,
            color=GREY,
            alpha=0.5,
            linewidth=0,
            label="legitimate (sample)",
        )
        axes.scatter(
            plane[frauds, 0], plane[frauds, 1], s=18, color=ORANGE, marker="x", linewidth=1.0, label="fraud"
        )
        shown = np.concatenate([some, frauds])
        for axis, set_limits in ((0, axes.set_xlim), (1, axes.set_ylim)):
            low, high = np.quantile(plane[shown, axis], [0.005, 0.995])
            margin = 0.08 * (high - low)
            set_limits(low - margin, high + margin)
        axes.set_xlabel(f"component 1 ({explained[0]:.0%} of the variance)")
        axes.set_ylabel(f"component 2 ({explained[1]:.0%})")
        axes.legend()
    return path


def smote_rows(
    real: Numbers, synthetic: Numbers, legitimate: Numbers, path: Path, *, names: tuple[str, str]
) -> Path:
    """Draw real frauds, the rows SMOTE puts between them, and legitimate rows, in two features.

    Parameters
    ----------
    real, synthetic, legitimate : ndarrays of shape (n, 2)
        The same two features of the three kinds of rows.
    names : tuple of two str
        The features' names.
    """
    with picture(path, (7.0, 4.8)) as (_, (axes,)):
        axes.set_title("SMOTE draws between frauds, never beyond them")
        kinds: tuple[tuple[Numbers, str, dict[str, Any]], ...] = (
            (legitimate, "legitimate", {"s": 5, "color": GREY, "alpha": 0.4, "linewidth": 0}),
            (synthetic, "synthetic", {"s": 9, "color": BLUE, "marker": "+", "linewidth": 0.7}),
            (real, "real fraud", {"s": 26, "color": ORANGE, "marker": "x", "linewidth": 1.2}),
        )
        for rows, label, look in kinds:
            axes.scatter(rows[:_SHOWN_ROWS, 0], rows[:_SHOWN_ROWS, 1], label=label, **look)
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1])
        axes.legend()
    return path
