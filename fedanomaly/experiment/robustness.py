"""``attack-study``: how good detection is against the share of hostile clients, with and without defence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.evaluation import mean_interval
from fedanomaly.experiment.grid import View, run_grid
from fedanomaly.federation.attacks import check_attack
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.defences import Defences
from fedanomaly.federation.plan import make_plan
from fedanomaly.federation.strategies import registered as strategies

if TYPE_CHECKING:
    import pandas as pd

METRICS = {"average_precision": "average precision", "auroc": "AUROC"}
NONE = "none"
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Case:
    """One attack on one detector: a panel of the picture.

    Attributes
    ----------
    attack : str
        As ``--attack`` takes it.
    detector, aggregation : str
        What is attacked.
    defences : tuple of str
        As ``--defence`` takes them, or names of Flower strategies (for weights); ``none``.
    """

    attack: str
    detector: str
    aggregation: str
    defences: tuple[str, ...]

    @property
    def title(self) -> str:
        """What stands above the panel."""
        return f"{self.attack} on {self.detector}"


_TREES = (NONE, "bound", "bound+screen")
_WEIGHTS = (NONE, "bound+screen", "fedmedian", "krum")
CASES = (
    *(Case(attack, "isolation-forest", "union", _TREES) for attack in ("noise", "flood", "noise+inflate")),
    *(Case(attack, "isolation-forest", "union", _TREES) for attack in ("inverted-trees", "forged-trees")),
    Case("scale+inflate", "one-class-svm", "nystrom-hinge", _WEIGHTS),
)
"""What is run unless something else is asked for."""


def attack_cells(
    base: RunConfig, cases: Iterable[Case], shares: Sequence[float], seeds: int
) -> dict[tuple[Case, str, float, int], RunConfig]:
    """Return the configuration of every case, defence, share and seed.

    Without a hostile client there is no attack: such cells are the same for all attacks, and run once.
    """
    cells = {}
    for case in cases:
        for defence in case.defences:
            for share in shares:
                attacked = replace(
                    base,
                    detector=case.detector,
                    aggregation=defence if defence in strategies() else case.aggregation,
                    defence="" if defence == NONE or defence in strategies() else defence,
                    attack=case.attack if share else "",
                    attackers=share or RunConfig.attackers,
                )
                check_attack(attacked, make_plan(attacked))
                Defences(attacked)
                for seed in range(base.seed, base.seed + seeds):
                    cells[case, defence, share, seed] = replace(attacked, seed=seed)
    return cells


def attack_study(
    base: RunConfig,
    folder: Path,
    *,
    cases: Sequence[Case] = CASES,
    shares: Sequence[float] = SHARES,
    seeds: int = 5,
    workers: int | None = None,
    view: View | None = None,
) -> pd.DataFrame:
    """Run the study and leave its table and pictures in ``folder``.

    Returns
    -------
    pandas.DataFrame
        One row a case, defence, share and metric: ``attack``, ``detector``, ``defence``,
        ``attackers``, ``metric``, ``mean``, ``low``, ``high`` (95 % t interval over the seeds), ``n``
        (seeds that ended). The same as ``attack-study.csv``; every run is a row of
        ``attack-study-runs.parquet``.
    """
    import pandas as pd

    cells = attack_cells(base, cases, shares, seeds)
    frame = run_grid(cells.values(), folder / "attack-study-runs.parquet", workers=workers, view=view)
    figures = by_options(frame)
    rows: list[dict[str, object]] = []
    for case in cases:
        for defence in case.defences:
            for share in shares:
                runs = [
                    figures.get(options_of(cells[case, defence, share, seed]), {})
                    for seed in range(base.seed, base.seed + seeds)
                ]
                facts = {"attack": case.attack, "detector": case.detector, "defence": defence}
                rows += [{**facts, "attackers": share, **row} for row in interval_rows(runs)]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "attack-study.csv", index=False)
    titles = {(case.attack, case.detector): case.title for case in cases}
    points = table.assign(
        panel=[titles[key] for key in zip(table["attack"], table["detector"], strict=True)],
        line=[f"defence: {name}" for name in table["defence"]],
        x=table["attackers"],
    )
    draw(points, folder, "attack-study", "share of hostile clients")
    return table


def draw(points: pd.DataFrame, folder: Path, name: str, xlabel: str, *, logarithmic: bool = False) -> None:
    """Draw a picture a metric."""
    from fedanomaly.evaluation.plots import interval_curves

    for metric, title in METRICS.items():
        interval_curves(
            points[points["metric"] == metric],
            folder / f"{name}-{metric.replace('_', '-')}.png",
            xlabel=xlabel,
            ylabel=title,
            logarithmic=logarithmic,
        )


def interval_rows(runs: Sequence[dict[str, float]]) -> list[dict[str, object]]:
    """Return mean and interval of every metric over the seeds."""
    rows: list[dict[str, object]] = []
    for metric in METRICS:
        values = [float(run[metric]) for run in runs if run.get(metric) is not None]
        interval = mean_interval(values)
        rows.append(
            {
                "metric": metric,
                "mean": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "n": interval.n,
            }
        )
    return rows


_DECIDING = (
    *("detector", "aggregation", "attack", "attackers", "defence", "scaling"),
    *("dp_epsilon", "seed"),
)


def options_of(config: RunConfig) -> tuple[object, ...]:
    """Return the options that tell the runs of a study apart."""
    from fedanomaly.federation.plan import resolved

    whole = resolved(config)
    return tuple(getattr(whole, name) for name in _DECIDING)


def by_options(frame: pd.DataFrame) -> dict[tuple[object, ...], dict[str, float]]:
    """Return the figures of every completed run by :func:`options_of`."""
    completed = frame[frame["status"] == "completed"]
    return {
        tuple(row[name] for name in _DECIDING): {metric: row[metric] for metric in METRICS}
        for row in completed.to_dict("records")
    }
