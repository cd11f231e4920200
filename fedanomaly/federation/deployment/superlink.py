"""The server's side of a deployment: a SuperLink, the executor of the ServerApp, the submission of a run."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fedanomaly.core.errors import FederationError, UserError
from fedanomaly.federation.config import Value
from fedanomaly.federation.deployment import flower_internals as flower
from fedanomaly.federation.deployment import processes
from fedanomaly.federation.deployment.credentials import ServerCredentials

START_SECONDS = 60.0
CONNECTION = "fedanomaly"
NODES_FILE = "FEDANOMALY_NODES"


def allowed_nodes() -> frozenset[int] | None:
    """Return the ids of the nodes this server registered, or None if any node may join."""
    file = os.environ.get(NODES_FILE)
    return frozenset(json.loads(Path(file).read_text())) if file else None


@dataclass(frozen=True)
class LinkOptions:
    """Where the server listens and keeps its files.

    Attributes
    ----------
    host, port : str, int
        Address to listen on.
    state : Path
        Folder for logs and Flower's own files.
    credentials : ServerCredentials or None
        Certificates (TLS) and the public keys of the nodes that may join.
    simulated_clients : int
        If not 0, Flower simulates so many clients on Ray, and no real node can join.
    """

    host: str
    port: int
    state: Path
    credentials: ServerCredentials | None = None
    simulated_clients: int = 0

    @property
    def local_host(self) -> str:
        """Return the address this machine itself reaches the server at."""
        return "127.0.0.1" if self.host in {"0.0.0.0", "::", "localhost"} else self.host

    @property
    def root_certificates(self) -> str | None:
        """Return the CA certificate's path, or None without TLS."""
        return str(self.credentials.ca) if self.credentials else None

    @property
    def log(self) -> Path:
        """Return the server's log file."""
        return self.state / "server.log"


class SuperLink:
    """A running SuperLink; leaving the context stops it and all it started."""

    def __init__(self, options: LinkOptions) -> None:
        self.options = options
        self._env = processes.environment(options.state / "flwr-server")
        if options.credentials:
            self._env[NODES_FILE] = str(options.state / "nodes.json")
        self._process: subprocess.Popen[bytes] | None = None
        self._forks: list[int] = []

    def __enter__(self) -> Self:
        options = self.options
        if processes.port_taken(options.host, options.port):
            raise UserError(
                f"port {options.port} on {options.host} is taken (another server?); "
                "stop it or choose another --port"
            )
        options.state.mkdir(parents=True, exist_ok=True)
        options.log.unlink(missing_ok=True)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the ServerApp, its executor and the SuperLink."""
        processes.stop_forks(self._forks)
        self._forks = []
        if self._process is not None:
            processes.stop([self._process])
            self._process = None

    def submit(self, app_dir: Path, run_config: Mapping[str, Value]) -> None:
        """Hand the Flower app in ``app_dir`` to the SuperLink with this configuration."""
        overrides = self.options.state / "run-config.toml"
        overrides.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in run_config.items()))
        simulated = self.options.simulated_clients
        federation = ("--federation-config", f"num-supernodes={simulated}") if simulated else ()
        self._flwr("run", str(app_dir), CONNECTION, "--run-config", str(overrides), *federation)

    def trouble(self) -> str:
        """Return why the run cannot go on, or an empty string."""
        if self._process is not None and self._process.poll() is not None:
            return f"the SuperLink stopped; see {self.options.log}"
        if any(processes.exit_code(pid) is not None for pid in self._forks):
            return f"the process that runs the ServerApp stopped; see {self.options.log}"
        return ""

    def run_ended(self) -> str:
        """Return how Flower says the newest run ended, or an empty string while it runs."""
        runs = json.loads(self._flwr("list", CONNECTION, "--format", "json")).get("runs", [])
        status = str(runs[0]["status"]) if runs else ""
        return status if status.startswith("finished") else ""

    # -- starting ---------------------------------------------------------------------------------

    def _start(self) -> None:
        options = self.options
        warm = flower.supported() and not options.simulated_clients
        self._write_connection()
        self._process = processes.start(
            [
                processes.program("flower-superlink"),
                *self._credentials(),
                "--host", options.host,
                "--port", str(options.port),
                "--isolation", "process" if warm else "subprocess",
                *(["--simulation"] if options.simulated_clients else []),
                "--disable-runtime-dependency-installation",
            ],
            options.log,
            self._env,
        )  # fmt: skip
        if warm:
            flower.warm_up()
        deadline = time.monotonic() + START_SECONDS
        while not processes.healthy(options.local_host, options.port, options.root_certificates):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise FederationError(
                    f"the SuperLink did not start; the end of {options.log} says:\n"
                    + processes.last_lines(options.log, 5)
                )
            time.sleep(0.1)
        if warm:
            me = os.getpid()
            address = f"{options.local_host}:{options.port}"
            self._forks = [
                processes.fork(
                    lambda: flower.run_executor(address, options.root_certificates, me),
                    options.log,
                    self._env,
                )
            ]
        if options.credentials:
            self._register(options.credentials.node_keys)

    def _register(self, keys: tuple[Path, ...]) -> None:
        """Register the nodes that may join, and tell the ServerApp which they are.

        Whoever holds the CA certificate can register further keys through Flower's control
        interface, which asks for no identity; the ServerApp turns such nodes away.
        """
        answers = [
            self._flwr("supernode", "register", str(key), CONNECTION, "--format", "json") for key in keys
        ]
        nodes = [int(json.loads(answer)["node-id"]) for answer in answers]
        Path(self._env[NODES_FILE]).write_text(json.dumps(nodes))

    def _credentials(self) -> list[str]:
        credentials = self.options.credentials
        if credentials is None:
            return ["--insecure"]
        return [
            "--ssl-ca-certfile", str(credentials.ca),
            "--ssl-certfile", str(credentials.certificate),
            "--ssl-keyfile", str(credentials.key),
            "--enable-supernode-auth",
        ]  # fmt: skip

    def _write_connection(self) -> None:
        home = Path(self._env["FLWR_HOME"])
        home.mkdir(parents=True, exist_ok=True)
        security = (
            f"root-certificates = {json.dumps(self.options.root_certificates)}"
            if self.options.credentials
            else "insecure = true"
        )
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
            f'address = "{self.options.local_host}:{self.options.port}"\n{security}\n'
        )

    def _flwr(self, *arguments: str) -> str:
        done = subprocess.run(
            [processes.program("flwr"), *arguments],
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        with self.options.log.open("a") as log:
            log.write(f"$ flwr {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[-400:]
            raise FederationError(f"`flwr {arguments[0]}` failed: {said}")
        return done.stdout
