"""Run the study, as published and corrected, on the same rows and seeds; one tidy table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from fedanomaly.core.errors import FederationError
from fedanomaly.evaluation.metrics import Metrics
from fedanomaly.experiment.thesis.claims import Results
from fedanomaly.experiment.thesis.corrected import corrected_rounds, register_rows, thesis_preset, thesis_rows
from fedanomaly.experiment.thesis.published import DETECTORS, RATIOS, ROUNDS, TREES, Faults, published_rounds
from fedanomaly.experiment.workers import Died, Processes
from fedanomaly.federation.layout import layout
from fedanomaly.prepare import TEST

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED, CORRECTED = "as published", "corrected"
NOTHING_AGGREGATED = "nothing_aggregated"
Record = dict[str, Any]


def reproduce(
    data: str = "paysim",
    *,
    rows: int = 20_000,
    data_path: str = "",
    seeds: Sequence[int] = tuple(range(10)),
    rounds: int = ROUNDS,
    trees: int = TREES,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, all_: None,
) -> pd.DataFrame:
    """Return the metrics of every procedure, detector, split, seed and round.

    Parameters
    ----------
    data : str
        ``paysim``, or any other data set.
    rows : int
        Rows to keep; the exact one-class SVM takes time that grows with their square. 0: all.
    data_path : str
        File or folder that holds the data set.
    seeds : sequence of int
        At least two, for intervals.
    rounds : int
        Rounds of each procedure; the study has ten.
    trees : int
        Of each forest in the procedure as published; the study has 100.
    workers : int
        Processes; results do not depend on it.
    progress : callable
        Told how many of all jobs are done.

    Returns
    -------
    DataFrame
        Tidy: ``procedure``, ``fault`` (which one is switched, or empty), ``detector``, ``split``,
        ``seed``, ``round``, ``metric``, ``value``.
    """
    import pandas as pd

    thesis_rows(data, rows, data_path)  # refuse, download and cache before any process starts
    work = partial(_one_seed, data, rows, data_path, rounds, trees)
    records: dict[int, list[Record]] = {}
    for seed, found in Processes(workers).each([[seed] for seed in seeds], work):
        if isinstance(found, Died):
            raise FederationError(f"the process of seed {seed} died (out of memory?); use fewer workers")
        records[seed] = found
        progress(len(records), len(seeds))
    return pd.DataFrame([record for seed in seeds for record in records[seed]])


def results_of(frame: pd.DataFrame, procedure: str, fault: str = "") -> list[Results]:
    """Return one procedure's results a seed, for the claims.

    With a switched ``fault`` only the uneven split was run; it stands for both.
    """
    import pandas as pd

    chosen = frame[(frame["procedure"] == procedure) & (frame["fault"] == fault)]
    if fault:
        whole = frame[(frame["procedure"] == procedure) & (frame["fault"] == "")]
        others = whole[whole["detector"].isin(["pooled", "amount"])]
        chosen = pd.concat([chosen, chosen.assign(split="even"), others])
    found: list[Results] = []
    for _, of_seed in chosen.groupby("seed"):
        one: dict[tuple[str, str], list[Metrics]] = {}
        for (detector, split, _), part in of_seed.groupby(["detector", "split", "round"]):
            values = dict(zip(part["metric"], part["value"], strict=True))
            one.setdefault((str(detector), str(split)), []).append(values)
        found.append(one)
    return found


def _one_seed(data: str, rows: int, data_path: str, rounds: int, trees: int, seed: int) -> list[Record]:
    table, name = _rows(data, rows, data_path)
    records: list[Record] = []

    def note(procedure: str, fault: str, detector: str, split: str, after: Sequence[Metrics]) -> None:
        for number, metrics in enumerate(after, 1):
            for metric, value in metrics.items():
                records.append(
                    {
                        "procedure": procedure,
                        "fault": fault,
                        "detector": detector,
                        "split": split,
                        "seed": seed,
                        "round": number,
                        "metric": metric,
                        "value": float(value),
                    }
                )

    for split in RATIOS:
        for detector in DETECTORS:
            as_published = partial(published_rounds, table, detector, split, seed, trees=trees)
            note(PUBLISHED, "", detector, split, as_published(rounds=rounds))
            federated = corrected_rounds(replace(thesis_preset(name, detector, split, seed), rounds=rounds))
            note(CORRECTED, "", detector, split, federated)
            for fault, faults, refits in _switches(rounds) if split == "uneven" else ():
                once = as_published(faults, refits)
                note(PUBLISHED if faults != _only(fault) else CORRECTED, fault, detector, split, once)
        pooled = corrected_rounds(thesis_preset(name, "isolation-forest", split, seed, "pooled"))
        for procedure in (PUBLISHED, CORRECTED):
            note(procedure, "", "pooled", split, pooled)
            note(procedure, "", "amount", split, [_naive_amount(name, split, seed)])
    return records


def _switches(rounds: int) -> Iterator[tuple[str, Faults, int]]:
    """Give every fault alone in the mended procedure, and every fault mended in the published one."""
    for name in Faults.names():
        yield name, _only(name), 1
        yield name, Faults().switched(name, False), 1
    yield NOTHING_AGGREGATED, Faults.none(), rounds


def _only(name: str) -> Faults:
    return Faults.none() if name == NOTHING_AGGREGATED else Faults.none().switched(name, True)


def _naive_amount(name: str, split: str, seed: int) -> Metrics:
    """Return how well the amount alone ranks the test rows of the corrected runs."""
    held = layout(thesis_preset(name, "isolation-forest", split, seed))
    test = held.folds == TEST
    y, amount = held.table.y[test], held.table.X[test, 0]
    return {
        "auroc": float(roc_auc_score(y, amount)),
        "average_precision": float(average_precision_score(y, amount)),
        "prevalence": float(np.mean(y)),
    }


@lru_cache(maxsize=1)
def _rows(data: str, rows: int, data_path: str) -> tuple[Any, str]:
    table = thesis_rows(data, rows, data_path)
    return table, register_rows(table)
