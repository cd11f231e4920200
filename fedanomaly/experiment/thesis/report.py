"""The reproduction as tables and pictures: every claim with its verdict, every fault with its effect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.evaluation import Interval
from fedanomaly.evaluation.markdown import table
from fedanomaly.experiment.thesis.claims import CLAIMS, FAULT, Claim, over_seeds, verdict
from fedanomaly.experiment.thesis.effects import aggregation_effect, faults_table, figure
from fedanomaly.experiment.thesis.pictures import fault_effects, metrics_over_rounds
from fedanomaly.experiment.thesis.published import Faults
from fedanomaly.experiment.thesis.reproduce import CORRECTED, PUBLISHED, results_of

if TYPE_CHECKING:
    import pandas as pd


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
        f"alone, one fit on either side with the same seeds; uneven split, means over seeds.\n\n"
        f"{faults_table(frame)}\n\n![What each fault does](faults.png)\n\n"
        f"Aggregating the forest is worth {_text(worth)} of average precision over refitting alone.\n\n"
        f"![Average precision of the forest over the rounds](average_precision.png)\n\n"
        f"![F1 of the forest over the rounds](f1.png)\n"
    )
    (folder / "claims.md").write_text(text, encoding="utf-8")
    fault_effects(frame, folder / "faults.png")
    metrics_over_rounds(frame, folder / "average_precision.png", "average_precision", "average precision")
    metrics_over_rounds(frame, folder / "f1.png", "f1", "F1")
    return folder / "claims.md"


def _text(interval: Interval) -> str:
    if np.isnan(interval.mean):
        return "undefined"
    return f"{figure(interval.mean)} [{figure(interval.low)}, {figure(interval.high)}]"


def _plain(name: str) -> str:
    return name.replace("_", " ")
