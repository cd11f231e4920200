"""What ONE client does with its rows, on one page: load, build, train, aggregate, evaluate.

``client.py`` answers the server's messages with these verbes; a notebook can call them one by one:

    >>> import anomaly
    >>> config = anomaly.RunConfig(data="wdbc", clients=3, partition="iid")
    >>> rows = anomaly.load_partition(config, client=0)
    >>> plan = anomaly.build(config)

``python anomaly.py`` walks through all five with every client in this process.
"""

from fedanomaly.core.arrays import Arrays
from fedanomaly.federation import RunConfig
from fedanomaly.federation.client import aggregate, build, evaluate, load_partition, train
from fedanomaly.federation.protocol import ROUND, SCALING, SETUP, Task
from fedanomaly.federation.scoring import ClientScores, info_of, judge

__all__ = ["RunConfig", "aggregate", "build", "evaluate", "load_partition", "train", "walk_through"]


def walk_through(config: RunConfig) -> dict[str, dict[str, float]]:
    """Run a federation by hand and return its metrics by client: what the engines do, without messages."""
    clients = tuple(range(config.clients))
    rows = {client: load_partition(config, client) for client in clients}  # 1. every client: its own rows
    plan = build(config)  # 2. the detector, and the steps that build it
    state: Arrays = {"rows": rows_of_each(rows)}

    phases = [(SCALING, 0), (SETUP, 0), *((ROUND, number) for number in range(1, config.rounds + 1))]
    for phase, number in phases:
        for index, step in enumerate(plan.steps(phase, number)):
            task = Task(phase, index, number, clients)
            request = plan.request(step, state)
            answers = []
            for client in clients:  # 3. every client: train, send named arrays
                answer = train(config, rows[client], task, request, client)
                step.check(state, answer, task.turn(config.seed, config.rounds, client))
                answers.append((task.turn(config.seed, config.rounds, client), answer))
            state = aggregate(step, state, answers)  # 4. the server: check and combine

    model = plan.load(plan.aggregation.model(state))
    scores = {
        client: ClientScores.from_arrays(  # 5. every client: score rows that no step has seen
            evaluate(config, rows[client], model, state, client), info_of(client, rows[client])
        )
        for client in clients
    }
    return judge(config, scores, plan.aggregation.personal).metrics


def rows_of_each(rows):  # type: ignore[no-untyped-def]
    """Return training rows a client."""
    import numpy as np

    return np.asarray([len(part.train.y) for part in rows.values()], dtype=np.int64)


if __name__ == "__main__":
    for name, metrics in walk_through(RunConfig(data="wdbc", clients=3, rounds=3)).items():
        print(name, {key: round(metrics[key], 3) for key in ("precision", "recall", "accuracy")})
