"""What a study shows: the ``[[picture]]`` and ``[[table]]`` sections of its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from fedanomaly.core.errors import UserError
from fedanomaly.federation.config import RunConfig

LABELS = ("method", "setting", "split")
"""Axes made of options: detector and aggregation; federated, local or pooled; partition with its options."""

FACTS = ("data_rows", "data_features")
"""Axes that are facts of the data, not options."""

CURVES, POINTS, HEAT_MAP = "curves", "points", "heat-map"

_NEEDED = {CURVES: ("x",), POINTS: ("rows",), HEAT_MAP: ("rows", "columns")}
_ALLOWED = {
    CURVES: {"x", "line", "panel", "log_x", "log_y"},
    POINTS: {"rows", "line", "panel"},
    HEAT_MAP: {"rows", "columns"},
}

Where = Mapping[str, tuple[object, ...]]


@dataclass(frozen=True)
class Picture:
    """One picture a metric; without ``panel``, curves and points are one picture with a panel a metric.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    kind : {"curves", "points", "heat-map"}
        Means with intervals against a number; the same beside each other, a row each; means as shades.
    metrics : tuple of str
        Columns of the results, or of :mod:`fedanomaly.experiment.study_figures`.
    title : str
        Above it.
    where : mapping of str to tuple
        Only runs with one of these values.
    x, line, panel : str
        Axes of curves: a number (or ``round``); a line each; a panel each.
    rows, columns : str
        Axes of points and heat maps.
    log_x, log_y : bool
        Whether an axis grows by factors.
    """

    name: str
    kind: str
    metrics: tuple[str, ...]
    title: str = ""
    where: Where = field(default_factory=dict)
    x: str = ""
    line: str = ""
    panel: str = ""
    rows: str = ""
    columns: str = ""
    log_x: bool = False
    log_y: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """Everything that tells its figures apart."""
        return tuple(filter(None, (self.x, self.rows, self.columns, self.line, self.panel)))


@dataclass(frozen=True)
class TableSection:
    """A table of means with intervals over the seeds.

    Attributes
    ----------
    title : str
        Its heading.
    rows : tuple of str
        Axes; each combination of their values is a row.
    metrics : tuple of str
        A column each; with ``columns``, a table each.
    where : mapping of str to tuple
        Only runs with one of these values.
    columns : str
        Axis whose values are the columns.
    compare : mapping of str to object
        Options of the reference: every row is compared with the same run but for these.
    growth : str
        Axis of numbers: the table shows with which exponent each metric grows with it, instead of means.
    least : float
        Smallest number of that axis that the exponents rest on.
    """

    title: str
    rows: tuple[str, ...]
    metrics: tuple[str, ...]
    where: Where = field(default_factory=dict)
    columns: str = ""
    compare: Mapping[str, object] = field(default_factory=dict)
    growth: str = ""
    least: float = 0.0

    @property
    def axes(self) -> tuple[str, ...]:
        """Everything that tells its figures apart."""
        return (*self.rows, *filter(None, (self.columns, self.growth)))


def read_pictures(given: object, origin: str) -> tuple[Picture, ...]:
    """Return the pictures of a file; :class:`UserError`, in one sentence, if one is none."""
    pictures = tuple(_section(Picture, item, f"{origin}: a [[picture]]") for item in _listed(given, origin))
    for picture in pictures:
        place = f"{origin}: the picture {picture.name!r}"
        if picture.kind not in _NEEDED:
            raise UserError(f"{place}: kind must be one of {', '.join(_NEEDED)}, got {picture.kind!r}")
        every = {"x", "line", "panel", "rows", "columns", "log_x", "log_y"}
        for name in _NEEDED[picture.kind]:
            if not getattr(picture, name):
                raise UserError(f"{place} needs {name!r}, as {picture.kind} do")
        for name in sorted(every - _ALLOWED[picture.kind]):
            if getattr(picture, name):
                raise UserError(f"{place}: {picture.kind} have no {name!r}")
        _check_axes(picture.axes, picture.where, place, extra=("round",) if picture.x == "round" else ())
    names = [picture.name for picture in pictures]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{origin}: two pictures are called {min(repeated)!r}")
    return pictures


def read_tables(given: object, origin: str) -> tuple[TableSection, ...]:
    """Return the tables of a file; :class:`UserError`, in one sentence, if one is none."""
    tables = tuple(_section(TableSection, item, f"{origin}: a [[table]]") for item in _listed(given, origin))
    for section in tables:
        place = f"{origin}: the table {section.title!r}"
        if not section.rows:
            raise UserError(f"{place} needs rows, a list of axes")
        if section.growth and (section.columns or section.compare):
            raise UserError(f"{place}: a table of growth has no columns and compares nothing")
        _check_axes((*section.axes, *section.compare), section.where, place)
    return tables


def _listed(given: object, origin: str) -> Sequence[Mapping[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise UserError(f"{origin}: pictures and tables are sections, [[picture]] and [[table]]")
    return given


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "bool": bool,
    "float": (int, float),
    "tuple[str, ...]": list,
}
Section = TypeVar("Section", Picture, TableSection)


def _section(kind: type[Section], given: Mapping[str, Any], place: str) -> Section:
    known = {item.name: item for item in fields(kind)}
    if unknown := sorted(set(given) - set(known)):
        raise UserError(f"{place} has {', '.join(known)}, not {unknown[0]!r}")
    values: dict[str, Any] = {}
    for name, item in known.items():
        if name not in given:
            if item.default is MISSING and item.default_factory is MISSING:
                raise UserError(f"{place} needs {name!r}")
            continue
        value = given[name]
        if not isinstance(value, _KINDS.get(str(item.type), dict)):
            raise UserError(f"{place}: {name} cannot be {value!r}")
        if isinstance(value, list):
            if not value or not all(isinstance(part, str) for part in value):
                raise UserError(f"{place}: {name} must be a list of names, got {value!r}")
            value = tuple(value)
        if name == "where":
            value = {key: tuple(one) if isinstance(one, list) else (one,) for key, one in value.items()}
        values[name] = value
    return kind(**values)


def _check_axes(axes: Sequence[str], where: Where, place: str, extra: Sequence[str] = ()) -> None:
    known = {*RunConfig.__dataclass_fields__, *LABELS, *FACTS, *extra}
    if unknown := sorted({*axes, *where} - known):
        raise UserError(f"{place}: {unknown[0]!r} is no option of a run, and not {', '.join(LABELS)}")
