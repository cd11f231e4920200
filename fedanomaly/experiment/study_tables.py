"""A study's tables: means with intervals, and paired differences to a reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation import Comparison, Interval, compare_paired, mean_interval
from fedanomaly.evaluation.markdown import table
from fedanomaly.experiment.study_figures import (
    METHOD,
    SPLIT,
    final_figures,
    level_text,
    metric_name,
    options_behind,
    select,
)
from fedanomaly.experiment.study_growth import growth_table
from fedanomaly.experiment.study_sections import TableSection

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05
"""Adjusted p-values below it are marked in a table with columns."""

Values = dict[tuple[object, ...], "pd.Series[float]"]


def markdown_tables(section: TableSection, frame: pd.DataFrame) -> list[str]:
    """Return a section's tables in Markdown, with a sentence each where they need one."""
    place = f"the table {section.title!r}"
    figures = final_figures(frame, section.metrics)
    if section.growth:
        return growth_table(section, figures)
    shown = select(figures, section.where, place)
    columns = {}
    for metric in section.metrics:
        values = by_seed(shown, section.axes, metric, place)
        compared = comparisons(section, figures, metric) if section.compare else {}
        columns[metric] = values, compared
    if not section.columns:
        text = _table(section, columns)
        return [*([_legend(section, "p is")] if section.compare else []), text]
    texts = []
    for metric, (values, compared) in columns.items():
        texts.append(
            metric_name(metric).capitalize() if not metric_name(metric)[1].isupper() else metric_name(metric)
        )
        texts[-1] += "."
        if section.compare:
            texts[-1] += " " + _legend(section, f"↑ higher, ↓ lower (p < {LEVEL},")
        texts.append(_cross_table(section, metric, values, compared))
    return texts


def by_seed(figures: pd.DataFrame, axes: tuple[str, ...], metric: str, place: str) -> Values:
    """Return a metric's values by seed, for each combination of the axes, in the order of their levels."""
    found: Values = {}
    levels = [{level: n for n, level in enumerate(figures[axis].unique())} for axis in axes]
    for key, part in figures.groupby(list(axes), sort=False, dropna=False):
        values = part.set_index("seed")[metric].astype(float)
        if values.index.has_duplicates:
            raise UserError(
                f"{place} has several runs of one seed where {dict(zip(axes, key, strict=True))}; "
                "name what tells them apart as an axis, or choose among them with where"
            )
        found[key] = values
    return {key: found[key] for key in sorted(found, key=lambda key: [*map(dict.get, levels, key)])}


def comparisons(
    section: TableSection, figures: pd.DataFrame, metric: str
) -> dict[tuple[object, ...], Comparison]:
    """Return each row's difference to its reference: the same seed and axes, but for ``compare``."""
    place = f"the table {section.title!r}"
    replaced = _replaced(section)
    kept = [name for name in options_behind(section.axes) if name not in replaced]
    where = {
        name: values for name, values in section.where.items() if not set(options_behind([name])) & replaced
    }
    fixed = {name: (value,) for name, value in section.compare.items()}
    references = by_seed(
        select(figures, {**where, **fixed}, f"{place}, compare"), tuple(kept) or ("status",), metric, place
    )
    shown = select(figures, section.where, place)
    pairs = {}
    for key, part in shown.groupby(list(section.axes), sort=False, dropna=False):
        first = part.iloc[0]
        if all(first[name] == value for name, value in section.compare.items()):
            continue
        reference = references.get(tuple(first[name] for name in (kept or ["status"])))
        if reference is None:
            continue
        own = part.set_index("seed")[metric].astype(float)
        pairs[key] = own.to_numpy(), reference.reindex(own.index).to_numpy()
    names = {str(place): key for place, key in enumerate(pairs)}
    compared = compare_paired({name: pairs[key] for name, key in names.items()})
    return {names[name]: comparison for name, comparison in compared.items()}


def interval_text(interval: Interval, places: int = 4, sign: str = "") -> str:
    """Return a mean and its interval with as many places as its size deserves."""
    if not interval.n:
        return "undefined"
    largest = max(
        abs(value) for value in (interval.mean, interval.low, interval.high) if not math.isnan(value)
    )
    digits = places if largest < 10 else 1 if largest < 1000 else 0
    mean = f"{interval.mean:{sign},.{digits}f}"
    if interval.n < 2:
        return f"{mean} (one value)"
    return f"{mean} [{interval.low:{sign},.{digits}f}, {interval.high:{sign},.{digits}f}]"


def _table(
    section: TableSection, columns: dict[str, tuple[Values, dict[tuple[object, ...], Comparison]]]
) -> str:
    header: list[str] = [axis.replace("_", " ") for axis in section.axes]
    rows: dict[tuple[object, ...], list[object]] = {}
    for metric, (values, compared) in columns.items():
        header += [metric_name(metric), *(["difference", "p"] if section.compare else [])]
        for key, one in values.items():
            row = rows.setdefault(key, [level_text(part) for part in key])
            row.append(interval_text(mean_interval(one.to_numpy())))
            if section.compare:
                row += _compared(compared.get(key))
    return table(header, rows.values())


def _cross_table(
    section: TableSection, metric: str, values: Values, compared: dict[tuple[object, ...], Comparison]
) -> str:
    across = list(dict.fromkeys(key[-1] for key in values))
    rows: dict[tuple[object, ...], dict[object, str]] = {}
    for key, one in values.items():
        text = interval_text(mean_interval(one.to_numpy()), 3)
        rows.setdefault(key[:-1], {})[key[-1]] = text + _mark(compared.get(key))
    header = [*(axis.replace("_", " ") for axis in section.rows), *map(level_text, across)]
    lines = [[*map(level_text, key), *(row.get(level, "") for level in across)] for key, row in rows.items()]
    return table(header, lines)


def _compared(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return ["", ""]
    p = comparison.adjusted
    text = "" if math.isnan(p) else "< .001" if p < 0.001 else f"{p:.3f}"
    return [interval_text(comparison.difference, sign="+") if comparison.difference.n else "", text]


def _mark(comparison: Comparison | None) -> str:
    if comparison is None or not comparison.adjusted < LEVEL:
        return ""
    return " ↑" if comparison.difference.mean > 0 else " ↓"


def _legend(section: TableSection, what: str) -> str:
    against = ", ".join(f"{name} {level_text(value)}" for name, value in section.compare.items())
    end = ")" if "(" in what else ""
    return (
        f"Compared with {against} on the same seeds; {what} paired t test, Holm's correction over this "
        f"table{end}."
    )


def _replaced(section: TableSection) -> set[str]:
    """Return the options in which a row and its reference may differ."""
    named = set(options_behind(list(section.compare)))
    replaced = set(named)
    if named & {"aggregation"}:
        replaced |= {"params"}
    if named & {"detector"}:
        replaced |= set(METHOD)
    if named & set(SPLIT):
        replaced |= set(SPLIT)
    return replaced
