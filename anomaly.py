"""What ONE client does with its rows, on one page: load, build, train, aggregate, evaluate.

``client.py`` answers the server's messages with these verbs; a notebook can call them one by one:

    import anomaly
    config = anomaly.RunConfig(data="wdbc", clients=3)
    rows = anomaly.load_partition(config, client=0)

``python anomaly.py`` walks through all five, with every client in this process.
"""

import numpy as np

from fedanomaly.core.arrays import Arrays
from fedanomaly.federation import RunConfig
from fedanomaly.federation.client import aggregate, build, evaluate, load_partition, train
from fedanomaly.federation.protocol import ROUND, SCALING, SETUP, Task
from fedanomaly.federation.scores import ClientScores
from fedanomaly.federation.scoring import info_of, judge

__all__ = ["RunConfig", "aggregate", "build", "evaluate", "load_partition", "train", "walk_through"]


def walk_through(config: RunConfig) -> dict[str, dict[str, float]]:
    """Run a federation by hand and return its metrics by client: what the engines do, without messages."""
    clients = tuple(range(config.clients))

    # 1. Load: every client reads its own rows and splits them into training, calibration and test.
    rows = {client: load_partition(config, client) for client in clients}

    # 2. Build: the detector, and the list of steps by which the clients build it together.
    plan = build(config)
    state: Arrays = {
        "rows": np.array([len(part.train) for part in rows.values()]),
        "features": np.array(rows[0].train.X.shape[1]),
    }

    phases = [(SCALING, 0), (SETUP, 0), *((ROUND, number) for number in range(1, config.rounds + 1))]
    for phase, server_round in phases:
        for index, step in enumerate(plan.steps(phase, server_round)):
            task = Task(phase, index, server_round, clients)
            request = plan.request(step, state)
            answers = []
            for client in clients:
                # 3. Train: a client answers a step with named arrays; its rows stay where they are.
                answer = train(config, rows[client], task, request, client)
                turn = task.turn(config.seed, config.rounds, client)
                step.check(state, answer, turn)
                answers.append((turn, answer))
            # 4. Aggregate: the server combines the answers it has checked, in order of the clients.
            state = aggregate(step, state, answers)

    # 5. Evaluate: every client scores rows that no step has seen; histograms of scores add up.
    model = plan.load(plan.aggregation.model(state))
    scores = {
        client: ClientScores.from_arrays(
            evaluate(config, rows[client], model, state, client), info_of(client, rows[client])
        )
        for client in clients
    }
    return dict(judge(config, scores, personal=False).metrics)


if __name__ == "__main__":
    for name, metrics in walk_through(RunConfig(data="wdbc", clients=3, rounds=3)).items():
        shown = ", ".join(f"{metric} {metrics[metric]:.3f}" for metric in ("precision", "recall", "accuracy"))
        print(f"client {name}: {shown}" if name != "all" else f"all clients: {shown}")
