"""Many clients in one machine: the same bits whatever carries them, bounded memory, workers that may die."""

import gc
import os
import select
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.answers import Answers
from fedanomaly.core.arrays import digest, nbytes
from fedanomaly.core.errors import FederationError, UserError
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.core.histograms import Histograms
from fedanomaly.core.keyed import Turn
from fedanomaly.detectors import IsolationForest
from fedanomaly.evaluation import evaluate, evaluate_each
from fedanomaly.experiment.options import read_options
from fedanomaly.federation import client as verbs
from fedanomaly.federation.client_app import make_client_app
from fedanomaly.federation.combine import Tally
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.coordinator import Coordinator
from fedanomaly.federation.exchange import Exchange
from fedanomaly.federation.frames import frame, unframe
from fedanomaly.federation.intake_kept import Unchecked
from fedanomaly.federation.local_engine import local_engine
from fedanomaly.federation.local_grid import LocalGrid
from fedanomaly.federation.local_post import LocalPost
from fedanomaly.federation.observer import Observer
from fedanomaly.federation.post import FlowerPost, Post
from fedanomaly.federation.protocol import TRAIN, Declared, Task
from fedanomaly.federation.question import Question
from fedanomaly.federation.queues import Shares
from fedanomaly.federation.replies import BATCH_BYTES, Reply, gathered
from fedanomaly.federation.shelf import Shelf
from fedanomaly.federation.workers import ForkedPost
from fedanomaly.privacy.sums import secure_sum

CONFIG = RunConfig(
    data="wdbc",
    clients=6,
    rounds=2,
    partition="uneven",
    params="n_estimators=24",
    references=False,
    join_timeout=0.5,
)
SUMS = replace(CONFIG, detector="one-class-svm", aggregation="nystrom-mean", params="n_components=16")
WAYS = {
    "trees": CONFIG,
    "sums": SUMS,
    "weights": replace(SUMS, aggregation="fedavg"),
    "personal": replace(CONFIG, aggregation="local"),
}
PHASES = ("scaling", "setup", "train")
UNTIMED = ("seconds", "bytes_up", "bytes_down")


class Witness(Observer):
    def __init__(self):
        self.events, self.rounds = [], []

    def event(self, event):
        self.events.append(event)

    def round_done(self, record):
        self.rounds.append(record)


def federate(config, post):
    witness = Witness()
    with post:
        coordinator = Coordinator(config, post, witness)
        coordinator.run()
    metrics = [
        {
            client: {name: value for name, value in values.items() if name not in UNTIMED}
            for client, values in record.evaluate.items()
        }
        for record in witness.rounds
    ]
    return digest(coordinator.state), metrics, witness


def messages(config, work=verbs, grid=LocalGrid):
    app = make_client_app(work)
    return FlowerPost(grid(app, config.clients, config.to_run_config()), config.timeout)


class Shuffled(LocalGrid):
    """Messages arrive in an order of their own."""

    def pull_messages(self, message_ids):
        replies = list(super().pull_messages(message_ids))
        return [replies[i] for i in np.random.default_rng(len(replies)).permutation(len(replies))]


@pytest.mark.parametrize("clients", [6, 70])  # blocks of one, and of three
@pytest.mark.parametrize("way", WAYS)
def test_function_calls_workers_and_messages_give_the_same_bits(way, clients):
    config = WAYS[way]
    if clients > config.clients:
        config = replace(config, data="synthetic", rows=3500, clients=clients, partition="iid")
    state, metrics, _ = federate(config, messages(config))
    posts = [
        LocalPost(config),
        messages(config, grid=Shuffled),
        *(ForkedPost(config, workers=n) for n in (1, 2, 5)),
    ]
    for post in posts:
        other_state, other_metrics, witness = federate(config, post)
        assert other_state == state
        np.testing.assert_equal(other_metrics, metrics)
        assert witness.events == []


def broken(client, how, verb="train", stateless=True):
    def broken_verb(config, rows, task, request, number):
        return how() if number == client else getattr(verbs, verb)(config, rows, task, request, number)

    own = {name: getattr(verbs, name) for name in ("load_partition", "build", "train", "evaluate")}
    return SimpleNamespace(**{**own, verb: broken_verb}, stateless=stateless)


def test_a_client_that_raises_is_the_same_event_everywhere():
    work = broken(3, lambda: [][1])
    seen = [
        federate(CONFIG, post)
        for post in (messages(CONFIG, work), LocalPost(CONFIG, work), ForkedPost(CONFIG, work))
    ]
    assert len({state for state, _, _ in seen}) == 1
    assert [witness.events for _, _, witness in seen[1:]] == [seen[0][2].events] * 2
    assert "IndexError" in seen[0][2].events[0].what


@pytest.mark.parametrize(
    ("way", "verb"), [("trees", "train"), ("trees", "evaluate"), ("personal", "evaluate")]
)
def test_when_a_worker_dies_the_client_it_was_at_is_left_out_and_the_run_goes_on(way, verb):
    config = replace(WAYS[way], min_clients=2)
    post = ForkedPost(config, broken(3, lambda: os._exit(9), verb), workers=2)
    _, _, witness = federate(config, post)
    gone = [event.client for event in witness.events if event.what == "its worker process is gone"]
    assert "3" in gone  # others' answers may have been with it
    assert [event.client for event in witness.events if "offline" in event.what] == ["3"]
    assert len(witness.rounds) == 2
    assert [client for client in witness.rounds[-1].evaluate if client != "all"] == ["0", "1", "2", "4", "5"]


def test_clients_whose_state_may_be_in_a_worker_go_with_it():
    config = replace(CONFIG, min_clients=2)
    post = ForkedPost(config, broken(3, lambda: os._exit(9), stateless=False), workers=2)
    its = [str(client) for client in range(6) if post._shares.worker_of(client) == post._shares.worker_of(3)]
    _, _, witness = federate(config, post)
    assert 1 < len(its) < 6
    assert [event.client for event in witness.events if event.what == "its worker process is gone"] == its
    assert [event.client for event in witness.events if "offline" in event.what] == its
    assert len(witness.rounds) == 2


def test_clients_keep_to_their_worker_unless_their_verbs_are_stateless():
    def seen(stateless):
        came, come = os.pipe()
        began, begin = os.pipe()

        def train(config, rows, task, request, client):
            if stateless and client == 3:  # the other worker's first one waits until this one's has begun
                select.select([began], [], [], 60)
            if stateless and client == 0:  # whoever has it waits until somebody else has had the third
                os.write(begin, b"!")
                select.select([came], [], [], 60)
            if client == 2:
                os.write(come, b"!")
            return verbs.train(config, rows, task, request, client) | {"process": np.array([os.getpid()])}

        own = {name: getattr(verbs, name) for name in ("load_partition", "build", "evaluate")}
        with ForkedPost(CONFIG, SimpleNamespace(train=train, **own, stateless=stateless), workers=2) as post:
            request = {"rows": np.full(6, 30)}
            task = Task("round", 0, 1, tuple(range(6)))
            kept = Unchecked(Question(CONFIG, task, np.zeros((6, 6), dtype=np.int64), {}))
            for _ in post.bring(TRAIN, dict.fromkeys(range(6), request), {}, kept, lambda clients: None):
                pass
            homes = [post._workers[post._shares.worker_of(client)].process for client in range(6)]
        return [int(arrays["process"][0]) for _, arrays in kept.answers], homes

    processes, homes = seen(stateless=False)
    assert processes == homes
    processes, homes = seen(stateless=True)
    assert len(set(processes)) == 2
    assert processes != homes


def test_a_worker_may_help_in_the_middle_of_a_block():
    config = replace(SUMS, data="synthetic", rows=4000, clients=128, partition="iid", rounds=1)
    came, come = os.pipe()

    def train(config, rows, task, request, client):
        if task.phase == "scaling" and client == 1:  # its worker waits until another one has had the third
            select.select([came], [], [], 60)
        if task.phase == "scaling" and client == 2:
            os.write(come, os.getpid().to_bytes(4, "little"))
        return verbs.train(config, rows, task, request, client)

    own = {name: getattr(verbs, name) for name in ("load_partition", "build", "evaluate")}
    with ForkedPost(config, SimpleNamespace(train=train, **own, stateless=True), workers=2) as post:
        homes = [worker.process for worker in post._workers]
        helped = Coordinator(config, post, Observer())
        helped.run()
    alone = Coordinator(config, LocalPost(config), Observer())
    alone.run()
    assert int.from_bytes(os.read(came, 4), "little") == homes[1]  # clients 0 to 3 are the first one's
    assert digest(helped.state) == digest(alone.state)


def test_whatever_befalls_the_clients_of_one_worker_each_is_named_once():
    config = replace(SUMS, data="synthetic", rows=4000, clients=128, partition="iid", rounds=1, min_clients=1)

    def train(config, rows, task, request, client):
        if client == 3 and task.phase == "round":
            os._exit(9)
        answer = verbs.train(config, rows, task, request, client)
        return [][1] if client == 1 else {**answer, "stranger": np.zeros(2)} if client == 2 else answer

    own = {name: getattr(verbs, name) for name in ("load_partition", "build", "evaluate")}
    witness = Witness()
    with ForkedPost(config, SimpleNamespace(train=train, **own), workers=1) as post:
        assert post._shares.size == 4  # clients a block
        with pytest.raises(FederationError):
            Coordinator(config, post, witness).run()
    named = {phase: [event.client for event in witness.events if event.phase == phase] for phase in PHASES}
    assert named["scaling"] == named["setup"] == ["1", "2"]
    assert named["train"] == [str(client) for client in range(128)]


def test_without_enough_workers_left_the_run_says_so():
    with pytest.raises(FederationError, match="at least 4 are needed"):
        federate(CONFIG, ForkedPost(CONFIG, broken(0, lambda: os._exit(9)), workers=1))


def test_no_worker_outlives_the_run():
    post = ForkedPost(CONFIG, workers=2)
    processes = [worker.process for worker in post._workers]
    federate(CONFIG, post)
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    with pytest.raises(FederationError, match="dismissed"):
        next(post.ask(TRAIN, Task("round", 0, 1, (0,)), {1: {}}))


def test_a_worker_leaves_when_the_server_is_gone():
    post = ForkedPost(CONFIG, workers=2)
    worker = post._workers[0]
    worker.line.close()
    assert os.waitpid(worker.process, 0)[1] == 0
    post._workers = post._workers[1:]
    post.close()


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=200), st.integers(1, 5))
def test_neighbours_are_shared_out_evenly(rows, workers):
    shares = Shares(rows, workers)
    numbers = np.array([shares.worker_of(client) for client in range(len(rows))])
    assert (np.diff(numbers) >= 0).all()
    work = np.array(rows) + 200
    each = np.bincount(numbers, work, workers)
    blocks = np.bincount(np.arange(len(rows)) // shares.size, work)
    assert np.abs(each - work.sum() / workers).max() <= blocks.max()
    assert min(len(rows), 16) <= shares.block_of(len(rows) - 1) + 1 <= 32


# -- memory ---------------------------------------------------------------------------------------


class Stream(Post):
    """Answers made up on the way, with a count of those that are still in memory."""

    def __init__(self, clients, size):
        self.clients, self.size, self.alive, self.most = clients, size, 0, 0

    def nodes(self):
        return list(range(self.clients))

    def ask(self, kind, task, requests, arrived):
        return gathered(self.made_up(requests))

    def made_up(self, requests):
        for node in requests:
            arrays = {"sum": np.full(self.size, 0.1 * node), "count": np.array([1])}
            self.alive += 1
            weakref.finalize(arrays["sum"], self.freed)
            self.most = max(self.most, self.alive)
            yield node, Reply(Declared(node, 1, 0.0), arrays, nbytes(arrays), 0, 0)
            del arrays

    def freed(self):
        self.alive -= 1


@pytest.mark.parametrize(
    ("size", "most"),
    [(BATCH_BYTES // 8, 3), (1000, BATCH_BYTES // 8000 + 3)],  # large answers alone, small ones a batch
)
def test_sums_are_added_up_as_they_come_and_never_collected(size, most, monkeypatch):
    clients = 500
    post = Stream(clients, size)
    roster = SimpleNamespace(
        nodes={client: client for client in range(clients)}, sizes=np.ones((clients, 6), dtype=np.int64)
    )
    monkeypatch.setattr(
        "fedanomaly.federation.intake_sums.checked", lambda step, state, answers: (answers, {})
    )
    exchange = Exchange(RunConfig(clients=clients, rounds=1), post, roster, Observer())
    task, request = Task("round", 0, 1, tuple(range(clients))), {}
    total, spent = exchange.total(task, dict.fromkeys(range(clients), request), {})
    gc.collect()
    assert post.most <= most
    assert len(spent) == clients
    answers = ((turn(k), {"sum": np.full(size, 0.1 * k), "count": np.array([1])}) for k in range(clients))
    assert digest(total) == digest(secure_sum(answers, clients))


def turn(client):
    return Turn(0, 1, 1, client, (0, 1, 2, 3))


def test_the_most_frequent_form_is_summed_and_the_others_are_named():
    tally = Tally(4)
    for client, array in enumerate([np.ones((2, 2)), np.ones(3), np.full(3, 2.0), np.ones(3, np.float32)]):
        tally.add(Answers.of([(turn(client), {"a": array})]))
    total, outvoted = tally.result()
    np.testing.assert_array_equal(total.total["a"], [3.0, 3.0, 3.0])
    assert outvoted == [0, 3]


def test_rows_are_kept_while_they_fit():
    shelf = Shelf(10)
    for key, size in [("a", 4), ("b", 4), ("c", 4)]:
        shelf.put("these", key, key.upper(), size)
    assert [shelf.get("these", key) for key in "abc"] == [None, "B", "C"]
    assert shelf.get("others", "b") is None
    shelf.put("others", "b", "LARGE", 99)
    assert len(shelf) == 1
    assert [shelf.get(group, "b") for group in ("these", "others")] == [None, "LARGE"]


def test_clients_in_one_process_load_the_rounds_model_once(monkeypatch):
    loads = []
    load = IsolationForest.load
    monkeypatch.setattr(IsolationForest, "load", lambda self, arrays: loads.append(1) or load(self, arrays))
    federate(CONFIG, LocalPost(CONFIG))
    assert len(loads) == CONFIG.rounds


# -- histograms and metrics of many clients ---------------------------------------------------------

scores = st.lists(st.sampled_from([-2.0, -1.5, -1.0, -0.5, 0.0, 0.25, 3.0]), max_size=12)
clients_scores = st.lists(st.tuples(scores, scores, st.floats(-2.5, 3.5)), min_size=1, max_size=6)


@settings(deadline=None)
@given(clients_scores, st.sampled_from([0.01, 0.3, 0.5, 1.0, 4.0]), st.booleans())
def test_metrics_of_all_clients_at_once_are_those_of_each(drawn, budget, with_amounts):
    legitimate = [Histogram.of(values) for values, _, _ in drawn]
    fraud = [Histogram.of(values) for _, values, _ in drawn]
    keys = [int(Histogram.of([threshold]).keys[0]) for _, _, threshold in drawn]
    amounts = [
        Histogram.of(values, weights=np.arange(len(values)) + 0.5)
        if with_amounts and number % 2 == 0
        else None
        for number, (_, values, _) in enumerate(drawn)
    ]
    together = evaluate_each(
        Histograms.of(legitimate),
        Histograms.of(fraud),
        keys,
        budget=budget,
        fraud_amount=Histograms.of([part for part in amounts if part is not None]),
        knows_amount=[part is not None for part in amounts],
        alert_cost=0.5,
    )
    for number, metrics in enumerate(together):
        alone = evaluate(
            legitimate[number],
            fraud[number],
            keys[number],
            budget=budget,
            fraud_amount=amounts[number],
            alert_cost=0.5,
        )
        assert list(metrics) == list(alone)
        for name, value in alone.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-12, err_msg=name)


# -- frames, bytes, options --------------------------------------------------------------------------


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        hnp.arrays(
            dtype=st.sampled_from(["<f8", "<f4", "<i8", "<u2", "|i1", "|b1", "<U5", ">i4"]),
            shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=7),
        ),
        max_size=4,
    ),
    st.binary(max_size=9),
)
def test_what_is_framed_is_unframed(arrays, before):
    back = unframe(bytearray(before + frame(arrays)), len(before))
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
        assert back[name].flags.writeable
        assert before or back[name].flags.aligned


def test_a_strided_array_is_framed_in_its_own_order():
    array = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(unframe(bytearray(frame({"a": array.T[::2]})))["a"], array.T[::2])


def test_bytes_are_those_of_the_wire_or_said_to_be_plain():
    def spent(post):
        _, _, witness = federate(CONFIG, post)
        return [record.train["all"] for record in witness.rounds]

    wire, exact, plain = (
        spent(post) for post in (messages(CONFIG), LocalPost(CONFIG), LocalPost(CONFIG, exact_bytes=False))
    )
    for one, other, rough in zip(wire, exact, plain, strict=True):
        assert (one["bytes_up"], one["bytes_down"]) == (other["bytes_up"], other["bytes_down"])
        assert rough["bytes_up"] != one["bytes_up"]
        assert rough["bytes_up"] > 0
    assert LocalPost(replace(CONFIG, clients=101)).exact_bytes is False


def test_an_app_of_ones_own_gets_messages_and_no_workers():
    from flwr.clientapp import ClientApp

    assert isinstance(local_engine(CONFIG, ClientApp()), FlowerPost)
    with pytest.raises(UserError, match="make_client_app"):
        local_engine(CONFIG, ClientApp(), workers=2)
    with pytest.raises(UserError, match="at least 1"):
        local_engine(CONFIG, workers=0)


def test_workers_are_an_option_of_the_local_engine_only():
    _, launch = read_options(["--engine", "local", "--workers", "3", "--no-exact-bytes"])
    assert (launch.workers, launch.exact_bytes) == (3, False)
    with pytest.raises(UserError, match="--workers is for --engine local"):
        read_options(["--workers", "3"])
    with pytest.raises(UserError, match="--workers must be a number from 1"):
        read_options(["--engine", "local", "--workers", "0"])
