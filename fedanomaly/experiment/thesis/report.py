"""The reproduction as tables and pictures: every claim with its verdict, every fault with its effect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.evaluation import Interval, mean_interval, paired_difference
from fedanomaly.evaluation.markdown import table
from fedanomaly.experiment.thesis.claims import CLAIMS, FAULT, Claim, over_seeds, verdict
from fedanomaly.experiment.thesis.published import DETECTORS, Faults
from fedanomaly.experiment.thesis.reproduce import CORRECTED, NOTHING_AGGREGATED, PUBLISHED, results_of

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = ("precision", "recall", "accuracy", "average_precision")
_EFFECTS = {
    "cleaning": "zero destination balances taken for missing values, rows dropped",
    "overlapping_frauds": "every client draws from all frauds",
    "smote_before_split": "SMOTE before the split: synthetic frauds in the test rows",
    "scaling_before_split": "scaler fitted on the test rows as well",
    "impossible_test": "scores compared with a constant that all or none of them pass",
    NOTHING_AGGREGATED: "nothing aggregated: each client refits alone",
}


@dataclass(frozen=True)
class Finding:
    """A claim, measured.

    Attributes
    ----------
    claim : Claim
        The claim.
    as_published, corrected : Interval
        Its figure in both procedures, over seeds.
    verdict : str
        ``holds``, ``holds only through a fault``, ``does not hold``.
    faults : tuple of str
        Faults each of which, mended alone, ends the claim (for the second verdict).
    """

    claim: Claim
    as_published: Interval
    corrected: Interval
    verdict: str
    faults: tuple[str, ...] = ()


def findings(frame: pd.DataFrame) -> list[Finding]:
    """Return every claim with its verdict."""
    published, corrected = results_of(frame, PUBLISHED), results_of(frame, CORRECTED)
    found = []
    for claim in CLAIMS:
        before, after = over_seeds(claim, published), over_seeds(claim, corrected)
        said = verdict(claim, before, after)
        guilty: tuple[str, ...] = ()
        if said == FAULT:
            guilty = tuple(
                name
                for name in Faults.names()
                if not claim.holds(over_seeds(claim, results_of(frame, PUBLISHED, name)))
            )
        found.append(Finding(claim, before, after, said, guilty))
    return found


def claims_table(found: list[Finding]) -> str:
    """Return the claims as a Markdown table."""
    rows = [
        {
            "published claim": item.claim.published,
            "measured": item.claim.figure,
            "as published": _text(item.as_published),
            "corrected": _text(item.corrected),
            "verdict": item.verdict + (f" ({', '.join(map(_plain, item.faults))})" if item.faults else ""),
        }
        for item in found
    ]
    return table(list(rows[0]), [list(row.values()) for row in rows])


def faults_table(frame: pd.DataFrame) -> str:
    """Return what each fault alone does to the mended procedure (uneven split), as a Markdown table."""
    rows = []
    for name, what in _EFFECTS.items():
        for detector in DETECTORS:
            row = {"fault": what, "detector": detector}
            for metric in _SHOWN:
                on, off = _switched(frame, name, detector, metric)
                row[metric] = f"{_figure(off)} -> {_figure(on)}"
            rows.append(row)
    return table(list(rows[0]), [list(row.values()) for row in rows])


def _switched(frame: pd.DataFrame, name: str, detector: str, metric: str) -> tuple[float, float]:
    """Return a metric with a fault and without it, averaged over the seeds."""
    alone = NOTHING_AGGREGATED
    off_fault = "" if name == alone else alone  # without aggregation as well, so that one thing differs
    on, off = (_last_round(frame, CORRECTED, fault, detector, metric).mean() for fault in (name, off_fault))
    return float(on), float(off)


def _last_round(frame: pd.DataFrame, procedure: str, fault: str, detector: str, metric: str) -> np.ndarray:
    chosen = frame[
        (frame["procedure"] == procedure)
        & (frame["fault"] == fault)
        & (frame["detector"] == detector)
        & (frame["split"] == "uneven")
        & (frame["metric"] == metric)
    ]
    last = chosen.sort_values("round").groupby("seed")["value"].last()
    return np.asarray(last, dtype=np.float64)


def aggregation_effect(frame: pd.DataFrame) -> Interval:
    """Return what aggregating is worth: the forest's average precision, federated minus alone."""
    federated, alone = (
        _last_round(frame, CORRECTED, fault, "isolation-forest", "average_precision")
        for fault in ("", NOTHING_AGGREGATED)
    )
    return paired_difference(federated, alone)


def metrics_over_rounds(frame: pd.DataFrame, path: Path, metric: str, title: str) -> Path:
    """Draw the forest's metric over the rounds, both splits and procedures, with intervals."""
    from fedanomaly.evaluation.plots.theme import LINES, picture

    with picture(path, (10.0, 4.0), columns=2, sharey=True) as (_, axes):
        for ax, procedure in zip(axes, (PUBLISHED, CORRECTED), strict=True):
            for split, line in zip(("even", "uneven"), LINES, strict=False):
                chosen = frame[
                    (frame["procedure"] == procedure)
                    & (frame["fault"] == "")
                    & (frame["detector"] == "isolation-forest")
                    & (frame["split"] == split)
                    & (frame["metric"] == metric)
                ]
                spread = [mean_interval(part["value"].to_numpy()) for _, part in chosen.groupby("round")]
                rounds = np.arange(1, len(spread) + 1)
                ax.plot(rounds, [one.mean for one in spread], label=f"{split} split", **line)
                ax.fill_between(
                    rounds,
                    [one.low for one in spread],
                    [one.high for one in spread],
                    color=line["color"],
                    alpha=0.15,
                    linewidth=0,
                )
            ax.set_title(procedure)
            ax.set_xlabel("round")
            ax.set_xticks(rounds)
        axes[0].set_ylabel(f"{title} (95 % interval over seeds)")
        axes[0].legend()
    return path


def write_thesis_report(frame: pd.DataFrame, folder: Path) -> Path:
    """Write ``thesis.parquet``, the tables and the pictures into a folder; return ``claims.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(folder / "thesis.parquet", index=False)
    found = findings(frame)
    worth = aggregation_effect(frame)
    seeds = frame["seed"].nunique()
    text = (
        f"# The thesis, as published and corrected\n\nIsolation forest, one-class SVM and LOF, five clients, "
        f"ten rounds, {seeds} seeds; figures are means with 95 % intervals over seeds.\n\n"
        f"## Claims\n\n{claims_table(found)}\n\n"
        f"## What each fault does\n\nThe procedure without a fault (nothing aggregated) -> with this one "
        f"alone; uneven split, means over seeds.\n\n{faults_table(frame)}\n\n"
        f"Aggregating the forest is worth {_text(worth)} of average precision over refitting alone.\n\n"
        f"![Average precision of the forest over the rounds](average_precision.png)\n\n"
        f"![F1 of the forest over the rounds](f1.png)\n"
    )
    (folder / "claims.md").write_text(text, encoding="utf-8")
    metrics_over_rounds(frame, folder / "average_precision.png", "average_precision", "average precision")
    metrics_over_rounds(frame, folder / "f1.png", "f1", "F1")
    return folder / "claims.md"


def _text(interval: Interval) -> str:
    if np.isnan(interval.mean):
        return "undefined"
    return f"{_figure(interval.mean)} [{_figure(interval.low)}, {_figure(interval.high)}]"


def _figure(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"


def _plain(name: str) -> str:
    return name.replace("_", " ")
