"""Options from the command line and from TOML files; the command line wins."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from fedanomaly.core.errors import UserError
from fedanomaly.federation.config import RunConfig, dashed

DEFAULT_PORT = 8080
GROUPS = {
    "data": "data data_path rows accept_variant download",
    "detector": "detector aggregation params",
    "partition": "partition alpha fraud_ratios partition_column classes_per_client",
    "federation": "clients rounds min_clients timeout join_timeout fraction_train fraction_evaluate",
    "preparation": "train_on scaling balance balance_where balance_ratio calibration_share test_share",
    "threshold": "threshold contamination target_recall alert_budget conformal_alpha alert_cost",
    "strategies for weights": "server_learning_rate server_momentum proximal_mu malicious_clients trim",
    "attack and defence": "attack attackers defence",
    "differential privacy": "dp_epsilon dp_delta dp_row_norm dp_update_norm dp_clipping",
    "run": "references seed out name",
}


@dataclass(frozen=True)
class LaunchOptions:
    """How a run is launched; none of it changes the run's numbers.

    Attributes
    ----------
    engine : str
        ``deployment``, ``local`` or ``ray``.
    host, port : str, int
        Where the server listens.
    credentials : str
        Folder of certificates and keys; empty: no TLS.
    workers : int
        Processes of the local engine.
    exact_bytes : bool or None
        Whether the local engine measures what the wire would carry; None: up to 100 clients.
    debug : bool
        Show tracebacks and logs.
    """

    engine: str = "deployment"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    credentials: str = ""
    workers: int = 1
    exact_bytes: bool | None = None
    debug: bool = False


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print one line and leave."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help shows all options\n")


def server_parser() -> Parser:
    """Return the parser of ``server.py``."""
    parser = Parser(
        prog="server.py",
        description="Run a federation: start the server, wait for clients, train, evaluate, write results.",
        epilog="Every option can also stand in a TOML file (--config); the command line wins.",
    )
    add_run_options(parser)
    launch = parser.add_argument_group("launch")
    launch.add_argument(
        "--engine", choices=("deployment", "local", "ray"), help="what carries the messages (deployment)"
    )
    launch.add_argument(
        "--workers", type=int, metavar="N", help="processes of the local engine; no result depends on it (1)"
    )
    launch.add_argument(
        "--exact-bytes",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="local engine: count bytes as compressed for the wire (up to 100 clients)",
    )
    add_address(launch)
    launch.add_argument("--config", metavar="FILE.toml", help="read options from this file")
    launch.add_argument("--debug", action="store_true", default=None, help="show tracebacks and logs")
    return parser


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add one option for each field of :class:`RunConfig`."""
    by_name = {item.name: item for item in fields(RunConfig)}
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names.split():
            item = by_name[name]
            text = item.metadata["help"] + (f" ({item.default})" if item.default not in ("", 0) else "")
            kind = type(item.default)
            if kind is bool:
                group.add_argument(
                    dashed(name), action=argparse.BooleanOptionalAction, default=None, help=text
                )
            else:
                choices = tuple(filter(None, item.metadata["choices"])) or None
                group.add_argument(
                    dashed(name),
                    type=kind,
                    choices=choices,
                    default=None,
                    metavar=_metavar(kind, choices),
                    help=text,
                )


def add_address(parser: Any) -> None:
    """Add the options that say where the server is."""
    parser.add_argument("--host", help="address of the server (127.0.0.1)")
    parser.add_argument("--port", type=int, help=f"port of the server ({DEFAULT_PORT})")
    parser.add_argument(
        "--credentials", metavar="FOLDER", help="certificates and keys: TLS, and only known clients (off)"
    )


def read_options(argv: Sequence[str] | None) -> tuple[RunConfig, LaunchOptions]:
    """Return what ``server.py`` was asked for.

    Raises
    ------
    UserError
        If a name or value is not known.
    """
    given = {key: value for key, value in vars(server_parser().parse_args(argv)).items() if value is not None}
    file = given.pop("config", None)
    values = {**(read_toml(Path(file)) if file else {}), **given}
    launch = {item.name for item in fields(LaunchOptions)}
    options = {key: values.pop(key) for key in list(values) if key in launch}
    return RunConfig.from_mapping(values, file or "the command line"), launch_options(options)


def launch_options(values: dict[str, Any]) -> LaunchOptions:
    """Check and return launch options."""
    options = LaunchOptions(**values)
    if options.engine not in ("deployment", "local", "ray"):
        raise UserError(f"--engine must be deployment, local or ray, got {options.engine!r}")
    if not isinstance(options.workers, int) or options.workers < 1:
        raise UserError(f"--workers must be a number from 1, got {options.workers!r}")
    if options.workers > 1 and options.engine != "local":
        raise UserError(f"--workers is for --engine local, got --engine {options.engine}")
    if not isinstance(options.port, int) or not 1 <= options.port <= 65535:
        raise UserError(f"--port must be a number from 1 to 65535, got {options.port!r}")
    return options


def read_toml(path: Path) -> dict[str, Any]:
    """Return the options in a TOML file, names with underscores."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the configuration {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML file: {error}") from None
    if tables := [key for key, value in content.items() if isinstance(value, dict)]:
        raise UserError(f"{path} has a table [{tables[0]}]; options stand at the top level, name = value")
    return {key.replace("-", "_"): value for key, value in content.items()}


def _metavar(kind: type, choices: tuple[str, ...] | None) -> str | None:
    return None if choices else {int: "N", float: "X", str: "TEXT"}[kind]
