"""Many small clients in one machine: the local engine beside a bare loop, Flower with Ray, and pfl-research.

    OMP_NUM_THREADS=1 python -m benchmarks.simulation [--clients 1000] [--rows 50] [--peer-clients 200]
    python -m benchmarks.simulation --memory 10000

All sides do the same client work on the same rows, in one run, turn by turn; each figure is the least of
several turns. A client-round is what one client does in one round: the steps of the round (for
`statistics`, which are finished after one round, scaling and set-up too) and the evaluation. The bare
loop calls the verbs and adds the answers up, and nothing else: it checks no answer, keeps no metrics a
client, and cannot lose a client. One process is compared in CPU seconds, several in seconds.

Ray and pfl-research (``pip install -r benchmarks/requirements-peers.txt``) are left out, by name, where
they are not installed, and by ``--peer-clients 0``. ``--memory N`` forks a process that runs N clients and
prints its peak memory.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import struct
import sys
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec

import numpy as np

from benchmarks import simulation_peers as peers
from fedanomaly.core.arrays import Arrays, digest, with_prefix
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.core.histograms import Histograms
from fedanomaly.core.steps import AdditiveStep, WeightsStep
from fedanomaly.federation import RunConfig
from fedanomaly.federation import client as verbs
from fedanomaly.federation.combine import combine
from fedanomaly.federation.coordinator import Coordinator
from fedanomaly.federation.layout import layout
from fedanomaly.federation.local_engine import local_engine
from fedanomaly.federation.observer import ClientInfo, Observer, RoundRecord
from fedanomaly.federation.plan import scaling_of
from fedanomaly.federation.protocol import ROUND, SCALING, SETUP, Task
from fedanomaly.privacy.sums import add_in_place

ROWS = 50
Row = tuple[str, float, str, float]


def workloads(clients: int, rows: int = ROWS) -> dict[str, RunConfig]:
    """Return what clients with so many rows do: sums of one round; a few trees; weights for FedAvg."""
    common = {
        "data": "synthetic",
        "rows": clients * rows,
        "clients": clients,
        "partition": "iid",
        "references": False,
        "calibration_share": 0.2,
        "test_share": 0.2,
    }
    return {
        "statistics": RunConfig(detector="one-class-svm", aggregation="nystrom-mean", rounds=1, **common),
        "forest": RunConfig(
            detector="isolation-forest", params=f"n_estimators={clients * 4}", rounds=2, **common
        ),
        "weights": RunConfig(
            detector="one-class-svm", aggregation="fedavg", params="n_components=32", rounds=2, **common
        ),
    }


class Clock(Observer):
    """Stops the time from the moment all clients are in to the end of the last round."""

    def joined(self, clients: dict[int, ClientInfo]) -> None:
        """Start."""
        self.began, self.cpu = time.perf_counter(), time.process_time()

    def round_done(self, record: RoundRecord) -> None:
        """Stop, for the time being."""
        self.seconds = time.perf_counter() - self.began
        self.cpu_seconds = time.process_time() - self.cpu


def engine(config: RunConfig, workers: int = 1) -> tuple[float, float, str]:
    """Return seconds, CPU seconds of this process and the digest of the state, for one run."""
    clock = Clock()
    with local_engine(config, workers=workers) as post:
        coordinator = Coordinator(config, post, clock)
        coordinator.run()
    return clock.seconds, clock.cpu_seconds, digest(coordinator.state)


def bare(config: RunConfig) -> tuple[float, float]:
    """Return seconds and CPU seconds of the same client work in a loop."""
    clients = tuple(range(config.clients))
    rows = [verbs.load_partition(config, client) for client in clients]
    plan = verbs.build(config)
    began, cpu = time.perf_counter(), time.process_time()
    sizes = np.array([len(part.train) for part in rows])
    state = {"rows": sizes, "features": np.array(rows[0].train.X.shape[1])}
    weights: dict[str, np.ndarray] = {}
    phases = [(SCALING, 0), (SETUP, 0), *((ROUND, number) for number in range(1, config.rounds + 1))]
    for phase, number in phases:
        for index, step in enumerate(plan.steps(phase, number)):
            task = Task(phase, index, number, clients)
            if isinstance(step, WeightsStep):
                weights = weights or step.initial(state)
            request = {**plan.request(step, state), **weights}
            answers = (verbs.train(config, rows[client], task, request, client) for client in clients)
            if isinstance(step, AdditiveStep):
                state = {**state, **step.finish(state, added_up(answers))}
            elif isinstance(step, WeightsStep):
                shares = (sizes / sizes.sum()).tolist()
                weights = added_up(
                    {name: array * share for name, array in answer.items()}
                    for share, answer in zip(shares, answers, strict=True)
                )
                state = {**state, **step.finish(state, weights)}
            else:
                turns = (task.turn(config.seed, config.rounds, client) for client in clients)
                state = combine(step, state, list(zip(turns, answers, strict=True)))
        if phase == ROUND:
            request = {**with_prefix(plan.aggregation.model(state), "model"), **scaling_of(state)}
            model = plan.load(plan.aggregation.model(state))
            scores = [verbs.evaluate(config, rows[client], model, request, client) for client in clients]
            beside = Histograms(*(np.concatenate([a[n] for a in scores]) for n in ("keys", "counts", "bins")))
            for of_class in range(4):
                here = beside.owners % 4 == of_class
                Histogram.sum([Histogram(beside.keys[here], beside.counts[here])])
    return time.perf_counter() - began, time.process_time() - cpu


def added_up(answers: Iterable[Arrays]) -> Arrays:
    """Return the sum of named arrays."""
    total: Arrays = {}
    for answer in answers:
        add_in_place(total, answer)
    return total


def twice(config: RunConfig) -> tuple[float, float]:
    """Return half the seconds of two bare loops in two processes at once: what this machine can gain."""
    go, begin = os.pipe()
    read, write = os.pipe()
    children = []
    for _ in range(2):
        if not (child := os.fork()):
            os.read(go, 1)
            os.write(write, struct.pack("d", bare(config)[0]))
            os._exit(0)
        children.append(child)
    os.write(begin, bytes(2))
    for child in children:
        os.waitpid(child, 0)
    seconds = struct.unpack("2d", os.read(read, 16))
    for end in (go, begin, read, write):
        os.close(end)
    return max(seconds) / 2, 0.0


def turns(sides: Iterable[Callable[[], tuple[float, ...]]], repeats: int) -> list[tuple[float, ...]]:
    """Let the sides work turn by turn and return the least of each figure of each side."""
    sides = list(sides)
    for side in sides:
        side()  # rows in memory, kernels compiled
    figures = [[side()[:2] for side in sides] for _ in range(repeats)]
    return [tuple(min(column) for column in zip(*side, strict=True)) for side in zip(*figures, strict=True)]


def measure(
    clients: int = 1000, peer_clients: int = 200, repeats: int = 5, client_rows: int = ROWS
) -> list[Row]:
    """Return (what, our seconds, peer, the peer's seconds), seconds a client-round."""
    rows: list[Row] = []
    for name, config in workloads(clients, client_rows).items():
        _, _, alone = engine(config)
        _, _, together = engine(config, workers=2)
        if alone != together:
            raise SystemExit(f"{name}: two workers give another result than one")
        (loop, loop_cpu), (one, one_cpu), (two, _), (pair, _) = turns(
            [
                lambda c=config: bare(c),
                lambda c=config: engine(c),
                lambda c=config: engine(c, workers=2),
                lambda c=config: twice(c),
            ],
            repeats,
        )
        each = clients * config.rounds
        rows.append((f"{name}: one process (CPU)", one_cpu / each, "bare loop", loop_cpu / each))
        rows.append((f"{name}: one process", one / each, "bare loop", loop / each))
        rows.append((f"{name}: two workers", two / each, "one process", one / each))
        rows.append((f"{name}: two bare loops at once", pair / each, "one bare loop", loop / each))
    for name, config in workloads(peer_clients, client_rows).items() if peer_clients else ():
        rows += against_peers(name, config, peer_clients * config.rounds)
    return rows


def against_peers(name: str, config: RunConfig, each: int) -> list[Row]:
    """Return one workload's rows for pfl-research (it sums and does not collect) and Flower with Ray."""
    alone, together = (lambda: engine(config)), (lambda: engine(config, workers=2))
    if find_spec("pfl") is None or name == "forest":
        (_, ours), theirs = turns([alone], 3)[0], math.nan
    else:
        (_, ours), (_, theirs) = turns([alone, lambda: peers.pfl(config)], 3)
    rows = [(f"{name}: one process (CPU)", ours / each, "pfl-research", theirs / each)]
    two = turns([together], 3)[0][0]  # forked before Ray starts its threads
    seconds = peers.ray(config) if find_spec("ray") is not None else math.nan
    return [*rows, (f"{name}: two workers", two / each, "Flower + Ray", seconds / each)]


def peak_memory(clients: int) -> tuple[float, float]:
    """Return the peak memory of a process that runs so many clients, and that of its rows, in MB."""
    config = workloads(clients)["statistics"]
    held = layout(config)
    rows = held.table.X.nbytes / 1e6
    read, write = os.pipe()
    if not (child := os.fork()):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        engine(config)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(write, f"{before} {after}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    before, after = (int(part) / 1000 for part in os.read(read, 100).split())
    return after - before, rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulation")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--peer-clients", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS, help="rows a client")
    parser.add_argument("--memory", type=int, default=0, metavar="CLIENTS", help="only measure peak memory")
    options = parser.parse_args()
    if options.memory:
        grown, rows = peak_memory(options.memory)
        print(f"{options.memory:,} clients: {grown:.0f} MB more than before; their rows take {rows:.0f} MB")
        return
    for package in ("ray", "pfl"):
        if find_spec(package) is None:
            print(f"{package} is not installed: left out", file=sys.stderr)
    print(f"{'seconds a client-round':36}{'ours':>12}{'peer':>12}{'peer / ours':>13}")
    for what, ours, peer, theirs in measure(
        options.clients, options.peer_clients, options.repeats, options.rows
    ):
        print(f"{what:36}{ours * 1e6:9.0f} us{theirs * 1e6:9.0f} us{theirs / ours:12.2f}x  {peer}")


if __name__ == "__main__":
    main()
