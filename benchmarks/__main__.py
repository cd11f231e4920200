"""Run the benchmarks one after the other: ``python -m benchmarks [NAME ...]``; ``make bench`` runs all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NAMES = ("data_speed", "partition_speed", "forest_speed", "local_engine", "deployment")


def main() -> int:
    wanted = sys.argv[1:] or NAMES
    known = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "__main__"}
    if unknown := sorted(set(wanted) - known):
        print(f"unknown benchmark {unknown[0]!r}; known: {', '.join(sorted(known))}", file=sys.stderr)
        return 2
    codes = []
    for name in wanted:
        print(f"\n== {name}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
