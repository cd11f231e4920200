import io
import json

import pytest
from rich.console import Console

from fedanomaly.experiment.live import DownloadBar, LiveView
from fedanomaly.experiment.narrator import Narrator, ProgressLog, follow
from fedanomaly.federation.observer import ClientInfo, Event

METRICS = {
    "precision": 0.5,
    "recall": None,
    "accuracy": 0.99,
    "f1": 0.4,
    "auroc": 0.9,
    "average_precision": 0.3,
}
FACTS = [
    {"kind": "waiting", "up": 1, "expected": 2},
    {
        "kind": "joined",
        "clients": {"0": {"train": 10, "test_frauds": 1}, "1": {"train": 20, "test_frauds": 2}},
    },
    {"kind": "asked", "round": 1, "phase": "train", "clients": [0, 1]},
    {"kind": "answered", "round": 1, "phase": "train", "client": 0},
    {
        "kind": "event",
        "server_round": 1,
        "phase": "train",
        "client": "1",
        "what": "it raised: [boom]",
        "action": "left out",
    },
    {
        "kind": "round",
        "round": 1,
        "metrics": {"0": METRICS, "all": METRICS},
        "degenerate": "It flags all rows.",
    },
    {"kind": "doing", "text": "writing the report"},
    {"kind": "something new"},
]


def shown(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160, color_system=None)
    with LiveView(console, 3, "isolation-forest on wdbc") as view:
        for fact in FACTS:
            view(fact)
        view.tick()
    return console.file.getvalue()


def test_pipes_get_plain_lines():
    text = shown(terminal=False)
    assert "round 1/3  precision 0.5000  recall undefined  accuracy 0.9900" in text
    assert "client 1: it raised: [boom] (left out)" in text
    assert "the threshold is degenerate" in text
    assert "\x1b" not in text
    assert "left" in text


def test_terminals_get_a_table_with_a_row_a_client():
    text = shown(terminal=True)
    assert "isolation-forest on wdbc" in text
    assert "precision" in text and "undefined" in text
    assert "failed" in text and "1/3 rounds" in text


@pytest.mark.parametrize("clients", [1, 50])
def test_any_number_of_clients_fits(clients):
    console = Console(file=io.StringIO(), width=160)
    infos = {str(c): {"train": 1, "test_frauds": 0} for c in range(clients)}
    with LiveView(console, 1, "t") as view:
        view({"kind": "joined", "clients": infos})
        view({"kind": "round", "round": 1, "metrics": {**dict.fromkeys(infos, METRICS), "all": METRICS}})
    assert len(console.file.getvalue().splitlines()) <= 23


def test_another_process_can_follow(tmp_path):
    path = tmp_path / "progress.jsonl"
    facts = follow(path)
    assert next(facts) is None
    tell = Narrator(ProgressLog(path))
    tell.waiting(1, 2)
    tell.event(Event(1, "train", "0", "what", "action"))
    tell.joined({0: ClientInfo(0, 1, 0, 1, 0, 1, 0)})
    tell.sink({"kind": "round", "value": float("nan")})
    seen = [fact for fact in (next(facts) for _ in range(5)) if fact]
    assert [fact["kind"] for fact in seen] == ["waiting", "event", "joined", "round"]
    assert seen[-1]["value"] is None
    with path.open("a") as file:
        file.write('{"kind": "ha')
        file.flush()
        assert next(facts) is None
        file.write('lf"}\n')
        file.flush()
        assert next(facts) == {"kind": "half"}
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("terminal", [True, False])
def test_downloads_are_shown_and_the_bar_goes(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    bar = DownloadBar(console)
    for done in (0, 500, 1000):
        bar("file.gz", done, 1000)
    bar("other.gz", 1, None)
    bar._bar.stop()
    text = console.file.getvalue()
    assert "downloading file.gz" in text and "downloading other.gz" in text
    assert ("1.0/1.0 kB" in text) == terminal
