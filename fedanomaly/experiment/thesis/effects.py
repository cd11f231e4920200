"""What each fault does: the same rows, splits and refits, once with it and once without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.evaluation import Interval, mean_interval, paired_difference
from fedanomaly.evaluation.markdown import table
from fedanomaly.experiment.thesis.published import DETECTORS
from fedanomaly.experiment.thesis.reproduce import CORRECTED, NOTHING_AGGREGATED

if TYPE_CHECKING:
    import pandas as pd

FAULTS = {
    "cleaning": "zero destination balances taken for missing values, rows dropped",
    "overlapping_frauds": "every client draws from all frauds",
    "smote_before_split": "SMOTE before the split: synthetic frauds in the test rows",
    "scaling_before_split": "scaler fitted on the test rows as well",
    "impossible_test": "scores compared with a constant that all or none of them pass",
    NOTHING_AGGREGATED: "nothing aggregated: each client refits alone",
}
"""Every fault, and what it is."""

_SHOWN = ("precision", "recall", "accuracy", "average_precision")


@dataclass(frozen=True)
class Effect:
    """What a fault does to a metric of a detector (uneven split).

    Attributes
    ----------
    off, on : Interval
        The metric without the fault and with it, over seeds.
    change : Interval
        ``on - off``, paired by seed.
    """

    off: Interval
    on: Interval
    change: Interval


def effect(frame: pd.DataFrame, fault: str, detector: str, metric: str) -> Effect:
    """Return what one fault alone does to the procedure without faults.

    Nothing is aggregated on either side, and both fit once with the same seeds, so that one thing
    differs; for ``nothing_aggregated`` itself the other side is the federation after its last round.
    """
    last = fault == NOTHING_AGGREGATED
    off = _by_seed(frame, "" if last else NOTHING_AGGREGATED, detector, metric, last)
    on = _by_seed(frame, fault, detector, metric, last)
    return Effect(mean_interval(off), mean_interval(on), paired_difference(on, off))


def aggregation_effect(frame: pd.DataFrame) -> Interval:
    """Return what aggregating is worth: the forest's average precision, federated minus alone."""
    alone = effect(frame, NOTHING_AGGREGATED, "isolation-forest", "average_precision").change
    return Interval(-alone.mean, -alone.high, -alone.low, alone.n, alone.confidence)


def faults_table(frame: pd.DataFrame) -> str:
    """Return what each fault alone does to the mended procedure, as a Markdown table."""
    rows = []
    for fault, what in FAULTS.items():
        for detector in DETECTORS:
            row = {"fault": what, "detector": detector}
            for metric in _SHOWN:
                found = effect(frame, fault, detector, metric)
                row[metric] = f"{figure(found.off.mean)} -> {figure(found.on.mean)}"
            rows.append(row)
    return table(list(rows[0]), [list(row.values()) for row in rows])


def changes_table(frame: pd.DataFrame, metric: str) -> str:
    """Return by how much each fault changes a metric, paired by seed with intervals, as a Markdown table."""
    header = ["fault", *DETECTORS]
    rows = []
    for fault in FAULTS:
        changes = (effect(frame, fault, detector, metric).change for detector in DETECTORS)
        rows.append(
            [
                fault.replace("_", " "),
                *(f"{figure(one.mean)} [{figure(one.low)}, {figure(one.high)}]" for one in changes),
            ]
        )
    return table(header, rows)


def figure(value: float) -> str:
    """Return a number as the tables show it."""
    return "undefined" if np.isnan(value) else f"{value:.3f}"


def _by_seed(frame: pd.DataFrame, fault: str, detector: str, metric: str, last: bool) -> np.ndarray:
    """Return a metric after the first or the last round, one value a seed."""
    chosen = frame[
        (frame["procedure"] == CORRECTED)
        & (frame["fault"] == fault)
        & (frame["detector"] == detector)
        & (frame["split"] == "uneven")
        & (frame["metric"] == metric)
    ]
    first_to_last = chosen.sort_values(["seed", "round"]).drop_duplicates(
        "seed", keep="last" if last else "first"
    )
    return first_to_last["value"].to_numpy(np.float64)  # not groupby().last(): it would skip undefined rounds
