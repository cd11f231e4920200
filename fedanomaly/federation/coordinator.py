"""The rounds: gather the clients, scale, set up, then train and evaluate round after round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from flwr.serverapp import Grid

from fedanomaly.core.answers import Answer
from fedanomaly.core.arrays import Arrays, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.core.steps import AdditiveStep, Step, WeightsStep
from fedanomaly.detectors import Detector
from fedanomaly.federation.averaging import average_weights
from fedanomaly.federation.combine import Tally, combine
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.defences import Defences
from fedanomaly.federation.defences.apply import BoundedStrategy, defended, note_bounds
from fedanomaly.federation.exchange import Exchange
from fedanomaly.federation.observer import Event, Observer, RoundRecord
from fedanomaly.federation.plan import Plan, make_plan, scaling_of
from fedanomaly.federation.post import FlowerPost, Post
from fedanomaly.federation.protocol import ROUND, SCALING, SETUP, Task
from fedanomaly.federation.roster import Roster
from fedanomaly.federation.scoring import Judged, judged
from fedanomaly.federation.spent import NOTHING, SPENT, Spent
from fedanomaly.federation.strategies import WeightsStrategy, make_strategy
from fedanomaly.federation.strategies.private import private_strategy
from fedanomaly.privacy.sums import secure_sum


class Coordinator:
    """Runs a federation over a grid, whichever engine the grid belongs to.

    Parameters
    ----------
    config : RunConfig
        The run.
    grid : Grid or Post
        Flower's grid, or the local engine's post.
    observer : Observer
        Hears of every client, failure and round.
    allowed : frozenset of int, optional
        Ids of the nodes that may join; None: all.
    """

    def __init__(
        self,
        config: RunConfig,
        grid: Grid | Post,
        observer: Observer,
        allowed: frozenset[int] | None = None,
    ) -> None:
        self.config = config
        self.observer = observer
        self.plan: Plan = make_plan(config)
        self.state: Arrays = {}
        post = grid if isinstance(grid, Post) else FlowerPost(grid, config.timeout)
        self.roster = Roster(config, post, observer, allowed)
        self.exchange = Exchange(config, post, self.roster, observer)
        self.defences = Defences(config)
        self._strategy: WeightsStrategy | None = None

    def run(self) -> RoundRecord:
        """Run all rounds and return the last one's record.

        Raises
        ------
        FederationError
            If too few clients joined, or answered a step soundly.
        """
        self.roster.gather()
        self._weigh(0)
        self.state["features"] = np.asarray(len(self.roster.feature_names))
        spent = self._steps(SCALING, 0)
        spent += self._steps(SETUP, 0)
        self.observer.setup_done(spent.by_client(together=False))
        for server_round in range(1, self.config.rounds + 1):
            if server_round > 1 and self.roster.admit(server_round):
                self._weigh(server_round)
                self.observer.joined(dict(self.roster.infos))
            record = self._round(server_round)
            self.observer.round_done(record)
        return record

    def _weigh(self, server_round: int) -> None:
        self.state["rows"] = self.roster.rows
        if self.defences:
            self.state["shares"] = note_bounds(self.defences, self.state["rows"], self.observer, server_round)

    def _round(self, server_round: int) -> RoundRecord:
        train = self._steps(ROUND, server_round)
        evaluate, judged = self._evaluate(server_round)
        self.state["offset"] = np.asarray(judged.threshold.offset)
        return RoundRecord(
            server_round,
            train.by_client() if train else {},
            judged.metrics | evaluate.by_client(*SPENT),
            judged.threshold,
            judged.scores,
            judged.calibration,
            dict(self.state),
        )

    # -- training ---------------------------------------------------------------------------------

    def _steps(self, phase: str, server_round: int) -> Spent:
        spent = NOTHING
        for index, step in enumerate(self.plan.steps(phase, server_round)):
            participants = self._participants(server_round, self.config.fraction_train, "train")
            task = Task(phase, index, server_round, participants)
            spent += self._average(step, task) if isinstance(step, WeightsStep) else self._combine(step, task)
        return spent

    def _combine(self, step: Step, task: Task) -> Spent:
        requests = dict.fromkeys(task.participants, self.plan.request(step, self.state))
        if isinstance(step, AdditiveStep):
            return self._add_up(step, task, requests)
        answers, spent = self.exchange.answers(task, requests, self.state)
        self.state = combine(step, self.state, self._defended(step, answers, task))
        return spent

    def _add_up(self, step: AdditiveStep, task: Task, requests: Mapping[int, Arrays]) -> Spent:
        if not self.defences:
            total, spent = self.exchange.total(task, requests, self.state)
        else:  # they look at answers one by one
            answers, spent = self.exchange.answers(task, requests, self.state)
            tally = Tally(self.config.clients)
            tally.add(answers)
            _, spent = self.exchange.agreed(tally, spent, task)
            agreeing = set(spent.clients)
            outvoted = {client: "" for client in answers.clients if client not in agreeing}
            kept = self._defended(step, answers.without(outvoted), task)
            total = secure_sum(kept, self.config.clients)
            if any(self.state["shares"][turn.client] < self.state["rows"][turn.client] for turn, _ in kept):
                total = step.repaired(total)  # scaled whole numbers were rounded
        self.state = {**self.state, **step.finish(self.state, total)}
        return spent

    def _defended(self, step: Step, answers: Sequence[Answer], task: Task) -> Sequence[Answer]:
        if not self.defences:
            return answers
        needed = min(self.config.majority, len(task.participants))
        return defended(self.defences, step, self.state, answers, task, self.observer, needed)

    def _average(self, step: WeightsStep, task: Task) -> Spent:
        if self._strategy is None:
            asked = len(task.participants)
            strategy: WeightsStrategy = make_strategy(self.plan.strategy, self.config, asked)
            strategy = BoundedStrategy(strategy, self.defences) if self.defences else strategy
            self._strategy = private_strategy(strategy, self.config, self.plan.privacy, asked)
            self._weights = step.initial(self.state)
        request = self.plan.request(step, self.state)
        self._weights, spent = average_weights(
            self.exchange, self._strategy, task, self._weights, request, self.state
        )
        self.state = {**self.state, **step.finish(self.state, self._weights)}
        return spent

    # -- evaluation -------------------------------------------------------------------------------

    def _evaluate(self, server_round: int) -> tuple[Spent, Judged]:
        participants = self._able_to_score(
            server_round, self._participants(server_round, self.config.fraction_evaluate, "evaluate")
        )
        task = Task(ROUND, 0, server_round, participants)
        scores, spent = self.exchange.scores(task, self._models(participants))
        return spent, judged(self.config, scores, self.plan.aggregation.personal)

    def _models(self, participants: Sequence[int]) -> dict[int, Arrays]:
        scaling = scaling_of(self.state)
        if not self.plan.aggregation.personal:
            common = {**with_prefix(self.plan.aggregation.model(self.state), "model"), **scaling}
            return dict.fromkeys(participants, common)
        return {
            client: {
                **with_prefix(self.plan.aggregation.personal_model(self.state, client), "model"),
                **scaling,
            }
            for client in participants
        }

    def _able_to_score(self, server_round: int, participants: tuple[int, ...]) -> tuple[int, ...]:
        """Leave out, by name, clients that have no model of their own yet (personal aggregations)."""
        if not self.plan.aggregation.personal:
            return participants
        able = []
        for client in participants:
            try:
                self.plan.aggregation.personal_model(self.state, client)
            except InvalidArrays as error:
                self.observer.event(Event(server_round, "evaluate", str(client), str(error), "not evaluated"))
            else:
                able.append(client)
        if not able:
            raise FederationError(f"round {server_round}: no client has a model to evaluate")
        return tuple(able)

    def model(self) -> Detector:
        """Return the global detector built so far, its threshold set."""
        detector = self.plan.load(self.plan.aggregation.model(self.state))
        detector.offset_ = float(self.state["offset"])
        return detector

    def _participants(self, server_round: int, fraction: float, purpose: str) -> tuple[int, ...]:
        self.roster.drop_lost(server_round, purpose)
        clients = tuple(self.roster.nodes)
        if len(clients) < self.config.majority:
            raise FederationError(
                f"round {server_round} ({purpose}): {len(clients)} clients are left and at least "
                f"{self.config.majority} are needed; see events.jsonl for the reasons"
            )
        if server_round == 0 or fraction >= 1:
            return clients
        wanted = min(len(clients), max(self.config.min_clients, math.ceil(fraction * len(clients)), 1))
        generator = keyed_generator(self.config.seed, "participants", server_round, purpose)
        return tuple(sorted(generator.choice(clients, wanted, replace=False).tolist()))
