"""What ``client.py`` and ``run_clients.py`` do as programs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.options import DEFAULT_PORT, Parser, add_address, read_toml
from fedanomaly.experiment.program import guarded, state_folder
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
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    return run_node(_node(options, client, app_dir), app_dir, _warm_up, say)


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
    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    nodes = [_node(options, first + number, app_dir) for number in range(count)]
    ca = str(Path(str(options["credentials"])) / CA) if options["credentials"] else None
    wait_for_server(nodes[0].host, nodes[0].port, ca, nodes[0].wait, say)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for node in nodes:
            started[node.client] = _start(node, options, app_dir)
        return _look_after(started, nodes[0].state, say)
    finally:
        processes.stop(started.values())


def _start(node: NodeOptions, options: dict[str, object], app_dir: Path) -> subprocess.Popen[bytes]:
    node.state.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        str(app_dir / "client.py"),
        *("--client-id", str(node.client)),
        *("--host", node.host),
        *("--port", str(node.port)),
        *("--wait", str(node.wait)),
        *(("--data-path", node.data_path) if node.data_path else ()),
        *(("--credentials", str(options["credentials"])) if options["credentials"] else ()),
        *(("--debug",) if options["debug"] else ()),
    ]
    log = _said(node.state, node.client)
    log.unlink(missing_ok=True)
    return processes.start(command, log, processes.environment(node.state), cwd=Path.cwd())


def _said(state: Path, client: int) -> Path:
    return state / f"client-{client}.out"


def _look_after(started: dict[int, subprocess.Popen[bytes]], state: Path, say: object) -> int:
    """Show what the clients say until all have left; 1 if any failed. None is ever restarted."""
    tell = say if callable(say) else print
    told: dict[int, int] = dict.fromkeys(started, 0)
    codes: dict[int, int] = {}
    while len(codes) < len(started):
        for client, process in started.items():
            code = process.poll()
            lines = _said(state, client).read_text(errors="replace").splitlines()
            for line in lines[told[client] :]:
                tell(line)
            told[client] = len(lines)
            if code is not None and client not in codes:
                codes[client] = code
                if code < 0:
                    tell(f"client {client} was killed (signal {-code}); it is not restarted")
        time.sleep(0.1)
    failed = sorted(client for client, code in codes.items() if code)
    if failed:
        tell(f"{len(failed)} of {len(started)} clients failed: {', '.join(map(str, failed))}; logs: {state}")
        return 1
    tell(f"all {len(started)} clients are done")
    return 0
