"""What a worker takes and passes on is what the server would have taken itself, to the bit."""

from dataclasses import astuple, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.core.answers import Answers, Batch
from fedanomaly.core.arrays import digest
from fedanomaly.core.steps import WeightsStep
from fedanomaly.federation import RunConfig
from fedanomaly.federation import client as verbs
from fedanomaly.federation.asked import LOTS_A_BLOCK, Asked
from fedanomaly.federation.combine import combine
from fedanomaly.federation.frames import frame, unframe
from fedanomaly.federation.intake_kept import Kept, Scored, Unchecked, take_over
from fedanomaly.federation.intake_sums import Means, Sums
from fedanomaly.federation.parcels import Order, Parcel, send
from fedanomaly.federation.protocol import ROUND, SCALING, SETUP, TRAIN, Task
from fedanomaly.federation.question import Account, Question
from fedanomaly.federation.replies import Replies
from fedanomaly.federation.scoring import info_of, judged
from fedanomaly.privacy.sums import block_size

CLIENTS = 70
SUMS = RunConfig(
    data="synthetic",
    rows=3500,
    clients=CLIENTS,
    rounds=1,
    partition="iid",
    detector="one-class-svm",
    aggregation="nystrom-mean",
    params="n_components=8",
    scaling="standard",
)
TREES = replace(
    SUMS, detector="isolation-forest", aggregation="union", params="n_estimators=90", scaling="none"
)
WEIGHTS = replace(SUMS, aggregation="fedavg")
EVERYBODY = tuple(range(CLIENTS))


@pytest.fixture(scope="module")
def answered():
    """Return questions and answers of all runs, of scores too."""
    seen = {}
    for name, config in (("sums", SUMS), ("kept", TREES), ("weights", WEIGHTS)):
        rows = [verbs.load_partition(config, client) for client in EVERYBODY]
        sizes = np.array([astuple(info_of(client, rows[client]))[1:] for client in EVERYBODY])
        plan = verbs.build(config)
        state = {"rows": sizes[:, 0], "features": np.array(rows[0].train.X.shape[1])}
        for phase, number in ((SCALING, 0), (SETUP, 0), (ROUND, 1)):
            for index, step in enumerate(plan.steps(phase, number)):
                task = Task(phase, index, number, EVERYBODY)
                weights = step.initial(state) if isinstance(step, WeightsStep) else {}
                request = {**plan.request(step, state), **weights}
                answers = [verbs.train(config, rows[client], task, request, client) for client in EVERYBODY]
                question = Question(config, task, sizes, state)
                seen[name] = question, answers
                turns = map(question.turn, EVERYBODY)
                if weights:
                    state = {**state, **step.finish(state, answers[0])}
                else:
                    state = combine(step, state, list(zip(turns, answers, strict=True)))
        model = plan.load(plan.aggregation.model(state))
        scores = [verbs.evaluate(config, rows[client], model, state, client) for client in EVERYBODY]
        seen[f"scores of {name}"] = Question(config, Task(ROUND, 0, 1, EVERYBODY), sizes, {}), scores
    return seen


def replies(question, answers, clients):
    spent = np.array([[question.sizes[client, 0], 0.5, 10.0, 20.0] for client in clients])
    return Replies(clients, list(clients), spent, Batch([answers[client] for client in clients]), {})


def travelled(arrays):
    return unframe(bytearray(frame(arrays)))


def outcome(intake):
    if isinstance(intake, Means):
        added, outvoted = intake.tally.result()
        everybody = [client for _, who in intake.tally.sums() for client in who]
        means = intake.means(added.stacks, sorted(set(everybody) - set(outvoted)))
        return [(client, digest(mean), rows) for client, mean, rows in means], outvoted
    if isinstance(intake, Sums):
        return digest(intake.tally.result()[0].total), intake.tally.result()[1]
    if isinstance(intake, Scored):
        verdict = judged(intake.question.config, intake.scores, personal=False)
        return verdict.threshold, str(dict(verdict.metrics))
    return [(turn, digest(arrays)) for turn, arrays in intake.answers]


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_workers_and_the_server_take_the_same(answered, data):
    kind = data.draw(st.sampled_from([(Sums, "sums"), (Kept, "kept"), (Kept, "sums"), (Unchecked, "kept")]))
    kind = data.draw(
        st.sampled_from([kind, (Means, "weights"), (Scored, "scores of sums"), (Scored, "scores of kept")])
    )
    cls, (question, answers) = kind[0], answered[kind[1]]
    answers, everybody = list(answers), list(EVERYBODY)
    broken = data.draw(st.sampled_from(everybody))
    answers[broken] = data.draw(
        st.sampled_from([answers[broken], {}, {"stranger": np.ones(2)}, {**answers[broken], "x": np.ones(1)}])
    )
    alone = cls(question)
    account = alone.account(everybody, replies(question, answers, everybody), {})

    together, accounts = cls(question), []
    edges = sorted({0, CLIENTS, *data.draw(st.lists(st.integers(0, CLIENTS), max_size=6))})
    size = block_size(CLIENTS)
    if cls.whole_blocks:  # whoever begins in the middle of a block keeps its answers until the next
        edges = sorted({*edges, *(min(CLIENTS, -(-edge // size) * size) for edge in edges)})
    for start, stop in pairwise(edges):
        loose = cls.whole_blocks and start % size
        worker, few = Kept(question) if loose else cls(question, passes_on=True), everybody[start:stop]
        middle = len(few) // 2  # two batches of one worker
        for part in (few[:middle], few[middle:]):
            if part:
                accounts.append(worker.account(part, replies(question, answers, part), {}))
        sent = Parcel(few, accounts[-1], worker.name, worker.held())
        parcel = Parcel.from_arrays(travelled(sent.to_arrays()))
        assert (parcel.arrived, parcel.account.clients) == (few, accounts[-1].clients)
        assert (parcel.account.wrong, parcel.intake) == (accounts[-1].wrong, worker.name)
        if worker.held():
            take_over(together, parcel.intake, parcel.held)
    both = Account.joined(accounts)
    assert (both.clients, both.wrong) == (account.clients, account.wrong)
    np.testing.assert_array_equal(both.spent, account.spent)
    assert outcome(together) == outcome(alone)


def test_replies_that_are_not_their_clients_own_are_left_out(answered):
    question, answers = answered["sums"]
    came = replies(question, answers, [0, 1, 2])
    came.clients[1] = 5
    came.spent[2, 0] += 1
    account = Sums(question).account([0, 1, 2], came, {9: "gone"})
    assert account.clients == [0]
    assert account.wrong[1] == "it answered as client 5"
    assert account.wrong[2].startswith("it now declares")
    assert account.wrong[9] == "gone"
    assert (len(account), account.first) == (4, 0)


def test_a_worker_is_told_what_is_new_to_it():
    known = {"sizes": np.ones((2, 6)), "state/a": np.arange(3), "state/gone": np.ones(1)}
    context = {"sizes": known["sizes"], "state/a": np.arange(4), "state/new": np.array(2.5)}
    task = Task(ROUND, 0, 1, (0, 1))
    asked = Asked([0, 1], (0, 1), 1)
    order = Order(TRAIN, task, "kept", asked, [{"r": np.ones(3)}], True, context)
    sent = order.to_arrays(known)
    assert "lasting/sizes" not in sent
    back = Order.from_arrays(travelled(sent), known, None)
    assert back.context["sizes"] is known["sizes"]
    assert digest(back.context) == digest(context)
    assert (back.kind, back.task, back.intake, back.shared) == (TRAIN, task, "kept", True)
    assert (back.asked.clients, back.asked.neighbours) == ([0, 1], {0: [0], 8: [1]})
    assert digest(back.request_of()[1]) == digest(order.requests[0])

    again = Order(TRAIN, task, "kept", asked, [{"r": np.zeros(3)}], True, context)
    back_again = Order.from_arrays(travelled(again.to_arrays(order.lasting)), back.lasting, back.asked)
    assert back_again.asked is back.asked
    assert again.to_arrays(order.lasting).keys() == {"facts", "request0/r"}

    assert asked.among((0, 1)) is asked
    fewer = Order(TRAIN, Task(ROUND, 0, 2, (1,)), "kept", asked.among((1,)), [{}], True, context)
    sent = fewer.to_arrays(order.lasting)
    assert sent.keys() == {"facts", "lasting/asked/participants"}
    back_fewer = Order.from_arrays(travelled(sent), back.lasting, back.asked)
    assert back_fewer.task.participants == back_fewer.asked.participants == (1,)
    assert back_fewer.asked.neighbours is back.asked.neighbours
    assert back.asked.participants == (0, 1)


class Interrupted:
    """A line on which a signal cuts the first writing short."""

    def __init__(self, first):
        self.first, self.written = first, b""

    def sendmsg(self, parts):
        self.written = b"".join(parts)[: self.first]
        return len(self.written)

    def sendall(self, rest):
        self.written += rest


@pytest.mark.parametrize("first", [0, 3, 8, 20, 10_000])
def test_a_frame_arrives_whole_whatever_the_first_writing_sent(first):
    framed = frame({"a": np.arange(9)})
    line = Interrupted(first)
    send(line, framed)
    assert line.written == len(framed).to_bytes(8, "little") + framed


@given(st.integers(1, 3000), st.data())
def test_lots_are_neighbours_within_blocks(clients, data):
    block = block_size(clients)
    who = sorted(data.draw(st.sets(st.integers(0, clients - 1), min_size=1, max_size=400)))
    asked = Asked(who, (), block)
    assert [client for lot in asked.neighbours.values() for client in lot] == who
    assert list(asked.neighbours) == sorted(asked.neighbours)
    firsts = {client // block: client for client in reversed(who)}
    assert {asked.neighbours[lot][0] for lot in asked.heads} == set(firsts.values())
    for lot, few in asked.neighbours.items():
        assert {client // block for client in few} == {lot // LOTS_A_BLOCK}
        assert len(few) <= -(-block // LOTS_A_BLOCK)
    assert list(asked.after.values()) == list(asked.neighbours)[1:]


def test_answers_of_batches_are_joined():
    def turn(client):
        return Task(ROUND, 0, 1, EVERYBODY).turn(0, 1, client)

    def part(*arrays):
        clients = list(range(len(arrays)))
        return Answers(clients, turn, Batch([{"a": array} for array in arrays]))

    alike = Answers.joined([part(np.ones(2), np.ones(3)), part(np.zeros(1))], turn)
    assert alike.columns is not None
    assert [len(arrays["a"]) for _, arrays in alike] == [2, 3, 1]
    for other in (np.ones(2, np.float32), np.ones((1, 2)), np.array(1.0)):
        mixed = Answers.joined([part(np.ones(2)), part(other)], turn)
        assert mixed.columns is None
        assert [arrays["a"].shape for _, arrays in mixed] == [(2,), other.shape]
    assert len(Answers.joined([], turn)) == 0
