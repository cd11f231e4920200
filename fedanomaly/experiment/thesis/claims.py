"""What the study claims, and whether it holds: as published, through a fault only, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedanomaly.evaluation import Interval, mean_interval
from fedanomaly.evaluation.metrics import Metrics

Results = Mapping[tuple[str, str], Sequence[Metrics]]
"""Metrics after each round, by (detector, split): one seed of one procedure."""

HOLDS, FAULT, FAILS = "holds", "holds only through a fault", "does not hold"
_SETTLED = 0.01  # a metric has converged when it stays this close to where it ends


@dataclass(frozen=True)
class Claim:
    """One published claim and how it is measured.

    Attributes
    ----------
    name : str
        Short name.
    published : str
        What the study says.
    figure : str
        What ``measure`` measures.
    measure : callable
        Takes one seed's results and returns a number.
    holds : callable
        Takes the interval over seeds.
    """

    name: str
    published: str
    figure: str
    measure: Callable[[Results], float]
    holds: Callable[[Interval], bool]


def verdict(claim: Claim, as_published: Interval, corrected: Interval) -> str:
    """Return whether a claim holds, holds only in the procedure as published, or does not hold."""
    if claim.holds(corrected):
        return HOLDS
    return FAULT if claim.holds(as_published) else FAILS


def over_seeds(claim: Claim, results: Sequence[Results]) -> Interval:
    """Return a claim's figure over seeds, with its 95 % interval."""
    return mean_interval([claim.measure(one) for one in results])


def _last(results: Results, detector: str, split: str, metric: str) -> float:
    return results[detector, split][-1][metric]


def _spread(results: Results, split: str, metric: str) -> float:
    """Return the standard deviation of a forest's metric over the rounds, undefined ones left out."""
    values = np.array([one[metric] for one in results["isolation-forest", split]])
    values = values[~np.isnan(values)]
    return float(values.std()) if len(values) else 0.0


def _settles(results: Results, split: str, metric: str) -> float:
    """Return the first round from which a forest's metric stays near its last value."""
    values = np.array([one[metric] for one in results["isolation-forest", split]])
    away = np.flatnonzero(np.abs(values - values[-1]) > _SETTLED)
    return float(away[-1] + 2 if len(away) else 1)


def _positive(interval: Interval) -> bool:
    low = interval.low if not np.isnan(interval.low) else interval.mean
    return bool(low > 0)


def _near(target: float, tolerance: float) -> Callable[[Interval], bool]:
    return lambda interval: bool(abs(interval.mean - target) <= tolerance)


def _best_other(results: Results, metric: str) -> float:
    """Return by how much the one-class SVM leads the better of the other two, on average over the splits."""
    margins = []
    for split in ("even", "uneven"):
        others = max(_last(results, other, split, metric) for other in ("isolation-forest", "lof"))
        margins.append(_last(results, "one-class-svm", split, metric) - others)
    return float(np.mean(margins))


def _forest_mean(results: Results, metric: str) -> float:
    return float(np.mean([_last(results, "isolation-forest", split, metric) for split in ("even", "uneven")]))


def _svm_mean(results: Results, metric: str) -> float:
    return float(np.mean([_last(results, "one-class-svm", split, metric) for split in ("even", "uneven")]))


CLAIMS = (
    Claim(
        "even split unstable",
        "with the even split the metrics jump from round to round, with the uneven split they do not",
        "sd of F1 over the rounds, even minus uneven (forest)",
        lambda r: _spread(r, "even", "f1") - _spread(r, "uneven", "f1"),
        _positive,
    ),
    Claim(
        "even split unstable, ranking",
        "the same, without a threshold's influence",
        "sd of average precision over the rounds, even minus uneven (forest)",
        lambda r: _spread(r, "even", "average_precision") - _spread(r, "uneven", "average_precision"),
        _positive,
    ),
    Claim(
        "uneven split converges faster",
        "with the uneven split fewer rounds are needed",
        "rounds until AUROC stays within .01 of its end, even minus uneven (forest)",
        lambda r: _settles(r, "even", "auroc") - _settles(r, "uneven", "auroc"),
        _positive,
    ),
    Claim(
        "one-class SVM most accurate",
        "the one-class SVM has the highest accuracy of the three",
        "accuracy of the one-class SVM minus the better of forest and LOF",
        lambda r: _best_other(r, "accuracy"),
        _positive,
    ),
    Claim(
        "accuracy .85",
        "the one-class SVM reaches an accuracy of .85",
        "accuracy of the one-class SVM",
        lambda r: _svm_mean(r, "accuracy"),
        _near(0.85, 0.03),
    ),
    Claim(
        "forest finds every fraud",
        "the isolation forest reaches recall 1.0",
        "recall of the forest",
        lambda r: _forest_mean(r, "recall"),
        lambda interval: interval.mean >= 0.995,
    ),
    Claim(
        "precision .375",
        "at that recall the forest's precision is .375 (printed in the notebook)",
        "precision of the forest",
        lambda r: _forest_mean(r, "precision"),
        _near(0.375, 0.02),
    ),
    Claim(
        "federation costs quality",
        "federated training keeps privacy at the cost of some quality",
        "average precision of the forest, pooled minus federated",
        lambda r: float(
            np.mean(
                [_last(r, "pooled", split, "average_precision") for split in ("even", "uneven")]
                + [-_last(r, "isolation-forest", split, "average_precision") for split in ("even", "uneven")]
            )
            * 2
        ),
        _positive,
    ),
    Claim(
        "pooled forest, ROC .88",
        "a pooled isolation forest has an AUROC of .88 on PaySim",
        "AUROC of the pooled forest",
        lambda r: float(np.mean([_last(r, "pooled", split, "auroc") for split in ("even", "uneven")])),
        _near(0.88, 0.03),
    ),
    Claim(
        "naive amount, ROC .79",
        "ranking by amount alone has an AUROC of .79 on PaySim",
        "AUROC of the amount",
        lambda r: float(np.mean([_last(r, "amount", split, "auroc") for split in ("even", "uneven")])),
        _near(0.79, 0.03),
    ),
)
