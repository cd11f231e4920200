"""One organization's process: a SuperNode, and the executor that runs its tasks."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from fedanomaly.core.errors import UserError
from fedanomaly.federation.deployment import flower_internals as flower
from fedanomaly.federation.deployment import processes

POLL_SECONDS = 0.1
WATCH_SECONDS = 2.0
LOST_AFTER = 5  # looks in a row without an answer from the server


@dataclass(frozen=True)
class NodeOptions:
    """How one client reaches the server.

    Attributes
    ----------
    client : int
        Partition id.
    host, port : str, int
        Where the server listens.
    state : Path
        Folder for this client's logs and Flower's own files.
    data_path : str
        Where this client's data lies, if not where the server says.
    root_certificates : str or None
        CA certificate (PEM): use TLS.
    private_key : str or None
        This node's own key (PEM, elliptic curve): authenticate.
    wait : float
        Seconds to wait for the server.
    """

    client: int
    host: str
    port: int
    state: Path
    data_path: str = ""
    root_certificates: str | None = None
    private_key: str | None = None
    wait: float = 60.0

    @property
    def log(self) -> Path:
        """Return the client's log file."""
        return self.state / f"client-{self.client}.log"


class _Stopped(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


def run_node(
    options: NodeOptions, app_dir: Path, warm_up: Callable[[], None], say: Callable[[str], None]
) -> int:
    """Take part in a federation until the server leaves; return an exit code.

    Parameters
    ----------
    options : NodeOptions
        Who and where.
    app_dir : Path
        Folder of ``client.py``, whose app the tasks run.
    warm_up : callable
        Loads what every task needs, in the process that tasks are forked from.
    say : callable
        Prints a line.

    Returns
    -------
    int
        0 when the server has gone, 1 when this node failed or was refused, 130 on Ctrl-C.
    """
    state = options.state
    state.mkdir(parents=True, exist_ok=True)
    options.log.unlink(missing_ok=True)
    wait_for_server(options.host, options.port, options.root_certificates, options.wait, say)
    previous = {number: signal.signal(number, _raise_stopped) for number in (signal.SIGINT, signal.SIGTERM)}
    children: list[int] = []
    try:
        children = _start(options, app_dir, warm_up)
        _wait_until_in(options, children)
        return _watch(options, children, say)
    except _Stopped as stopped:
        return stopped.code
    finally:
        for number in previous:
            signal.signal(number, signal.SIG_IGN)
        processes.stop_forks(children)
        for number, handler in previous.items():
            signal.signal(number, handler)


def wait_for_server(
    host: str,
    port: int,
    root_certificates: str | None,
    seconds: float,
    say: Callable[[str], None],
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Return once a server answers and ``meanwhile`` is done; raise :class:`UserError` if none does."""
    deadline = time.monotonic() + seconds
    if not processes.healthy(host, port, root_certificates):
        say(f"waiting for the server at {host}:{port} ...")
    meanwhile()
    while not processes.healthy(host, port, root_certificates):
        if time.monotonic() > deadline:
            raise UserError(
                f"no server answers at {host}:{port} after {seconds:g} s; start it with "
                "`python server.py`, or name its --host and --port"
            )
        time.sleep(0.2)


def _raise_stopped(number: int, _: FrameType | None) -> None:
    raise _Stopped(130 if number == signal.SIGINT else 143)


def _start(options: NodeOptions, app_dir: Path, warm_up: Callable[[], None]) -> list[int]:
    env = processes.environment(options.state / f"flwr-{options.client}")
    api_port = processes.free_port()
    node_config = f"partition-id={options.client}"
    if options.data_path:
        node_config += f' data-path="{options.data_path}"'
    secure = ["--root-certificates", options.root_certificates] if options.root_certificates else []
    arguments = [
        *(secure or ["--insecure"]),
        *(["--auth-supernode-private-key", options.private_key] if options.private_key else []),
        "--superlink", f"{options.host}:{options.port}",
        "--host", "127.0.0.1",
        "--port", str(api_port),
        "--node-config", node_config,
        "--max-retries", "3",
    ]  # fmt: skip
    me = os.getpid()
    if not flower.supported():
        command = [processes.program("flower-supernode"), *arguments]
        return [processes.fork(lambda: os.execve(command[0], command, env), options.log, env)]

    def node() -> None:
        flower.watch_parent(me)
        flower.run_supernode([*arguments, "--isolation", "process"])

    def executor() -> None:
        os.chdir(app_dir)
        importlib.import_module("client")  # once, before any task is forked
        warm_up()
        gc.freeze()  # a collection in a forked task would copy every page it looks at
        while not processes.healthy("127.0.0.1", api_port):
            time.sleep(POLL_SECONDS)
        flower.run_executor(f"127.0.0.1:{api_port}", None, me)

    flower.warm_up()
    # The SuperNode needs Flower alone: it is forked before anything else is imported.
    return [processes.fork(node, options.log, env), processes.fork(executor, options.log, env)]


def _wait_until_in(options: NodeOptions, children: list[int]) -> None:
    """Return when the SuperLink let the node in, or a process of the node has ended."""
    while not flower.activated(processes.last_lines(options.log, 50)):
        if any(processes.ended(child) for child in children):
            return
        time.sleep(POLL_SECONDS)


def _watch(options: NodeOptions, children: list[int], say: Callable[[str], None]) -> int:
    if flower.activated(processes.last_lines(options.log, 50)):
        say(f"client {options.client} is up")
    misses = 0
    while True:
        codes = [processes.exit_code(child) for child in children]
        if any(code is not None for code in codes):
            if not processes.healthy(options.host, options.port, options.root_certificates):
                return 0  # the server left first, as it does when a run is over
            say(f"client {options.client} failed: {_reason(options.log)}")
            return 1
        alive = processes.healthy(options.host, options.port, options.root_certificates)
        misses = 0 if alive else misses + 1
        if misses >= LOST_AFTER:
            return 0
        time.sleep(WATCH_SECONDS if alive else POLL_SECONDS)


def _reason(log: Path) -> str:
    """Return what a SuperNode says when it leaves, in one line."""
    lines = processes.last_lines(log, 60).splitlines()
    for number, line in enumerate(lines):
        if "Failed to initialize the connection" in line:
            said = " ".join(part.strip() for part in lines[number : number + 2])[:300]
            unknown = "activate" in said  # what Flower answers to a key that was never registered
            return f"{said} (the server does not know this client's key)" if unknown else said
    return f"see {log.name}"
