"""The client work of :mod:`benchmarks.simulation` under other simulators: Flower with Ray, pfl-research."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedanomaly.core.arrays import Arrays, with_prefix
from fedanomaly.core.steps import Step, WeightsStep
from fedanomaly.federation import RunConfig
from fedanomaly.federation import client as verbs
from fedanomaly.federation.plan import scaling_of
from fedanomaly.federation.protocol import ROUND, SCALING, SETUP, Task

# -- Flower's own simulation -----------------------------------------------------------------------


def ray(config: RunConfig) -> float:
    """Return seconds for all rounds on Flower's simulation engine with two Ray actors, start-up left out.

    The actors have imported everything and read the data before the clock starts, since every
    client has introduced itself by then.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    from flwr.app import Context, Message, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from benchmarks.simulation import Clock
    from fedanomaly.federation.client_app import make_client_app
    from fedanomaly.federation.coordinator import Coordinator

    clock = Clock()
    client_app, server_app = ClientApp(), ServerApp()
    settings = config.to_run_config()

    def answer(message: Message, context: Context) -> Message:
        own = Context(context.run_id, context.node_id, context.node_config, RecordDict(), settings)
        return make_client_app()(message, own)

    client_app.query()(answer)
    client_app.train()(answer)
    client_app.evaluate()(answer)

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        Coordinator(config, grid, clock).run()

    resources = {"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 2, "log_to_driver": False}}
    run_simulation(server_app, client_app, config.clients, backend_config=resources)  # type: ignore[arg-type]
    return clock.seconds


# -- pfl-research ----------------------------------------------------------------------------------


@dataclass
class _Job:
    """One pass over all clients: a step, or the evaluation after a round."""

    step: Step | None
    task: Task


def pfl(config: RunConfig) -> tuple[float, float]:
    """Return seconds and CPU seconds of pfl-research's simulation in one process, with NumPy alone.

    Sums and weight averages only: its aggregator adds statistics up.
    """
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import FederatedAlgorithm
    from pfl.common_types import Population
    from pfl.context import CentralContext
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam.base import AlgorithmHyperParams, ModelHyperParams
    from pfl.metrics import Metrics, Weighted
    from pfl.model.base import Model
    from pfl.stats import MappedVectorStatistics

    clients = tuple(range(config.clients))
    rows = [verbs.load_partition(config, client) for client in clients]
    plan = verbs.build(config)
    phases = [(SCALING, 0), (SETUP, 0), *((ROUND, number) for number in range(1, config.rounds + 1))]
    jobs = []
    for phase, number in phases:
        for index, step in enumerate(plan.steps(phase, number)):
            jobs.append(_Job(step, Task(phase, index, number, clients)))
        if phase == ROUND:
            jobs.append(_Job(None, Task(ROUND, 0, number, clients)))

    class State(Model):  # type: ignore[misc]
        def __init__(self) -> None:
            sizes = np.array([len(part.train) for part in rows])
            self.arrays: Arrays = {"rows": sizes, "features": np.array(rows[0].train.X.shape[1])}
            self.weights: Arrays = {}
            self.request: Arrays = {}

        def prepare(self, job: _Job) -> None:
            if job.step is None:
                model = plan.aggregation.model(self.arrays)
                self.request = {**with_prefix(model, "model"), **scaling_of(self.arrays)}
                self.detector = plan.load(model)
                return
            if isinstance(job.step, WeightsStep):
                self.weights = self.weights or job.step.initial(self.arrays)
            self.request = {**plan.request(job.step, self.arrays), **self.weights}

        def apply_model_update(self, statistics: Any) -> tuple[State, Any]:
            raise NotImplementedError

    class Steps(FederatedAlgorithm):  # type: ignore[misc]
        def get_next_central_contexts(
            self, model: State, iteration: int, algorithm: Any, train: Any, evaluate: Any = None
        ) -> Any:
            if iteration == len(jobs):
                return None, model, Metrics()
            model.prepare(jobs[iteration])
            context = CentralContext(
                current_central_iteration=iteration,
                do_evaluation=False,
                cohort_size=len(clients),
                population=Population.TRAIN,
                algorithm_params=algorithm,
                model_train_params=train,
                seed=0,
            )
            return (context,), model, Metrics()

        def simulate_one_user(self, model: State, dataset: Any, context: Any) -> Any:
            client, job = int(dataset.user_id), jobs[context.current_central_iteration]
            part = rows[client]
            if job.step is None:
                scores = verbs.evaluate(config, part, model.detector, model.request, client)
                frauds = float(scores["counts"][scores["bins"][:3].sum() :].sum())
                return None, Metrics([("frauds", Weighted.from_unweighted(frauds))])
            answer = verbs.train(config, part, job.task, model.request, client)
            weight = float(len(part.train)) if isinstance(job.step, WeightsStep) else 1.0
            if weight != 1.0:
                answer = {name: array * weight for name, array in answer.items()}
            return MappedVectorStatistics(answer, weight=weight), Metrics()

        def process_aggregated_statistics(
            self, context: Any, metrics: Any, model: State, statistics: Any
        ) -> Any:
            step = jobs[context.current_central_iteration].step
            total = {name: statistics[name] for name in statistics}
            if isinstance(step, WeightsStep):
                total = {name: array / statistics.weight for name, array in total.items()}
                model.weights = total
            model.arrays = {**model.arrays, **step.finish(model.arrays, total)}  # type: ignore[union-attr]
            return model, Metrics()

        def process_aggregated_statistics_from_all_contexts(
            self, pairs: Any, metrics: Any, model: State
        ) -> Any:
            if not pairs:  # an evaluation has no statistics
                return model, Metrics()
            return super().process_aggregated_statistics_from_all_contexts(pairs, metrics, model)

    def dataset(client: int) -> Dataset:
        return Dataset([rows[client].train.X], user_id=client)

    users = FederatedDataset(dataset, get_user_sampler("minimize_reuse", list(clients)))
    backend = SimulatedBackend(training_data=users, val_data=users)
    asyncio.set_event_loop(asyncio.new_event_loop())  # pfl asks for the current one
    began, cpu = time.perf_counter(), time.process_time()
    Steps().run(AlgorithmHyperParams(), backend, State(), ModelHyperParams(), send_metrics_to_platform=False)
    return time.perf_counter() - began, time.process_time() - cpu
