"""What ``client.py`` and ``run_clients.py`` do as programs."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from setproctitle import getproctitle, setproctitle

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.options import DEFAULT_PORT, Parser, add_address, read_toml
from fedanomaly.experiment.program import guarded, state_folder
from fedanomaly.federation.deployment import flower_internals as flower
from fedanomaly.federation.deployment import processes
from fedanomaly.federation.deployment.credentials import CA, client_files
from fedanomaly.federation.deployment.supernode import NodeOptions, run_node, wait_for_server

DEFAULTS = {"host": "127.0.0.1", "port": DEFAULT_PORT, "credentials": "", "data_path": "", "wait": 60.0}


def client_main(argv: Sequence[str] | None, app_dir: Path) -> int:
    """Run ``client.py`` with these arguments; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _client(arguments, app_dir), "--debug" in arguments)


def clients_main(argv: Sequence[str] | None, app_dir: Path) -> int:
    """Run ``run_clients.py`` with these arguments; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _clients(arguments, app_dir), "--debug" in arguments)


def _parser(prog: str, description: str) -> Parser:
    parser = Parser(prog=prog, description=description)
    add_address(parser)
    parser.add_argument("--data-path", metavar="FILE_OR_FOLDER", help="where this machine keeps the data")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="how long to wait for the server (60)")
    parser.add_argument("--config", metavar="FILE.toml", help="read options from this file")
    parser.add_argument("--debug", action="store_true", default=None, help="show tracebacks and logs")
    return parser


def _options(parser: Parser, argv: Sequence[str], own: dict[str, object]) -> dict[str, object]:
    """Return options from defaults, the TOML file and the command line; foreign options are skipped."""
    given = {key: value for key, value in vars(parser.parse_args(argv)).items() if value is not None}
    known = {**DEFAULTS, **own, "debug": False}
    file = given.pop("config", None)
    from_file = {key: value for key, value in read_toml(Path(file)).items() if key in known} if file else {}
    return {**known, **from_file, **given}


def _client(argv: Sequence[str], app_dir: Path) -> int:
    parser = _parser("client.py", "One organization: join a federation and answer until the server leaves.")
    parser.add_argument("--client-id", type=int, metavar="N", help="which client this is, from 0")
    options = _options(parser, argv, {"client_id": None})
    client = options["client_id"]
    if not isinstance(client, int) or client < 0:
        raise UserError("client.py needs --client-id, a whole number from 0")
    return run_node(_node(options, client, app_dir), app_dir, _warm_up, _say)


def _say(text: str) -> None:
    Console().print(text, highlight=False, soft_wrap=True)


def _warm_up() -> None:
    from fedanomaly.federation.plan import warm_up

    warm_up()


def _node(options: dict[str, object], client: int, app_dir: Path) -> NodeOptions:
    port = int(str(options["port"]))
    folder = str(options["credentials"])
    ca, key = client_files(Path(folder), client) if folder else (None, None)
    path = str(options["data_path"])
    return NodeOptions(
        client=client,
        host=str(options["host"]),
        port=port,
        state=state_folder(app_dir, port),
        data_path=str(Path(path).expanduser().resolve()) if path else "",
        root_certificates=ca,
        private_key=key,
        wait=float(str(options["wait"])),
    )


def _clients(argv: Sequence[str], app_dir: Path) -> int:
    parser = _parser("run_clients.py", "Start client.py processes, show which are up, stop them all.")
    parser.add_argument("--clients", type=int, metavar="N", help="how many (5)")
    parser.add_argument(
        "--first-id", type=int, metavar="N", help="id of the first one, for several machines (0)"
    )
    options = _options(parser, argv, {"clients": 5, "first_id": 0})
    count, first = int(str(options["clients"])), int(str(options["first_id"]))
    if count < 1 or first < 0:
        raise UserError("--clients must be at least 1 and --first-id at least 0")
    nodes = [_node(options, first + number, app_dir) for number in range(count)]
    ca = str(Path(str(options["credentials"])) / CA) if options["credentials"] else None
    wait_for_server(nodes[0].host, nodes[0].port, ca, nodes[0].wait, _say, meanwhile=_import_all)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started: dict[int, int] = {}
    try:
        for node in nodes:
            started[node.client] = _start(node, app_dir, bool(options["debug"]))
        return _look_after(started, nodes[0].state)
    finally:
        processes.stop_forks(started.values())


def _import_all() -> None:
    """Import once what every client needs: the clients are forked, and share it."""
    getproctitle()  # finds the title's place in memory, which must be done before the environment grows
    flower.warm_up()
    importlib.import_module("client")
    _warm_up()
    gc.freeze()  # a collection in a forked client would copy every page it looks at


def _start(node: NodeOptions, app_dir: Path, debug: bool) -> int:
    """Fork a process that is ``client.py`` in all but the time it takes to start; return its id."""
    node.state.mkdir(parents=True, exist_ok=True)
    log = _said(node.state, node.client)
    log.write_text("")

    def client() -> None:
        os.setsid()  # Ctrl-C reaches run_clients.py alone, which stops the clients in order
        data = f" --data-path {node.data_path}" if node.data_path else ""
        setproctitle(
            f"{sys.executable} {app_dir / 'client.py'} --client-id {node.client} "
            f"--host {node.host} --port {node.port}{data}"
        )
        raise SystemExit(guarded(lambda: run_node(node, app_dir, _warm_up, _say), debug))

    return processes.fork(client, log, processes.environment(node.state))


def _said(state: Path, client: int) -> Path:
    return state / f"client-{client}.out"


def _look_after(started: dict[int, int], state: Path) -> int:
    """Show what the clients say until all have left; 1 if any failed. None is ever restarted."""
    told: dict[int, int] = dict.fromkeys(started, 0)
    codes: dict[int, int] = {}
    while len(codes) < len(started):
        for client in started.keys() - codes.keys():
            code = processes.exit_code(started[client])
            lines = _said(state, client).read_text(errors="replace").splitlines()
            for line in lines[told[client] :]:
                _say(line)
            told[client] = len(lines)
            if code is not None:
                codes[client] = code
                if code < 0:
                    _say(f"client {client} was killed (signal {-code}); it is not restarted")
        time.sleep(0.1)
    failed = sorted(client for client, code in codes.items() if code)
    if failed:
        _say(f"{len(failed)} of {len(started)} clients failed: {', '.join(map(str, failed))}; logs: {state}")
        return 1
    _say(f"all {len(started)} clients are done")
    return 0
