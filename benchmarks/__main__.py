"""One table of ratios, ``make bench``; or the benchmarks named: ``python -m benchmarks [NAME ...]``.

Without a name, every comparison is measured side by side in this process, printed as one table
(what, ours, peer, ratio) and written to ``results/bench.json``.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything reads it: both sides have one thread

from rich.console import Console
from rich.table import Table

COMPARISONS = ("forest_speed", "detector_speed", "payload", "simulation")
OUT = Path("results") / "bench.json"


def main() -> int:
    if wanted := sys.argv[1:]:
        return run(wanted)
    return compare(Console())


def run(wanted: list[str]) -> int:
    """Run benchmarks by name, each in a process of its own."""
    known = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "__main__"}
    if unknown := sorted(set(wanted) - known):
        print(f"unknown benchmark {unknown[0]!r}; known: {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    codes = []
    for name in wanted:
        print(f"\n== {name}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode)
    return max(codes)


def compare(console: Console) -> int:
    """Measure every comparison; print the table and write the file."""
    from fedanomaly.experiment.environment import environment

    rows, failures = [], 0
    for name in COMPARISONS:
        console.print(f"measuring {name} ...", highlight=False)
        try:
            rows += list(measured(name))
        except (Exception, SystemExit) as error:  # the other comparisons are worth having
            failures += 1
            console.print(f"{name}: {type(error).__name__}: {error}", style="red", markup=False)
    show(console, rows)
    OUT.parent.mkdir(exist_ok=True)
    content = {"environment": environment(), "peers": peer_versions(), "rows": rows}
    OUT.write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"written: {OUT}", highlight=False)
    return 1 if failures else 0


def measured(name: str) -> Iterator[dict[str, Any]]:
    """Yield a module's rows: (what, ours, peer, the peer's) in seconds, or with a unit as fifth."""
    for what, ours, peer, theirs, *rest in import_module(f"benchmarks.{name}").measure():
        known = math.isfinite(theirs)
        yield {
            "benchmark": name,
            "what": what,
            "ours": ours,
            "peer": peer,
            "peers": theirs if known else None,
            "ratio": theirs / ours if known else None,
            "unit": rest[0] if rest else "s",
        }


def peer_versions() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    peers = (Path(__file__).parent / "requirements-peers.txt").read_text(encoding="utf-8")
    names = [line.split("=")[0].strip() for line in peers.splitlines() if line and line[0].isalpha()]
    return {name: metadata.version(name) for name in names if find_spec(name)}


def show(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("what", "ours", "peer", "peer's", "ratio", title="peer / ours: above 1, ours is the better")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        theirs = "" if row["peers"] is None else figure(row["peers"], row["unit"])
        ratio = "" if row["ratio"] is None else f"{row['ratio']:,.2f}"
        table.add_row(row["what"], figure(row["ours"], row["unit"]), row["peer"], theirs, ratio)
    console.print(table) if console.is_terminal else Console(width=140).print(table)


def figure(value: float, unit: str) -> str:
    if unit != "s":
        return f"{value:,.0f} {unit}"
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


if __name__ == "__main__":
    raise SystemExit(main())
