"""A study's tables of exponents: how each cost grows with an axis of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation import Growth, growth
from fedanomaly.evaluation.markdown import table
from fedanomaly.experiment.study_figures import metric_name, select
from fedanomaly.experiment.study_sections import TableSection

if TYPE_CHECKING:
    import pandas as pd

MISFIT = 1.25
"""From this factor on, a law that misses a mean says so."""


def growth_table(section: TableSection, figures: pd.DataFrame) -> list[str]:
    """Return a sentence on what is fitted and the table: a row a combination, an exponent a metric."""
    found = exponents(section, figures)
    header = [*(axis.replace("_", " ") for axis in section.rows), *map(metric_name, section.metrics)]
    rows = [[*map(str, key), *map(_text, laws.values())] for key, laws in found.items()]
    longest = max((law for laws in found.values() for law in laws.values()), key=lambda law: law.sizes)
    axis = metric_name(section.growth)
    sentence = (
        f"Exponents b of the law c x^b, where x is {axis}: 1 is proportional, 0 does not grow. Fitted by "
        f"least squares on logarithms to the medians of {longest.sizes} sizes, {longest.smallest:,.0f} to "
        f"{longest.largest:,.0f}; the 95 % interval is over sizes, not seeds, so it is wide where there is "
        f"no one exponent. Where the law misses a size by a factor of {MISFIT} or more, the factor is named."
    )
    return [sentence, table(header, rows)]


def exponents(section: TableSection, figures: pd.DataFrame) -> dict[tuple[object, ...], dict[str, Growth]]:
    """Return the growth of each metric, for each combination of the section's axes.

    Raises
    ------
    UserError
        If the axis is none of numbers, or no run has what the section asks for.
    """
    place = f"the table {section.title!r}"
    shown = select(figures, section.where, place)
    if shown[section.growth].dtype.kind not in "fiu":
        raise UserError(f"{place}: growth must be an axis of numbers, {section.growth!r} is not")
    return {
        key: {
            metric: growth(
                part[section.growth].to_numpy(float), part[metric].to_numpy(float), least=section.least
            )
            for metric in section.metrics
        }
        for key, part in shown.groupby(list(section.rows), sort=False, dropna=False)
    }


def _text(law: Growth) -> str:
    return f"{law}, off by {law.misfit:.1f}" if law.misfit >= MISFIT else str(law)
