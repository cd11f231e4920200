"""A study as data: a TOML file with a base configuration, a grid of options and seeds."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation import mean_interval
from fedanomaly.experiment.cell import KEEP
from fedanomaly.experiment.grid import View, run_grid
from fedanomaly.experiment.study_sections import Picture, TableSection, read_pictures, read_tables
from fedanomaly.experiment.workers import Executor
from fedanomaly.federation.config import RunConfig

if TYPE_CHECKING:
    import pandas as pd

Options = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """What is run, not how.

    Attributes
    ----------
    name : str
        The file's name without its ending.
    title : str
        One line for people.
    base : dict
        Options that all cells share.
    grids : tuple of dict
        Of each grid every combination is run. An axis is an option with the list of its values; an axis
        of tables sets several options at once, and its name is then free.
    seeds : tuple of int
        Each combination is run with each.
    keep : {"final", "rounds", "clients"}
        Rows a cell leaves, see :data:`fedanomaly.experiment.cell.KEEP`.
    tables, pictures : tuple
        What is shown of it, see :func:`fedanomaly.experiment.study_report.write_study_report`.

    Examples
    --------
    >>> study = Study("s", "", {"data": "wdbc"}, ({"clients": [2, 5]},), (0, 1, 2))
    >>> [(cell.clients, cell.seed) for cell in study.cells()]
    [(2, 0), (2, 1), (2, 2), (5, 0), (5, 1), (5, 2)]
    """

    name: str
    title: str
    base: Mapping[str, Any]
    grids: tuple[Mapping[str, Sequence[Any]], ...]
    seeds: tuple[int, ...]
    keep: str = "final"
    tables: tuple[TableSection, ...] = ()
    pictures: tuple[Picture, ...] = ()

    def cells(self) -> list[RunConfig]:
        """Return every configuration of the study, seeds innermost; :class:`UserError` for a bad one."""
        origin = f"the study {self.name}"
        return [
            RunConfig.from_mapping({**self.base, **point, "seed": seed}, origin)
            for grid in self.grids
            for point in _points(grid)
            for seed in self.seeds
        ]

    def axes(self) -> list[str]:
        """Return the options that the grids vary, by their names in a frame of results."""
        points = [point for grid in self.grids for point in _points(grid)]
        return list(dict.fromkeys(name.replace("-", "_") for point in points for name in point))


def read_study(path: Path) -> Study:
    """Read a study's file.

    The file holds ``title`` (optional), ``seeds`` (a number of seeds, from 0, or a list of them),
    ``keep`` (optional), a table ``[base]``, a table ``[grid]`` or several ``[[grid]]``, and what is shown
    of it, any number of ``[[table]]`` and ``[[picture]]``.

    Raises
    ------
    UserError
        In one sentence, if it cannot be read or is no study.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the study {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML file: {error}") from None
    if unknown := sorted(set(content) - {"title", "seeds", "keep", "base", "grid", "table", "picture"}):
        raise UserError(
            f"{path}: a study has title, seeds, keep, [base], [grid], [[table]] and [[picture]], "
            f"not {unknown[0]!r}"
        )
    base, grids = content.get("base", {}), content.get("grid", {})
    grids = grids if isinstance(grids, list) else [grids]
    if not isinstance(base, dict) or not all(isinstance(grid, dict) for grid in grids):
        raise UserError(f"{path}: base and grid must be tables, [base] and [grid]")
    for name in {key for table in (base, *grids) for key in table} & {"seed", "references", "out", "name"}:
        raise UserError(
            f"{path}: {name!r} is no option of a study; seeds stand at the top, the rest is given"
        )
    for axis, values in ((axis, values) for grid in grids for axis, values in grid.items()):
        if not isinstance(values, list) or not values:
            raise UserError(f"{path}: the axis {axis!r} must be a list of values, got {values!r}")
    keep = content.get("keep", "final")
    if keep not in KEEP:
        raise UserError(f"{path}: keep must be one of {', '.join(KEEP)}, got {keep!r}")
    return Study(
        path.stem,
        str(content.get("title", path.stem)),
        base,
        tuple(grids),
        _seeds(path, content.get("seeds", 10)),
        keep,
        read_tables(content.get("table", []), str(path)),
        read_pictures(content.get("picture", []), str(path)),
    )


def run_study(
    study: Study,
    out: Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    view: View | None = None,
) -> pd.DataFrame:
    """Run a study, or what is left of it; see :func:`~fedanomaly.experiment.grid.run_grid`."""
    return run_grid(study.cells(), out, keep=study.keep, workers=workers, executor=executor, view=view)


def summary(study: Study, frame: pd.DataFrame, metrics: Sequence[str]) -> list[dict[str, str]]:
    """Return one row a combination: its options, and each metric's mean with its interval over the seeds.

    Figures are those of the last round over all clients.
    """
    last = frame[(frame["client"] == "all") & (frame["round"] == frame["rounds"])]
    axes = [name for name in study.axes() if frame[name].nunique() > 1]
    if last.empty or not axes:
        return []
    rows = []
    for values, part in last.groupby(axes, sort=False, dropna=False):
        figures = {name: str(mean_interval(part[name].to_numpy(float))) for name in metrics}
        rows.append({**{name: str(value) for name, value in zip(axes, values, strict=True)}, **figures})
    return rows


def _points(grid: Mapping[str, Sequence[Any]]) -> Iterator[Options]:
    """Yield every combination of a grid's values as options."""
    axes = [
        [value if isinstance(value, Mapping) else {axis: value} for value in values]
        for axis, values in grid.items()
    ]
    for combination in product(*axes):
        yield {name: value for part in combination for name, value in part.items()}


def _seeds(path: Path, given: object) -> tuple[int, ...]:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        return tuple(range(given))
    if isinstance(given, list) and given and all(type(seed) is int for seed in given):
        return tuple(given)
    raise UserError(f"{path}: seeds must be how many there are (at least 1) or a list of them, got {given!r}")
