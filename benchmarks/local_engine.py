"""The local engine: a whole federation in one process, beside a bare loop over the same client work.

python -m benchmarks.local_engine
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import anomaly
import fedanomaly
from fedanomaly.experiment.references import run_local
from fedanomaly.federation import RunConfig
from fedanomaly.federation.layout import layout
from fedanomaly.federation.observer import Observer


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    config = RunConfig(clients=5, rounds=10, references=False)
    rows = len(layout(config).table)
    run_local(config, Observer())  # compiled kernels and rows in memory, for both sides
    engine = [seconds(lambda: run_local(config, Observer())) for _ in range(5)]
    bare = [seconds(lambda: anomaly.walk_through(config)) for _ in range(5)]
    with tempfile.TemporaryDirectory() as folder:
        whole = seconds(lambda: fedanomaly.run(rounds=10, out=Path(folder) / "run"))
    print(f"{rows:,} rows, 5 clients, 10 rounds, one process")
    print(f"engine, evaluation after every round: {min(engine):.2f} to {max(engine):.2f} s")
    print(f"bare loop, evaluation after the last round only: {min(bare):.2f} to {max(bare):.2f} s")
    print(f"with references, leak check, report and pictures: {whole:.2f} s")


if __name__ == "__main__":
    main()
