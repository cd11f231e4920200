"""What each site's own model finds of the other sites' frauds: ``python -m benchmarks.site_transfer``.

Five sites that meet different types of fraud (data set ``payments``, partition ``natural``). Prints F1,
mean over ten seeds with its 95 % interval, of each site's model on each site's test rows and on all, and
writes ``transfer.csv`` and a picture a detector.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from fedanomaly.evaluation import mean_interval
from fedanomaly.evaluation.markdown import table
from fedanomaly.evaluation.plots import heat_map
from fedanomaly.experiment.transfer import EVERYWHERE, transfer
from fedanomaly.federation.config import RunConfig

SITES = ["0", "1", "2", "3", "4"]


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detectors", nargs="+", default=["logistic-regression", "gradient-boosting"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--out", type=Path, default=Path("results/site_transfer"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    frames = []
    for detector in given.detectors:
        for seed in range(given.seeds):
            config = RunConfig(
                data="payments",
                rows=given.rows,
                partition="natural",
                partition_column="site",
                clients=len(SITES),
                detector=detector,
                threshold="best-f1",
                seed=seed,
            )
            frames.append(transfer(config).assign(detector=detector))
    frame = pd.concat(frames)
    columns = ["detector", "seed", "trained", "tested", "f1", "precision", "recall", "average_precision"]
    frame[columns].to_csv(given.out / "transfer.csv", index=False, float_format="%.6f")
    for detector, part in frame.groupby("detector", sort=False):
        found = part.groupby(["trained", "tested"])["f1"]
        rows = [
            [
                f"site {one}",
                *(str(mean_interval(found.get_group((one, other)))) for other in [*SITES, EVERYWHERE]),
            ]
            for one in SITES
        ]
        print(f"\n{detector}: F1 of a site's model (row) on a site's test rows (column)")
        print(table(["trained on", *(f"site {site}" for site in SITES), "all sites"], rows))
        alone = part[part["tested"] == EVERYWHERE].groupby("seed")["f1"].mean()
        print(f"mean of the five models on all sites: {mean_interval(alone.to_numpy())}")
        heat_map(
            found.mean().unstack()[[*SITES, EVERYWHERE]].to_numpy(),
            [f"model of site {site}" for site in SITES],
            [*(f"site {site}" for site in SITES), "all"],
            given.out / f"transfer-{detector}.png",
            title=f"F1 on other sites' payments, {detector}",
            label="mean F1 over the seeds",
        )


if __name__ == "__main__":
    main()
