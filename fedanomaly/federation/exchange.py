"""One step across the clients: ask, and let the answers be taken; whoever is left out is named."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import Arrays
from fedanomaly.core.errors import FederationError
from fedanomaly.federation.combine import Tally
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.intake import Intake
from fedanomaly.federation.intake_kept import Kept, Scored
from fedanomaly.federation.intake_sums import Means, Sums
from fedanomaly.federation.observer import Event, Observer
from fedanomaly.federation.post import Post
from fedanomaly.federation.protocol import EVALUATE, TRAIN, Task
from fedanomaly.federation.question import Question
from fedanomaly.federation.roster import Roster
from fedanomaly.federation.scores import ScoreBatch
from fedanomaly.federation.spent import Spent
from fedanomaly.privacy.sums import BlockSums, SecureSum


class Exchange:
    """Asks the clients of a roster; names every one whose answer cannot be used.

    Requests go by partition id, ascending, and every method also returns what the clients spent whose
    answers were sound. All raise :class:`~fedanomaly.core.errors.FederationError` if these are fewer than
    the stated minimum.

    Parameters
    ----------
    config : RunConfig
        Seed, rounds and minimum.
    post : Post
        Carries requests and replies.
    roster : Roster
        Partition id -> node id.
    observer : Observer
        Hears of failures.
    """

    def __init__(self, config: RunConfig, post: Post, roster: Roster, observer: Observer) -> None:
        self.config = config
        self.post = post
        self.roster = roster
        self.observer = observer

    def answers(self, task: Task, requests: Mapping[int, Arrays], state: Arrays) -> tuple[Answers, Spent]:
        """Return all sound answers to a training step, ascending by client."""
        kept = Kept(self._question(task, state))
        spent = self.ask(TRAIN, requests, kept)
        return kept.answers, spent

    def total(self, task: Task, requests: Mapping[int, Arrays], state: Arrays) -> tuple[Arrays, Spent]:
        """Return the sum of all sound answers to an additive step; nothing else is kept of them."""
        sums = Sums(self._question(task, state))
        added, spent = self.agreed(sums.tally, self.ask(TRAIN, requests, sums), task)
        return added.total, spent

    def means(
        self, task: Task, requests: Mapping[int, Arrays], state: Arrays
    ) -> tuple[list[tuple[int, Arrays, int]], Spent]:
        """Return first client, mean weights and rows of each block of clients; no answer is kept."""
        means = Means(self._question(task, state))
        added, spent = self.agreed(means.tally, self.ask(TRAIN, requests, means), task)
        assert isinstance(added, BlockSums)
        return means.means(added.stacks, spent.clients), spent

    def scores(self, task: Task, requests: Mapping[int, Arrays]) -> tuple[ScoreBatch, Spent]:
        """Return the histograms of all clients' scores."""
        scored = Scored(self._question(task, {}))
        spent = self.ask(EVALUATE, requests, scored)
        return scored.scores, spent

    def ask(self, kind: str, requests: Mapping[int, Arrays], intake: Intake) -> Spent:
        """Send ``requests`` and let ``intake`` take the answers; return what was spent on sound ones."""
        task = intake.question.task
        number, phase = task.server_round, _phase(kind, task)
        self.observer.asked(number, phase, task.participants)
        spent: list[Spent] = []
        arrived = partial(self.observer.answered, number, phase)
        for account in self.post.bring(kind, requests, self.roster.nodes, intake, arrived):
            spent.append(Spent(account.clients, account.spent))
            for client, reason in sorted(account.wrong.items()):
                self._left_out(task, phase, client, reason)
        total = Spent.joined(spent)
        self._require_enough(len(total), task, phase, len(requests))
        return total

    def agreed(self, tally: Tally, spent: Spent, task: Task) -> tuple[SecureSum, Spent]:
        """Return the sum that most answers agree to, and what these clients spent; others are left out."""
        added, outvoted = tally.result()
        phase = _phase(TRAIN, task)
        for client in outvoted:
            self._left_out(task, phase, client, "its arrays have other names, shapes or dtypes than most")
        spent = spent.without(outvoted)
        self._require_enough(len(spent), task, phase, len(task.participants))
        return added, spent

    def _question(self, task: Task, state: Arrays) -> Question:
        return Question(self.config, task, self.roster.sizes, state)

    def _left_out(self, task: Task, phase: str, client: int, reason: str) -> None:
        event = Event(task.server_round, phase, str(client), reason, "its answer was left out")
        self.observer.event(event)

    def _require_enough(self, sound: int, task: Task, phase: str, asked: int) -> None:
        needed = min(self.config.majority, asked)
        if sound < needed:
            raise FederationError(
                f"round {task.server_round} ({phase}): {sound} of {asked} clients "
                f"answered and at least {needed} are needed; see events.jsonl for the reasons"
            )


def _phase(kind: str, task: Task) -> str:
    if kind != TRAIN:
        return "evaluate"
    return "train" if task.server_round else task.phase
