"""What ``server.py`` does as a program: the local engine here, or a SuperLink and what it says."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flwr.clientapp import ClientApp
from rich.console import Console

from fedanomaly.core.errors import FederationError, UserError
from fedanomaly.experiment.folder import COMPLETED, INTERRUPTED, RUNNING, default_folder, mark_interrupted
from fedanomaly.experiment.job import preflight
from fedanomaly.experiment.live import DownloadBar, LiveView
from fedanomaly.experiment.narrator import follow
from fedanomaly.experiment.options import LaunchOptions, read_options
from fedanomaly.experiment.program import guarded, state_folder
from fedanomaly.experiment.report import write_run_report
from fedanomaly.experiment.run import run_config
from fedanomaly.experiment.server_app import DONE, PROGRESS
from fedanomaly.federation.client_app import make_client_app
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.deployment.credentials import ServerCredentials
from fedanomaly.federation.deployment.superlink import LinkOptions, SuperLink
from fedanomaly.federation.layout import DOWNLOAD_PROGRESS
from fedanomaly.federation.plan import make_plan

SILENCE_SECONDS = 15.0


def serve(
    argv: Sequence[str] | None, app_dir: Path, client_app: Callable[[], ClientApp] = make_client_app
) -> int:
    """Run ``server.py`` with these arguments; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _serve(arguments, app_dir, client_app), "--debug" in arguments)


def _serve(argv: Sequence[str], app_dir: Path, client_app: Callable[[], ClientApp]) -> int:
    config, launch = read_options(argv)
    config = _absolute(config)
    console = Console()
    DOWNLOAD_PROGRESS.set(DownloadBar(console))
    if launch.engine == "local":
        with LiveView(console, config.rounds, _title(config)) as view:
            try:
                run_config(
                    config,
                    view,
                    client_app(),
                    workers=launch.workers,
                    exact_bytes=launch.exact_bytes,
                )
            except KeyboardInterrupt:
                _finish_interrupted(Path(config.out))
                raise
        return _conclude(Path(config.out), console)
    return _deploy(config, launch, app_dir, console)


def _absolute(config: RunConfig) -> RunConfig:
    """Apps run in other folders: paths must not depend on where one stands."""
    out = Path(config.out) if config.out else default_folder(config)
    path = str(Path(config.data_path).expanduser().resolve()) if config.data_path else ""
    return replace(config, out=str(out.expanduser().resolve()), data_path=path)


# -- deployment -----------------------------------------------------------------------------------


def _deploy(config: RunConfig, launch: LaunchOptions, app_dir: Path, console: Console) -> int:
    credentials = ServerCredentials.read(Path(launch.credentials)) if launch.credentials else None
    if (Path(config.out) / "config.toml").exists():
        raise UserError(f"{config.out} holds a run already; choose another --out")
    simulated = config.clients if launch.engine == "ray" else 0
    if simulated and find_spec("ray") is None:
        raise UserError("--engine ray needs Ray; install it with: pip install 'flwr[simulation]==1.41.0'")
    state = state_folder(app_dir, launch.port)
    options = LinkOptions(launch.host, launch.port, state, credentials, simulated)
    preflight(config)
    with SuperLink(options) as link:
        if simulated:
            console.print(f"Flower simulates {simulated} clients on Ray", highlight=False)
        else:
            console.print(
                f"server is up at {launch.host}:{launch.port}; it waits for {config.clients} clients: "
                f"python run_clients.py --clients {config.clients}" + _address(launch),
                highlight=False,
                soft_wrap=True,
            )
        link.submit(app_dir, config.to_run_config())
        try:
            with LiveView(console, config.rounds, _title(config)) as view:
                _show(Path(config.out), view, link)
        except BaseException as error:
            stopped = not isinstance(error, Exception) and _summary(Path(config.out)).get("status") == RUNNING
            link.stop()
            _finish_interrupted(Path(config.out), stopped)
            raise
    return _conclude(Path(config.out), console)


def _address(launch: LaunchOptions) -> str:
    """Return the options with which clients reach this server, where they are not the defaults."""
    default = LaunchOptions()
    given = {"host": launch.host, "port": launch.port, "credentials": launch.credentials}
    return "".join(f" --{name} {value}" for name, value in given.items() if value != getattr(default, name))


def _show(out: Path, view: LiveView, link: SuperLink) -> None:
    """Show progress until the ServerApp has written how the run ended."""
    heard = time.monotonic()
    for fact in follow(out / PROGRESS):
        if fact is not None:
            if fact["kind"] == DONE:
                return
            view(fact)
            heard = time.monotonic()
            continue
        if trouble := link.trouble():
            raise FederationError(trouble)
        if time.monotonic() - heard > SILENCE_SECONDS:
            heard = time.monotonic()
            if (ended := link.run_ended()) and _summary(out).get("status", RUNNING) == RUNNING:
                raise FederationError(
                    f"the ServerApp ended ({ended}) without results; see {link.options.log}"
                )
        view.tick()
        time.sleep(0.1)


def _finish_interrupted(out: Path, failed_since: bool = False) -> None:
    mark_interrupted(out, failed_since)
    (out / PROGRESS).unlink(missing_ok=True)
    if _summary(out).get("status") == INTERRUPTED:
        write_run_report(out)


def _conclude(out: Path, console: Console) -> int:
    (out / PROGRESS).unlink(missing_ok=True)
    summary = _summary(out)
    if summary.get("status") != COMPLETED:
        console.print(
            f"the run {summary.get('status', 'failed')}: {summary.get('reason', '')}",
            style="red",
            soft_wrap=True,
        )
        console.print(f"results so far: {out}", highlight=False, soft_wrap=True)
        return 1
    metrics = summary["metrics"]
    figures = ", ".join(f"{name} {_figure(metrics[name])}" for name in ("precision", "recall", "accuracy"))
    console.print(
        f"done: {figures} (flag nothing: accuracy {_figure(metrics['accuracy_flag_nothing'])})",
        highlight=False,
        soft_wrap=True,
    )
    for warning in summary["warnings"]:
        console.print(f"note: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {out / 'report.md'}", highlight=False, soft_wrap=True)
    return 0


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _summary(out: Path) -> dict[str, Any]:
    path = out / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _title(config: RunConfig) -> str:
    plan = make_plan(config)
    way = plan.aggregation.name + (f" by {plan.strategy}" if plan.strategy else "")
    made_up = " (generated rows)" if config.data in ("synthetic", "payments") else ""
    return f"{plan.detector.name}, {way}, {config.data}{made_up}, partition {config.partition}"
