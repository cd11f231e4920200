"""Real processes from the two commands to exit: seconds in all, seconds a warm round, PSS a client.

python -m benchmarks.deployment [--clients 5] [--rounds 3] [any option of server.py]
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fedanomaly.federation.deployment.processes import free_port

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        port = ("--port", str(free_port()))
        many = ("--clients", str(options.clients))
        began = time.perf_counter()
        server = subprocess.Popen(
            [
                sys.executable,
                "server.py",
                *port,
                *many,
                "--rounds",
                str(options.rounds),
                "--out",
                str(out),
                *others,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        clients = subprocess.Popen(
            [sys.executable, "run_clients.py", *port, *many], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        stamps: list[tuple[float, str]] = []
        memory: dict[int, float] = {}
        assert server.stdout is not None
        for line in server.stdout:
            stamps.append((time.perf_counter() - began, line.rstrip()))
            if line.startswith("round"):
                memory = {pid: family_pss(pid) for pid in client_processes(port[1])}
        codes = server.wait(), clients.wait()
        total = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        summary = json.loads((out / "summary.json").read_text())
    for seconds, line in stamps:
        if not line.startswith("  "):
            print(f"{seconds:7.2f} s  {line[:90]}")
    rounds = [seconds for seconds, line in stamps if line.startswith("round")]
    warm = [later - earlier for earlier, later in itertools.pairwise(rounds)]
    print(f"exit codes {codes}, status {summary['status']}")
    print(f"from the two commands to exit: {total:.1f} s")
    print(f"CPU of all processes: {used.ru_utime:.1f} s user, {used.ru_stime:.1f} s system")
    if warm:
        print(f"a warm round: {max(warm):.2f} s at most, {sum(warm) / len(warm):.2f} s on average")
    if memory:
        print("PSS a client (its three processes): " + ", ".join(f"{mb:.0f} MB" for mb in memory.values()))


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
