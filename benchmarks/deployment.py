"""Real processes from the two commands to exit: seconds in all, seconds a warm round, PSS a client.

python -m benchmarks.deployment [--clients 2 5 10] [--rounds 3] [--repeats 2] [--csv FILE]
    [any option of server.py]

PSS (proportional set size) shares the pages that several processes map among them, so that it adds up.
Read while the clients evaluate, after each round; the last reading counts. The load is the system's
one-minute average before a run starts: what else the machine was doing.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fedanomaly.federation.deployment.processes import free_port

ROOT = Path(__file__).parents[1]
Figures = dict[str, float | int | str]


def main() -> None:
    """Measure each number of clients, as often as asked, and print each run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deployment")
    parser.add_argument("--clients", type=int, nargs="+", default=[5])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--csv", type=Path, help="write the figures, a run a line")
    options, others = parser.parse_known_args()
    runs: list[Figures] = []
    for _, clients in itertools.product(range(options.repeats), options.clients):
        runs.append(measure(clients, options.rounds, others))
        if options.csv:
            options.csv.parent.mkdir(parents=True, exist_ok=True)
            with options.csv.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, list(runs[0]), lineterminator="\n")
                table.writeheader()
                table.writerows(runs)


def measure(clients: int, rounds: int, others: Sequence[str]) -> Figures:
    """Run one deployment, print what happens, and return its figures."""
    load = os.getloadavg()[0]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        common = ("--port", str(free_port()), "--clients", str(clients))
        began = time.perf_counter()
        server = subprocess.Popen(
            [sys.executable, "server.py", *common, "--rounds", str(rounds), "--out", str(out), *others],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        members = subprocess.Popen(
            [sys.executable, "run_clients.py", *common], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        stamps: list[tuple[float, str]] = []
        memory: list[float] = []
        serving = 0.0
        assert server.stdout is not None
        for line in server.stdout:
            stamps.append((time.perf_counter() - began, line.rstrip()))
            if line.startswith("round"):
                memory = [family_pss(pid) for pid in client_processes(common[1])]
                serving = family_pss(server.pid)
        codes = server.wait(), members.wait()
        total = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = json.loads((out / "summary.json").read_text())
        tidy = pd.read_parquet(out / "rounds.parquet")
    spent = tidy[tidy["client"] != "all"].groupby("metric")["value"].sum()
    for seconds, line in stamps:
        if not line.startswith("  "):
            print(f"{seconds:7.2f} s  {line[:90]}")
    ends = [seconds for seconds, line in stamps if line.startswith("round")]
    warm = [later - earlier for earlier, later in itertools.pairwise(ends)]
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    print(f"exit codes {codes}, status {summary['status']}, load before {load:.1f}")
    print(f"from the two commands to exit: {total:.1f} s, to the end of round 1: {ends[0]:.1f} s")
    print(f"CPU of all processes: {user:.1f} s user, {system:.1f} s system")
    if warm:
        print(f"a warm round: {max(warm):.2f} s at most, {sum(warm) / len(warm):.2f} s on average")
    if memory:
        print("PSS a client: " + ", ".join(f"{mb:.0f} MB" for mb in memory) + f"; server: {serving:.0f} MB")
    return {
        "clients": clients,
        "rounds": rounds,
        "options": " ".join(others),
        "detector": summary["detector"],
        "aggregation": summary["aggregation"],
        "load_before": round(load, 2),
        "exit_codes": f"{codes[0]} {codes[1]}",
        "seconds": round(total, 2),
        "first_round_seconds": round(ends[0], 2),
        "warm_round_seconds": round(sum(warm) / len(warm), 3) if warm else "",
        "user_cpu_seconds": round(user, 2),
        "system_cpu_seconds": round(system, 2),
        "client_pss_mb": round(sum(memory) / len(memory), 1) if memory else "",
        "all_clients_pss_mb": round(sum(memory), 1) if memory else "",
        "server_pss_mb": round(serving, 1),
        "bytes_up": int(spent["bytes_up"]),
        "bytes_down": int(spent["bytes_down"]),
        "auroc": summary["metrics"]["auroc"],
        "average_precision": summary["metrics"]["average_precision"],
        "model_sha256": summary["model_sha256"],
    }


def client_processes(port: str) -> list[int]:
    """Return the process ids of the clients that use ``port``, without the processes below them."""
    found: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if "client.py --client-id" in command and f"--port {port}" in command:
                found[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    return [pid for pid, parent in found.items() if parent not in found]


def family_pss(pid: int) -> float:
    """Return the proportional set size of a process and its descendants, in MB."""
    total = 0.0
    for member in [pid, *descendants(pid)]:
        try:
            lines = (Path("/proc") / str(member) / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below ``pid``."""
    try:
        children = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split()
    except OSError:
        return []
    return [below for child in map(int, children) for below in [child, *descendants(child)]]


if __name__ == "__main__":
    main()
