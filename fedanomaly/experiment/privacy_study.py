"""``privacy-study``: what differential privacy costs: detection quality against epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.grid import View, run_grid
from fedanomaly.experiment.robustness import by_options, draw, interval_rows, options_of
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.plan import make_plan

if TYPE_CHECKING:
    import pandas as pd

EPSILONS = (0.3, 1.0, 3.0, 10.0, 30.0)
DETECTORS = ("mahalanobis", "pca", "ecod", "one-class-svm:nystrom-mean")
"""Detectors, with their aggregation where it is not the default."""


def privacy_cells(
    base: RunConfig, detectors: Sequence[str], epsilons: Sequence[float], seeds: int
) -> dict[tuple[str, float, int], RunConfig]:
    """Return the configuration of every detector, epsilon (infinite: without noise) and seed.

    Where the detector's own scaling cannot be private, ``grid`` takes its place, with noise and without.
    """
    cells = {}
    for name in detectors:
        detector, _, aggregation = name.partition(":")
        plain = replace(base, detector=detector, aggregation=aggregation, dp_epsilon=0.0)
        if not base.scaling and not _can_be_private(plain, epsilons[0]):
            plain = replace(plain, scaling="grid")
        for epsilon in (*epsilons, math.inf):
            private = plain if math.isinf(epsilon) else replace(plain, dp_epsilon=epsilon)
            make_plan(private)  # refuses what cannot be private
            for seed in range(base.seed, base.seed + seeds):
                cells[name, epsilon, seed] = replace(private, seed=seed)
    return cells


def _can_be_private(config: RunConfig, epsilon: float) -> bool:
    try:
        make_plan(replace(config, dp_epsilon=epsilon))
    except UserError:
        return False
    return True


def privacy_study(
    base: RunConfig,
    folder: Path,
    *,
    detectors: Sequence[str] = DETECTORS,
    epsilons: Sequence[float] = EPSILONS,
    seeds: int = 5,
    workers: int | None = None,
    view: View | None = None,
) -> pd.DataFrame:
    """Run the study and leave its table and pictures in ``folder``.

    Returns
    -------
    pandas.DataFrame
        One row a detector, epsilon and metric: ``detector``, ``epsilon`` (infinite: no noise),
        ``delta``, ``metric``, ``mean``, ``low``, ``high``, ``n``. The same as ``privacy-study.csv``.
    """
    import pandas as pd

    cells = privacy_cells(base, detectors, epsilons, seeds)
    frame = run_grid(cells.values(), folder / "privacy-study-runs.parquet", workers=workers, view=view)
    figures = by_options(frame)
    rows: list[dict[str, object]] = []
    for name in detectors:
        for epsilon in (*epsilons, math.inf):
            runs = [
                figures.get(options_of(cells[name, epsilon, seed]), {})
                for seed in range(base.seed, base.seed + seeds)
            ]
            facts = {"detector": name, "epsilon": epsilon, "delta": base.dp_delta}
            rows += [{**facts, **row} for row in interval_rows(runs)]
    table = pd.DataFrame(rows)
    table.to_csv(folder / "privacy-study.csv", index=False)
    points = table.assign(panel=table["detector"], line="all clients", x=table["epsilon"])
    draw(points, folder, "privacy-study", f"epsilon (delta {base.dp_delta:g})", logarithmic=True)
    return table
