"""Clients that raise, lie or send nonsense: named, left out, and never able to crash the server."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedanomaly.core.errors import FederationError
from fedanomaly.federation import client as verbs
from fedanomaly.federation.client_app import make_client_app
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.coordinator import Coordinator
from fedanomaly.federation.local_grid import LocalGrid
from fedanomaly.federation.observer import Observer

CONFIG = RunConfig(
    data="wdbc",
    clients=5,
    rounds=2,
    partition="even",
    params="n_estimators=20",
    references=False,
    join_timeout=0.5,
)
BAD = 3


class Witness(Observer):
    def __init__(self):
        self.events, self.rounds, self.clients = [], [], []

    def event(self, event):
        self.events.append(event)

    def round_done(self, record):
        self.rounds.append(record)

    def joined(self, clients):
        self.clients.append(sorted(clients))


def work(**replaced):
    """The five verbs, some replaced for client ``BAD``."""
    own = {name: getattr(verbs, name) for name in ("load_partition", "build", "train", "evaluate")}

    def choose(name):
        def verb(*arguments):
            client = arguments[-1]
            return (replaced[name] if name in replaced and client == BAD else own[name])(*arguments)

        return verb

    return SimpleNamespace(build=verbs.build, **{name: choose(name) for name in own if name != "build"})


def federate(config=CONFIG, **replaced):
    witness = Witness()
    grid = LocalGrid(make_client_app(work(**replaced)), config.clients, config.to_run_config())
    coordinator = Coordinator(config, grid, witness)
    coordinator.run()
    return coordinator, witness


def fail(*_):
    raise RuntimeError("disk full")


def test_a_healthy_run_has_no_events():
    _, witness = federate()
    assert witness.events == []
    assert [record.server_round for record in witness.rounds] == [1, 2]
    assert set(witness.rounds[-1].evaluate) == {"0", "1", "2", "3", "4", "all"}


def test_a_client_that_raises_is_named_and_left_out():
    _, witness = federate(train=fail)
    assert {event.client for event in witness.events} == {str(BAD)}
    assert all("disk full" in event.what and event.action for event in witness.events)
    assert str(BAD) not in witness.rounds[-1].train
    assert witness.rounds[-1].train["all"]["clients"] == 4


def test_metrics_cover_only_those_that_evaluated():
    _, witness = federate(evaluate=fail)
    last = witness.rounds[-1].evaluate
    assert str(BAD) not in last
    assert last["all"]["rows"] == sum(last[str(client)]["rows"] for client in (0, 1, 2, 4))


def test_below_the_stated_minimum_the_run_ends_with_the_reason():
    config = RunConfig(**{**CONFIG.__dict__, "min_clients": 5})
    with pytest.raises(FederationError, match="4 of 5 clients answered and at least 5 are needed"):
        federate(config, train=fail)


def test_a_client_that_cannot_introduce_itself_does_not_join():
    _, witness = federate(load_partition=fail)
    assert witness.clients[-1] == [0, 1, 2, 4]
    assert any("disk full" in event.what for event in witness.events)
    assert any(event.client == str(BAD) and "did not join" in event.what for event in witness.events)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({}, "missing"),
        ({"psi": np.zeros((3, 3))}, "dtype"),
        ({"psi": np.full(4, 256), "depth": np.array(40)}, ""),
    ],
)
def test_malformed_trees_are_refused(answer, sentence):
    _, witness = federate(train=lambda *_: answer)
    assert {event.client for event in witness.events} == {str(BAD)}
    assert sentence in witness.events[0].what
    assert witness.rounds[-1].train["all"]["clients"] == 4


def test_trees_beyond_the_quota_are_refused():
    def flood(config, rows, task, request, client):
        honest = verbs.train(config, rows, task, request, client)
        return {
            name: np.concatenate([array, array]) if array.ndim else array for name, array in honest.items()
        }

    _, witness = federate(train=flood)
    assert {event.client for event in witness.events} == {str(BAD)}


def test_a_client_cannot_invent_test_rows():
    def boast(config, rows, model, request, client):
        answer = verbs.evaluate(config, rows, model, request, client)
        return {**answer, "counts": answer["counts"] * 1000}

    _, witness = federate(evaluate=boast)
    assert any("were declared" in event.what for event in witness.events)


names = st.sampled_from(["splits", "threshold", "psi", "depth", "bins", "keys", "counts", "x"])
hostile = st.dictionaries(
    names,
    hnp.arrays(
        dtype=st.sampled_from(["<f8", "<i8", "<i4", "<u2", "|b1", "<U3"]),
        shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    ),
    max_size=5,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trained=hostile, evaluated=hostile)
def test_whatever_a_client_sends_the_run_goes_on_without_it(trained, evaluated):
    _, witness = federate(train=lambda *_: trained, evaluate=lambda *_: evaluated)
    assert {event.client for event in witness.events} == {str(BAD)}
    assert len(witness.rounds) == 2
    assert np.isfinite(witness.rounds[-1].evaluate["all"]["accuracy"])
