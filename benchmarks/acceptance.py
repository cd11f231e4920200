"""Acceptance on real data: three detectors, both splits, deployment against local; union against pooled.

FEDANOMALY_DATA=FOLDER python -m benchmarks.acceptance [--data creditcard] [--seeds 10] [--no-deployment]

Every deployment run must end with exit 0 and the local engine's model hash; the union forest must be
equivalent to the pooled one within +-.01 AUROC (two one-sided tests) over the seeds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import fedanomaly
from fedanomaly.evaluation import equivalence, mean_interval, paired_difference
from fedanomaly.federation.deployment.processes import free_port

ROOT = Path(__file__).parents[1]
DETECTORS = ("isolation-forest", "one-class-svm", "lof")
SPLITS = ("even", "uneven")
METRICS = ("precision", "recall", "accuracy", "auroc", "average_precision")


def deploy(out: Path, data: str, detector: str, split: str) -> dict[str, Any]:
    """Run one configuration as real processes; return its summary and exit codes."""
    port = ("--port", str(free_port()))
    what = ("--data", data, "--detector", detector, "--partition", split, "--rounds", "3", "--out", str(out))
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": ROOT}
    server = subprocess.Popen([sys.executable, "server.py", *port, *what], **quiet)
    clients = subprocess.Popen([sys.executable, "run_clients.py", *port], **quiet)
    codes = server.wait(), clients.wait()
    return {"codes": codes, **json.loads((out / "summary.json").read_text())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="creditcard")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--no-deployment", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if not options.no_deployment:
            deployments(root, options.data)
        seeds(root, options.data, options.seeds)


def deployments(root: Path, data: str) -> None:
    heads = ("detector", "split", "exit codes", *METRICS, "local AP", "pooled AP", "same hash")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for detector in DETECTORS:
        for split in SPLITS:
            done = deploy(root / f"{detector}-{split}", data, detector, split)
            out = root / f"local-{detector}-{split}"
            local = fedanomaly.run(
                data, detector=detector, partition=split, rounds=3, references=False, out=out
            )
            same = done["model_sha256"] == local.summary["model_sha256"]
            figures = [done["metrics"][name] for name in METRICS]
            figures += [done["references"][name]["average_precision"] for name in ("local", "pooled")]
            cells = [detector, split, str(done["codes"]), *(f"{value:.3f}" for value in figures)]
            print(f"| {' | '.join(cells)} | {'yes' if same else 'NO'} |", flush=True)


def seeds(root: Path, data: str, count: int) -> None:
    for split in SPLITS:
        pairs: dict[str, list[tuple[float, float]]] = {"auroc": [], "average_precision": []}
        for seed in range(count):
            run = fedanomaly.run(data, partition=split, rounds=10, seed=seed, out=root / f"s-{split}-{seed}")
            for name, values in pairs.items():
                values.append((run.summary["metrics"][name], run.summary["references"]["pooled"][name]))
        for name, values in pairs.items():
            union, pooled = zip(*values, strict=True)
            u, p, d = mean_interval(union), mean_interval(pooled), paired_difference(union, pooled)
            line = f"{split}, {name}: union {u.mean:.4f} [{u.low:.4f}, {u.high:.4f}], pooled {p.mean:.4f} "
            line += f"[{p.low:.4f}, {p.high:.4f}], difference {d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
            if name == "auroc":
                test = equivalence(union, pooled, margin=0.01)
                line += f", equivalent within .01: {test.equivalent} (p = {test.p_value:.4g})"
            print(f"{line}, {count} seeds", flush=True)


if __name__ == "__main__":
    main()
