"""Real SuperLink, real SuperNodes: the two commands, and what happens when something breaks."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from deployment_kit import ROOT, Federation, app_with

from fedanomaly.experiment.launch import serve
from fedanomaly.federation.deployment.processes import environment, free_port

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Flower's deployment runs on POSIX"),
    pytest.mark.xdist_group("deployment"),
]


def assert_one_sentence(process, sentence):
    lines = [line for line in process.log.read_text().splitlines() if not line.startswith("waiting for")]
    assert len(lines) == 1
    assert sentence in lines[0]


MISBEHAVING = """
import time
import numpy as np
from fedanomaly.federation.client import aggregate, build, evaluate, load_partition
from fedanomaly.federation import client as honest

def train(config, rows, task, request, client):
    if task.server_round == 2 and client == 1:
        raise ValueError("the disk is full")
    if task.server_round == 2 and client == 2:
        return {"psi": np.full((3, 3), np.nan), "threshold": np.zeros(1)}
    if task.server_round == 2 and client == 3:
        time.sleep(600)
    return honest.train(config, rows, task, request, client)
"""


PATIENT = """
import os
import time
from pathlib import Path
from fedanomaly.federation.client import aggregate, build, evaluate, load_partition
from fedanomaly.federation import client as honest

def train(config, rows, task, request, client):
    while task.server_round == 2 and not Path(os.environ["GO_ON"]).exists():
        time.sleep(0.05)
    return honest.train(config, rows, task, request, client)
"""


@pytest.fixture
def federation(tmp_path):
    with Federation(tmp_path) as running:
        yield running


@pytest.fixture
def patient(tmp_path):
    """A federation whose clients wait in round 2 until the file ``go_on`` is there."""
    with Federation(tmp_path, app_with(tmp_path / "app", PATIENT)) as running:
        running.go_on = tmp_path / "go-on"
        running.env["GO_ON"] = str(running.go_on)
        yield running


def test_two_commands_give_what_the_local_engine_gives(federation):
    options = ("--rounds", 2, "--clients", 3, "--partition", "dirichlet", "--seed", 7)
    server, clients = federation.server(*options), federation.clients(3)
    assert federation.ended(server) == 0, federation.logs()
    assert federation.ended(clients) == 0, federation.logs()
    assert federation.summary["status"] == "completed"
    assert federation.summary["engine"] == "deployment"
    assert federation.events == []
    federation.assert_equals_local_engine(rounds=2, clients=3, partition="dirichlet", seed=7)
    text = server.log.read_text()
    assert "round 2/2" in text and "report:" in text and "Traceback" not in text
    assert (federation.out / "report.md").exists()
    federation.assert_all_gone()


def test_a_killed_client_is_named_and_the_run_goes_on(patient):
    federation = patient
    server = federation.server("--rounds", 3, "--clients", 3)
    clients = [federation.client(number) for number in range(3)]
    federation.wait_for_rounds(1)
    os.killpg(clients[2].pid, signal.SIGKILL)
    federation.go_on.touch()
    assert federation.ended(server) == 0, federation.logs()
    assert federation.summary["status"] == "completed"
    assert {event["client"] for event in federation.events} == {"2"}
    assert any(
        "offline" in event["what"] or "process is gone" in event["what"] for event in federation.events
    )
    assert len(federation.events) <= 3
    assert any("events" in warning for warning in federation.summary["warnings"])
    assert "2" not in federation.summary["per_client"]
    assert federation.ended(clients[0]) == 0
    federation.assert_all_gone()


def test_raising_lying_and_hanging_clients_are_named(tmp_path):
    app = app_with(tmp_path / "app", MISBEHAVING)
    with Federation(tmp_path, app) as federation:
        server = federation.server("--rounds", 2, "--clients", 5, "--min-clients", 2, "--timeout", 45)
        clients = federation.clients(5)
        assert federation.ended(server) == 0, federation.logs()
        reasons = {
            event["client"]: event["what"] for event in federation.events if event["server_round"] == 2
        }
        assert "the disk is full" in reasons["1"]
        assert "psi" in reasons["2"] or "missing" in reasons["2"] or "unknown" in reasons["2"]
        assert "no answer within 45 s" in reasons["3"]
        assert set(federation.summary["per_client"]) >= {"0", "1", "2", "4"}
        federation.ended(clients)
        federation.assert_all_gone()


def test_too_few_clients_end_the_run_with_the_reason(federation):
    server = federation.server("--clients", 3, "--min-clients", 3, "--join-timeout", 4)
    federation.client(0)
    assert federation.ended(server) == 1
    assert "of 3 clients joined" in server.log.read_text()
    assert federation.summary["status"] == "failed"
    assert "of 3 clients joined" in federation.summary["reason"]
    federation.assert_all_gone()


def test_a_client_may_join_late(patient):
    federation = patient
    server = federation.server("--rounds", 4, "--clients", 3, "--min-clients", 2, "--join-timeout", 8)
    federation.client(0)
    federation.client(1)
    federation.wait_for_rounds(1)
    late = federation.client(2)
    federation.wait_for(lambda: "client 2 is up" in late.log.read_text())
    federation.go_on.touch()
    assert federation.ended(server) == 0, federation.logs()
    said = [event["what"] for event in federation.events if event["client"] == "2"]
    assert said[0] == "did not join in time"
    assert "joined late" in said
    assert "2" in federation.summary["per_client"]


def test_ctrl_c_at_the_server_ends_both_and_keeps_the_results(federation):
    server, clients = federation.server("--rounds", 500, "--clients", 2), federation.clients(2)
    federation.wait_for_rounds(2)
    server.send_signal(signal.SIGINT)
    assert federation.ended(server, 120) == 130
    assert federation.ended(clients, 120) == 0, federation.logs()
    assert federation.summary["status"] == "interrupted"
    assert (federation.out / "report.md").exists()
    assert (federation.out / "model.npz").exists()
    federation.assert_all_gone()


def test_ctrl_c_at_the_clients_ends_both(federation):
    server, clients = federation.server("--rounds", 500, "--clients", 2), federation.clients(2)
    federation.wait_for_rounds(1)
    clients.send_signal(signal.SIGINT)
    assert federation.ended(clients, 120) == 130
    assert federation.ended(server, 180) in (1, 130), federation.logs()
    assert federation.summary["status"] in ("failed", "interrupted")
    assert federation.summary["rounds"] >= 1
    federation.assert_all_gone()


@pytest.mark.skipif(sys.platform != "linux", reason="children are told by Linux alone")
@pytest.mark.parametrize(("killed", "code"), [("server", 0), ("clients", 1)])
def test_what_a_killed_command_started_ends_with_it(federation, killed, code):
    commands = {
        "server": federation.server("--rounds", 500, "--clients", 2),
        "clients": federation.clients(2),
    }
    federation.wait_for_rounds(1)
    commands[killed].send_signal(signal.SIGKILL)
    (other,) = (command for name, command in commands.items() if name != killed)
    federation.ended(commands[killed])
    assert federation.ended(other, 180) == code, federation.logs()
    federation.assert_all_gone()
    assert federation.summary["rounds"] >= 1
    assert killed == "server" or federation.summary["status"] == "failed"


def test_only_known_nodes_may_join_over_tls(federation, tmp_path):
    from fedanomaly.federation.deployment.credentials import make_credentials

    keys, stranger = tmp_path / "keys", tmp_path / "stranger"
    make_credentials(keys, 2)
    make_credentials(stranger, 2)
    (stranger / "ca.crt").write_bytes((keys / "ca.crt").read_bytes())
    server = federation.server("--clients", 2, "--rounds", 2, "--credentials", keys)
    federation.wait_for(lambda: "server is up" in server.log.read_text())
    unknown = federation.client(0, "--credentials", stranger)
    assert federation.ended(unknown) == 1, federation.logs()
    assert "client 0 failed" in unknown.log.read_text()
    register_behind_its_back(federation, keys, stranger / "client-1.pub")
    intruder = federation.client(1, "--credentials", stranger)
    federation.wait_for(lambda: "client 1 is up" in intruder.log.read_text())
    clients = federation.clients(2, "--credentials", keys)
    assert federation.ended(server) == 0, federation.logs()
    assert federation.ended(clients) == 0, federation.logs()
    assert federation.summary["status"] == "completed"
    assert any("its key is not among those" in event["what"] for event in federation.events)


def register_behind_its_back(federation, keys, public):
    """Register a key through Flower's control interface, as anybody with the CA certificate could."""
    home = federation.folder / "elsewhere"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink.it]\naddress = "127.0.0.1:{federation.port}"\nroot-certificates = "{keys / "ca.crt"}"\n'
    )
    command = [Path(sys.executable).parent / "flwr", "supernode", "register", public, "it"]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_usage_errors_are_one_sentence_and_exit_2(federation, tmp_path):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", federation.port))
        busy.listen()
        taken = federation.server()
        assert federation.ended(taken) == 2
        assert_one_sentence(taken, "is taken")
    wrong = [
        (federation.server("--detector", "forest"), "unknown detector"),
        (federation.client(0, "--wait", 0.5), "no server answers"),
    ]
    for process, sentence in wrong:
        assert federation.ended(process) == 2, process.log.read_text()
        assert_one_sentence(process, sentence)
    clients = federation.clients(2, "--wait", 0.5)
    assert federation.ended(clients) == 2
    assert "no server answers" in clients.log.read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data-path", "absent.csv", "--data", "creditcard"], "absent.csv"),
        (["--partition", "even", "--clients", "300", "--data", "wdbc"], "300"),
        (["--config", "absent.toml"], "absent.toml"),
    ],
)
def test_what_cannot_run_is_refused_in_one_sentence(options, sentence, tmp_path, capfd, signals_restored):
    assert serve([*options, "--port", str(free_port()), "--out", str(tmp_path / "run")], ROOT) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert sentence in line


@pytest.fixture
def signals_restored():
    """Programs set handlers of their own, which other tests must not inherit."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_the_stock_programs_give_the_same_model(federation):
    federation.env["FEDANOMALY_STOCK"] = "1"
    server, clients = federation.server("--rounds", 1, "--clients", 1), federation.clients(1)
    assert federation.ended(server, 240) == 0, federation.logs()
    assert federation.ended(clients) == 0
    federation.assert_equals_local_engine(rounds=1, clients=1)
    assert np.isfinite(federation.summary["metrics"]["accuracy"])
