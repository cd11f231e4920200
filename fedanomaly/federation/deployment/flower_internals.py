"""The one file that touches what Flower 1.41 does not promise; everything here has a stock fallback.

Stock Flower starts a new process and imports everything again for every message, and looks for work
every three seconds: 19 s a round for five clients with next to nothing to compute. Here one process
imports once and forks a child a task, and naps are short. Where Flower is another version, or the
system cannot fork, :func:`supported` says no and the stock programs run: slower, with the same numbers.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from typing import Any

import flwr

TESTED_VERSION = "1.41."
NAP_SECONDS = 0.2  # every look is a request: shorter naps cost more than they save on two cores
PULL_SECONDS = 10.0
NODE_HEARTBEAT_SECONDS = 10  # the least a SuperLink accepts; offline after two missed
TASK_HEARTBEAT_SECONDS = 12  # a task that sends none for two of these is reported as dead


def supported() -> bool:
    """Return whether this Flower and this system can run warm (``FEDANOMALY_STOCK=1`` says no)."""
    return (
        flwr.__version__.startswith(TESTED_VERSION)
        and hasattr(os, "fork")
        and os.environ.get("FEDANOMALY_STOCK") != "1"
    )


class _ShortNaps:
    """Stands in for the ``time`` module where Flower sleeps for seconds between looks for work."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, NAP_SECONDS))


def run_supernode(arguments: list[str]) -> None:
    """Become a SuperNode with short naps and short heartbeats; never returns normally."""
    from flwr.supercore import heartbeat
    from flwr.supercore.corestate import in_memory_corestate
    from flwr.supernode import fleet_http_connection, start_client_internal
    from flwr.supernode.cli import flower_supernode

    start_client_internal.time = _ShortNaps()  # type: ignore[assignment, attr-defined]
    fleet_http_connection.HEARTBEAT_DEFAULT_INTERVAL = NODE_HEARTBEAT_SECONDS  # type: ignore[attr-defined]
    heartbeat.HEARTBEAT_DEFAULT_INTERVAL = TASK_HEARTBEAT_SECONDS  # type: ignore[attr-defined]
    in_memory_corestate.HEARTBEAT_DEFAULT_INTERVAL = TASK_HEARTBEAT_SECONDS  # type: ignore[attr-defined]
    sys.argv = ["flower-supernode", *arguments]
    flower_supernode()


class _ForkExecutor:
    """Runs every task in a forked child of a process that has imported everything already."""

    def __init__(self) -> None:
        self._children: set[int] = set()

    def get_eligible_capacity(self, task_types: set[Any], **_: Any) -> tuple[set[Any], set[str]]:
        return task_types, set()

    def wait_for_capacity(self, *_: Any, **__: Any) -> None:
        return

    def launch(self, spec: Any) -> Any:
        from flwr.supercore.superexec.executor import LaunchResult

        child = os.fork()
        if child == 0:
            _run_task(spec)
        self._children.add(child)
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        for child in list(self._children):
            if os.waitpid(child, os.WNOHANG)[0]:
                self._children.discard(child)

    def close(self) -> None:
        for child in self._children:
            try:
                os.kill(child, signal.SIGTERM)
            except ProcessLookupError:
                continue


def _install_once(install: Any) -> Any:
    """Return Flower's ``install_from_fab`` without the unpacking of a bundle that is there already."""
    import hashlib

    from flwr.common.constant import APP_DIR, FAB_HASH_TRUNCATION
    from flwr.supercore.utils import get_flwr_home

    def wrapped(bundle: bytes, *arguments: Any, **options: Any) -> Any:
        digest = hashlib.sha256(bundle).hexdigest()[:FAB_HASH_TRUNCATION]
        installed = list((get_flwr_home() / APP_DIR).glob(f"*.{digest}/pyproject.toml"))
        return installed[0].parent if installed else install(bundle, *arguments, **options)

    return wrapped


def _run_task(spec: Any) -> None:
    """Run one ServerApp or ClientApp task, then leave without the parent's exit handlers."""
    from queue import Queue

    from flwr.supercore.constant import TaskType

    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        certificates = None
        if spec.root_certificates_path:
            with open(spec.root_certificates_path, "rb") as file:  # noqa: PTH123
                certificates = file.read()
        common = {
            "runtime_api_address": spec.runtime_api_address,
            "token": spec.token,
            "insecure": spec.insecure,
            "certificates": certificates,
            "parent_pid": os.getppid(),
            "runtime_dependency_install": False,
        }
        if spec.task_type == TaskType.SERVER_APP:
            from flwr.superlink.grid import http_grid
            from flwr.superlink.runtime.run_serverapp import run_serverapp

            # a client that stops in the middle of an upload must not hold the others up for minutes
            pull = http_grid.pull_objects  # type: ignore[attr-defined]
            http_grid.pull_objects = partial(pull, max_time=PULL_SECONDS)  # type: ignore[attr-defined]
            run_serverapp(log_queue=Queue(), **common)
        else:
            from flwr.supernode.runtime import run_clientapp

            install = run_clientapp.install_from_fab  # type: ignore[attr-defined]
            run_clientapp.install_from_fab = _install_once(install)  # type: ignore[attr-defined]
            run_clientapp.run_clientapp(**common)
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run_executor(runtime_api_address: str, root_certificates: str | None, parent_pid: int) -> None:
    """Become the process that runs tasks for a SuperNode or SuperLink; never returns normally."""
    from flwr.supercore.superexec import run_superexec as module

    os.environ.setdefault("FLWR_SUPEREXEC_TASK_POLL_INTERVAL", str(NAP_SECONDS))
    setattr(module, "get_executor", lambda *_, **__: _ForkExecutor())  # noqa: B010
    module.run_superexec(
        runtime_api_address=runtime_api_address,
        insecure=root_certificates is None,
        root_certificates_path=root_certificates,
        parent_pid=parent_pid,
    )


def activated(log: str) -> bool:
    """Return whether a SuperNode's log says that the SuperLink let it in."""
    return "SuperNode ID:" in log


def warm_up() -> None:
    """Import what every task needs, before the first fork."""
    import flwr.supercore.superexec.run_superexec
    import flwr.supernode.runtime.run_clientapp  # noqa: F401


def watch_parent(parent_pid: int) -> None:
    """End this process when its parent is gone."""
    from flwr.supercore.app_utils import start_parent_process_monitor

    start_parent_process_monitor(parent_pid)
