"""Rewrite the generated tables of the pages in docs/: ``python docs/generate.py``.

A table stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` and comes from the registries,
so that adding a component adds its row; costs come from the committed results of the benchmark and of
the studies. A test holds the committed pages to what this script writes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
if str(PROJECT) not in sys.path:
    sys.path.insert(0, str(PROJECT))

import pandas as pd  # noqa: E402

from fedanomaly.data import registered as data_sets  # noqa: E402
from fedanomaly.data.files import FileDataset  # noqa: E402
from fedanomaly.detectors import aggregations_of  # noqa: E402
from fedanomaly.detectors import registered as detectors  # noqa: E402
from fedanomaly.evaluation import registered as thresholds  # noqa: E402
from fedanomaly.experiment.options import GROUPS, server_parser  # noqa: E402
from fedanomaly.experiment.studies import read_study  # noqa: E402
from fedanomaly.federation.config import RunConfig, dashed  # noqa: E402
from fedanomaly.federation.strategies import registered as strategies  # noqa: E402
from fedanomaly.partition import registered as partitions  # noqa: E402
from fedanomaly.prepare import BALANCERS, SCALINGS  # noqa: E402

REFERENCE = PROJECT / "results" / "reference"
BENCHMARK = REFERENCE / "benchmark" / "benchmark.parquet"
_SPENT = ("train_bytes_up", "train_bytes_down", "train_seconds")
BLOCK = re.compile(r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end -->", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def data_set_table() -> str:
    """Return every data set: name, what it is, which file it needs."""
    rows = []
    for name, cls in _own(data_sets()).items():
        shown = f"`{name}:NAME`" if cls.takes_variant else f"`{name}`"
        rows.append([shown, cls.title, _file(cls)])
    return table(["`--data`", "what it is", "file to put into `data/`"], rows)


def partition_table() -> str:
    """Return every partition: name, what it does, whether clients overlap."""
    rows = [
        [f"`{name}`", cls.title, "**yes**" if cls.overlapping else "no"]
        for name, cls in _own(partitions()).items()
    ]
    return table(["`--partition`", "what it does", "clients overlap"], rows)


def detector_table() -> str:
    """Return every detector: name, what it is, its scaling, its aggregations with the default first."""
    rows = []
    for name, cls in _own(detectors()).items():
        ways = ", ".join(f"`{way}`" for way in aggregations_of(cls))
        rows.append([f"`{name}`", cls.title, f"`{cls.default_scaling}`", ways])
    head = ["`--detector`", "what it is", "scaling by default", "`--aggregation`, the default first"]
    return table(head, rows)


def aggregation_table() -> str:
    """Return every way to build a detector and what it reveals."""
    rows = []
    for name, cls in _own(detectors()).items():
        rows += [
            [f"`{name}`", f"`{way}`", kind.title, kind.leaks, kind.source]
            for way, kind in cls.aggregations.items()
        ]
    common = aggregations_of(next(iter(_own(detectors()).values())))
    rows += [
        ["every detector", f"`{way}`", common[way].title, common[way].leaks, common[way].source]
        for way in ("score-mean", "score-min", "local", "pooled")
    ]
    return table(["detector", "aggregation", "how it is built", "what leaves a client", "source"], rows)


def cost_table() -> str:
    """Return what every way to build a detector took in the benchmark: medians over all its runs."""
    columns = ["detector", "aggregation", "clients", "rounds", *_SPENT, "status"]
    runs = pd.read_parquet(BENCHMARK, columns=columns)
    runs = runs[runs["status"] == "completed"]
    runs = runs.assign(**{name: runs[name] / runs["clients"] for name in _SPENT})
    rows = []
    for (detector, way), part in runs.groupby(["detector", "aggregation"], sort=False):
        up, down, seconds = (float(part[name].median()) for name in _SPENT)
        rounds = str(part["rounds"].iloc[0])
        sizes = [f"{size / 1e3:,.1f}" for size in (up, down)]
        rows.append([f"`{detector}`", f"`{way}`", rounds, *sizes, f"{seconds * 1e3:,.1f}"])
    return table(["detector", "aggregation", "rounds", "kB up", "kB down", "ms"], rows)


def study_table() -> str:
    """Return every study with its command, and what it took where its results are committed."""
    rows = []
    for path in sorted((PROJECT / "studies").glob("*.toml")):
        study = read_study(path)
        folder = f"results/reference/{study.name}"
        command = f"`python -m fedanomaly study studies/{study.name}.toml --out {folder}`"
        store = REFERENCE / study.name / f"{study.name}.parquet"
        if store.exists():
            runs = pd.read_parquet(store, columns=["cell", "cell_seconds"]).groupby("cell").first()
            where = f"[{folder}](../{folder}/{study.name}.md)"
            spent = [f"{len(runs):,}", _duration(float(runs["cell_seconds"].sum()))]
        else:
            where, spent = f"`{folder}`, not committed", [f"{len(study.cells()):,}", "not known"]
        rows.append([where, study.title, command, *spent])
    return table(["pages, pictures, figures", "what it asks", "command", "runs", "processor time"], rows)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "under 1 min"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def strategy_table() -> str:
    """Return Flower's strategies with the options each one reads."""
    rows = []
    for name, make in _own(strategies()).items():
        cls = type(make(RunConfig(clients=7), 7))
        options = [item.name for item in fields(RunConfig) if _reads(item.metadata["help"], cls.__name__)]
        rows.append(
            [
                f"`{name}`",
                f"`{cls.__name__}`",
                ", ".join(f"`{dashed(option)}`" for option in options) or "none",
            ]
        )
    return table(["`--aggregation`", "Flower's class", "its options"], rows)


def threshold_table() -> str:
    """Return every kind of threshold."""
    rows = [[f"`{name}`", _summary(choose.__doc__)] for name, choose in _own(thresholds()).items()]
    return table(["`--threshold`", "what it does"], rows)


def balancing_table() -> str:
    """Return every balancing."""
    own = {name: make for name, make in _own(BALANCERS.registered()).items() if name != "none"}
    rows = [["`none`", "Leave the rows as they are (default)."]]
    rows += [[f"`{name}`", _summary(make.__doc__)] for name, make in own.items()]
    return table(["`--balance`", "what it does"], rows)


def scaling_table() -> str:
    """Return every scaling and what it reveals."""
    rows = [
        [f"`{name}`", _summary(step.__doc__), str(getattr(step, "leaks", ""))]
        if step is not None
        else [f"`{name}`", "The rows as they are.", "nothing"]
        for name, step in SCALINGS.registered().items()
    ]
    return table(["`--scaling`", "what it is", "what leaves a client"], rows)


def option_tables() -> str:
    """Return every option of ``server.py``, a table a group."""
    by_name = {item.name: item for item in fields(RunConfig)}
    parts = []
    for title, names in GROUPS.items():
        rows = [
            [f"`{dashed(name)}`", _default(by_name[name].default), by_name[name].metadata["help"]]
            for name in names.split()
        ]
        parts.append(f"### {title[0].upper()}{title[1:]}\n\n" + table(["option", "default", "meaning"], rows))
    return "\n\n".join(parts)


def launch_table() -> str:
    """Return the options of ``server.py`` that do not change a run's numbers."""
    launch = next(group for group in server_parser()._action_groups if group.title == "launch")
    rows = [[f"`{action.option_strings[0]}`", action.help or ""] for action in launch._group_actions]
    return table(["option", "meaning (default)"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "data-sets": data_set_table,
    "partitions": partition_table,
    "detectors": detector_table,
    "aggregations": aggregation_table,
    "costs": cost_table,
    "studies": study_table,
    "strategies": strategy_table,
    "thresholds": threshold_table,
    "balancing": balancing_table,
    "scalings": scaling_table,
    "options": option_tables,
    "launch": launch_table,
}


def rewritten(page: str) -> str:
    """Return a page with every generated block as it must be."""

    def block(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- generated: {name} -->\n\n{TABLES[name]()}\n\n<!-- end -->"

    return BLOCK.sub(block, page)


def main() -> None:
    """Rewrite all pages in docs/."""
    for path in sorted((PROJECT / "docs").glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"rewritten: {path.relative_to(PROJECT)}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


def _own(entries: dict[str, object]) -> dict[str, object]:
    """Leave out what other packages registered on this machine."""
    return {name: entry for name, entry in entries.items() if entry.__module__.startswith("fedanomaly.")}


def _file(cls: type) -> str:
    if not issubclass(cls, FileDataset):
        return "none"
    if cls.official is None:
        return cls.put
    return f"{cls.put}; if absent, downloaded ({cls.official.size / 1e6:.0f} MB)"


def _reads(help_: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", help_) is not None


def _summary(docstring: str | None) -> str:
    """Return the first sentence of a docstring, as Markdown."""
    first = " ".join((docstring or "").split("\n\n")[0].split()).replace("``", "`")
    return re.sub(r":(?:class|func|mod):`~?([^`]+)`", r"`\1`", first)


def _default(value: object) -> str:
    if value == "":
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    main()
