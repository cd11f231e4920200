"""A study's pictures: curves, points and heat maps from its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation import mean_interval
from fedanomaly.experiment.study_figures import (
    figures_by_round,
    final_figures,
    level_text,
    metric_name,
    select,
)
from fedanomaly.experiment.study_sections import CURVES, HEAT_MAP, Picture
from fedanomaly.experiment.study_tables import by_seed

if TYPE_CHECKING:
    import pandas as pd


def draw_picture(picture: Picture, frame: pd.DataFrame, folder: Path) -> Iterator[tuple[Path, str]]:
    """Draw a section's pictures; yield each file with what it shows."""
    place = f"the picture {picture.name!r}"
    by_round = picture.x == "round"
    figures = figures_by_round(frame) if by_round else final_figures(frame, picture.metrics)
    chosen = select(figures, picture.where, place)
    if picture.kind == CURVES and chosen[picture.x].dtype.kind not in "fiu":
        raise UserError(f"{place}: x must be an axis of numbers, {picture.x!r} is not")
    apart = picture.kind == HEAT_MAP or bool(picture.panel)
    for metrics in [(metric,) for metric in picture.metrics] if apart else [picture.metrics]:
        many = apart and len(picture.metrics) > 1
        name = f"{picture.name}-{_slug(metrics[0])}" if many else picture.name
        path = folder / f"{name}.png"
        what = ", ".join(metric_name(metric) for metric in metrics)
        _draw(picture, chosen, metrics, path, place)
        yield path, f"{picture.title or picture.name}: {what}"


def _draw(picture: Picture, chosen: pd.DataFrame, metrics: Sequence[str], path: Path, place: str) -> None:
    from fedanomaly.evaluation.plots import heat_map, interval_curves, interval_points

    if picture.kind == HEAT_MAP:
        wide = chosen.pivot_table(metrics[0], picture.rows, picture.columns, "mean", sort=False).astype(float)
        by_seed(chosen, picture.axes, metrics[0], place)  # raises if a cell mixes runs
        rows = [level_text(level) for level in wide.index]
        group = [name.partition(",")[0] for name in rows]
        heat_map(
            wide.to_numpy(),
            rows,
            [level_text(level) for level in wide.columns],
            path,
            title=picture.title,
            label=f"mean {metric_name(metrics[0])} over the seeds",
            breaks=[n for n in range(1, len(rows)) if picture.rows == "method" and group[n] != group[n - 1]],
        )
        return
    points = _points(picture, chosen, metrics, place)
    if picture.kind == CURVES:
        interval_curves(
            points,
            path,
            xlabel=metric_name(picture.x),
            ylabel=metric_name(metrics[0]),
            title=picture.title,
            logarithmic=picture.log_x,
            log_y=picture.log_y,
            own_y=not picture.panel,
        )
    else:
        interval_points(
            points, path, label=metric_name(metrics[0]) if picture.panel else "", title=picture.title
        )


def _points(picture: Picture, chosen: pd.DataFrame, metrics: Sequence[str], place: str) -> pd.DataFrame:
    """Return means with intervals: columns panel, line, x or row, mean, low, high."""
    import pandas as pd

    first = picture.x or picture.rows
    axes = tuple(dict.fromkeys(filter(None, (first, picture.line, picture.panel))))
    rows = []
    for metric in metrics:
        for key, values in by_seed(chosen, axes, metric, place).items():
            level = dict(zip(axes, key, strict=True))
            interval = mean_interval(values.to_numpy())
            rows.append(
                {
                    "panel": level_text(level[picture.panel]) if picture.panel else metric_name(metric),
                    "line": level_text(level[picture.line]) if picture.line else "",
                    "x": level[first] if picture.kind == CURVES else level_text(level[first]),
                    "mean": interval.mean,
                    "low": interval.low,
                    "high": interval.high,
                }
            )
    drawn = pd.DataFrame(rows)
    known = drawn.groupby("line")["mean"].transform("count") > 0  # what a copy of pooled costs is not known
    return drawn[known] if known.any() else drawn


def _slug(metric: str) -> str:
    return metric.replace("_", "-").replace(".", "-")
