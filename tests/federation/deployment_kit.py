"""Real processes for the deployment tests: the scripts as a user starts them, in folders of their own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import fedanomaly
from fedanomaly.federation.deployment.processes import free_port

ROOT = Path(__file__).parents[2]
QUICK = ("--data", "wdbc", "--params", "n_estimators=20", "--no-references", "--join-timeout", "300")


class Federation:
    """A server and its clients on a free port; leaves nothing running."""

    def __init__(self, folder, app_dir=ROOT):
        self.folder = folder
        self.out = folder / "run"
        self.app_dir = app_dir
        self.port = free_port()
        self.started = []
        self.env = {
            **os.environ,
            "FEDANOMALY_STATE": str(folder / "state"),
            "PYTHONPATH": f"{app_dir}{os.pathsep}{ROOT}",
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start(self, script, *options):
        """Start a script in a process group of its own; its output goes to ``<script>.log``."""
        log = (self.folder / f"{script}-{len(self.started)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, str(self.app_dir / script), "--port", str(self.port), *map(str, options)],
            cwd=self.folder,
            env=self.env,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        process.log = Path(log.name)
        self.started.append(process)
        return process

    def server(self, *options):
        return self.start("server.py", *QUICK, "--out", self.out, *options)

    def clients(self, count, *options):
        return self.start("run_clients.py", "--clients", count, *options)

    def client(self, number, *options):
        return self.start("client.py", "--client-id", number, *options)

    @property
    def summary(self):
        path = self.out / "summary.json"
        return json.loads(path.read_text()) if path.exists() else {}

    @property
    def events(self):
        return [json.loads(line) for line in (self.out / "events.jsonl").read_text().splitlines()]

    def wait_for(self, what, seconds=300):
        """Wait for a condition of the outside world; fail with the logs if it does not come."""
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s in vain\n{self.logs()}")
            time.sleep(0.05)

    def wait_for_rounds(self, number):
        self.wait_for(lambda: self.summary.get("rounds", 0) >= number)

    def ended(self, process, seconds=400):
        """Return the exit code of a process that must end by itself."""
        self.wait_for(lambda: process.poll() is not None, seconds)
        return process.returncode

    def assert_equals_local_engine(self, **options):
        """Check that the local engine gives the same model and metrics from the same options."""
        local = fedanomaly.run(
            "wdbc",
            params="n_estimators=20",
            references=False,
            out=self.folder / "local",
            **options,
        ).summary
        assert self.summary["model_sha256"] == local["model_sha256"]
        assert _untimed(self.summary["metrics"]) == _untimed(local["metrics"])
        assert self.summary["per_client"].keys() == local["per_client"].keys()
        for client, metrics in self.summary["per_client"].items():
            assert _untimed(metrics) == _untimed(local["per_client"][client]), client

    def logs(self):
        return "\n".join(
            f"== {process.log.name}\n{process.log.read_text()[-3000:]}" for process in self.started
        )

    def left_running(self):
        """Return the command lines of processes that still use this federation's folder or port."""
        marks = (str(self.folder), f":{self.port}", f"--port {self.port}")
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(mark in line for mark in marks) and int(entry.name) != os.getpid():
                    found.append(line)
        return found

    def assert_all_gone(self):
        self.wait_for(lambda: not self.left_running(), 90)


def _untimed(metrics):
    """Return what must not depend on the engine (undefined values as text: NaN is unequal to itself)."""
    spent = {"seconds", "bytes_up", "bytes_down"}
    return {name: str(value) for name, value in metrics.items() if name not in spent}


def app_with(folder, anomaly):
    """Copy the Flower app to ``folder`` with another ``anomaly.py``: clients that misbehave.

    The package itself is found where it is, its compiled kernels with it.
    """
    folder.mkdir()
    for name in ("server.py", "client.py", "run_clients.py", "README.md"):
        shutil.copy(ROOT / name, folder)
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    (folder / "pyproject.toml").write_text(
        "\n".join(line for line in lines if not line.startswith("fab-include"))
    )
    (folder / "anomaly.py").write_text(anomaly)
    return folder
