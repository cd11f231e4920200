"""The commands ``attack-study`` and ``privacy-study``: their options, and what they print."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.options import add_run_options
from fedanomaly.federation.config import RunConfig

SMALL = {"clients": 10, "rounds": 1, "rows": 20_000, "partition": "iid", "references": False}
"""What a study runs where nothing else is asked for: minutes, not hours."""


def add_attack_study(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``attack-study``: those of a run, and the study's own."""
    own = parser.add_argument_group("study")
    own.add_argument("--attacks", nargs="+", metavar="ATTACK", help="attacks, a panel each")
    own.add_argument(
        "--defences", nargs="+", metavar="DEFENCE", help="none, defences or Flower strategies, a line each"
    )
    own.add_argument("--shares", nargs="+", type=float, metavar="X", help="shares of hostile clients")
    _add_common(parser, own)


def add_privacy_study(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``privacy-study``."""
    own = parser.add_argument_group("study")
    own.add_argument("--detectors", nargs="+", metavar="NAME[:AGGREGATION]", help="detectors, a panel each")
    own.add_argument("--epsilons", nargs="+", type=float, metavar="X", help="budgets to try")
    _add_common(parser, own)


def _add_common(parser: argparse.ArgumentParser, own: argparse._ArgumentGroup) -> None:
    own.add_argument("--seeds", type=int, default=5, metavar="N", help="number of seeds, from --seed (5)")
    own.add_argument("--workers", type=int, metavar="N", help="processes (as many as processors)")
    add_run_options(parser)


def attack_study_command(options: argparse.Namespace, console: Console) -> int:
    """Run ``attack-study``."""
    from fedanomaly.experiment.grid_view import GridView
    from fedanomaly.experiment.robustness import CASES, NONE, SHARES, Case, attack_study
    from fedanomaly.federation.plan import resolved

    base, folder = _base(options, "attack-study")
    cases = CASES
    if options.attacks or options.defences or options.detector or options.aggregation:
        whole = resolved(base)
        attacks = options.attacks or ["noise", "flood", "noise+inflate"]
        defences = tuple(options.defences or (NONE, "bound+screen"))
        cases = tuple(Case(attack, whole.detector, whole.aggregation, defences) for attack in attacks)
    shares = tuple(sorted({0.0, *(options.shares or SHARES)}))
    if not 0 <= min(shares) <= max(shares) <= 1:
        raise UserError("--shares must be numbers from 0 to 1")
    with GridView(console, "attacks and defences") as view:
        table = attack_study(
            base,
            folder,
            cases=cases,
            shares=shares,
            seeds=_seeds(options),
            workers=options.workers,
            view=view,
        )
    return _tell(console, folder, len(table))


def privacy_study_command(options: argparse.Namespace, console: Console) -> int:
    """Run ``privacy-study``."""
    from fedanomaly.experiment.grid_view import GridView
    from fedanomaly.experiment.privacy_study import DETECTORS, EPSILONS, privacy_study

    base, folder = _base(options, "privacy-study")
    detectors = options.detectors or DETECTORS
    if options.detector and not options.detectors:
        detectors = (":".join(filter(None, (options.detector, options.aggregation))),)
    epsilons = tuple(sorted(set(options.epsilons or EPSILONS)))
    if min(epsilons) <= 0:
        raise UserError("--epsilons must be above 0")
    with GridView(console, "privacy and utility") as view:
        table = privacy_study(
            base,
            folder,
            detectors=detectors,
            epsilons=epsilons,
            seeds=_seeds(options),
            workers=options.workers,
            view=view,
        )
    return _tell(console, folder, len(table))


def _base(options: argparse.Namespace, name: str) -> tuple[RunConfig, Path]:
    known = set(RunConfig.__dataclass_fields__)
    given: Mapping[str, object] = {
        key: value for key, value in vars(options).items() if key in known and value is not None
    }
    for key in ("attack", "defence"):
        if given.get(key):
            raise UserError(f"--{key} is what the study varies; name them with --{key}s")
    folder = Path(str(given.get("out", "results/" + name)))
    folder.mkdir(parents=True, exist_ok=True)
    return RunConfig.from_mapping({**SMALL, **given, "out": ""}, "the command line"), folder


def _seeds(options: argparse.Namespace) -> int:
    if options.seeds < 1:
        raise UserError(f"--seeds must be at least 1, got {options.seeds}")
    return int(options.seeds)


def _tell(console: Console, folder: Path, rows: int) -> int:
    console.print(f"{rows} figures and the pictures: {folder}", highlight=False, soft_wrap=True)
    return 0
