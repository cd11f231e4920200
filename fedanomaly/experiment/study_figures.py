"""A study's frame made ready to be shown: a run a row, methods and splits named, derived figures.

A metric may carry one of these words and a dot before it; each is one figure a run:

``worst_client.``, ``client_mean.``, ``client_spread.``
    Lowest, mean and standard deviation over the clients after the last round (``keep = "clients"``).
    Clients whose figure is undefined (no fraud among their test rows) are left out.
``rounds_needed.``
    The first round from which on the metric stays within .01 of its last value (``keep = "rounds"``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.study_sections import LABELS, Where
from fedanomaly.federation.config import RunConfig

if TYPE_CHECKING:
    import pandas as pd

CONVERGED = 0.01
"""How near the last value counts as converged."""

METHOD = ("detector", "aggregation", "params")
SPLIT = ("partition", "alpha", "partition_column", "fraud_ratios", "classes_per_client")
"""Options that two of the labels stand for."""

_DATA = ("data", "data_path", "rows", "accept_variant")
_COSTS = ("train_", "evaluate_", "cell_", "run_", "wall_", "memory_")
"""What a model costs depends on who holds the rows."""

_NAMES = {
    "average_precision": "average precision",
    "auroc": "AUROC",
    "f1": "F1",
    "train_seconds": "training, seconds of all clients",
    "evaluate_seconds": "evaluation, seconds of all clients",
    "cell_seconds": "processor seconds of the run",
    "run_seconds": "processor seconds of the federation",
    "wall_seconds": "seconds of the federation",
    "memory_mb": "peak memory, MB",
    "evaluate_bytes_up": "bytes sent for evaluation",
    "data_features": "number of features",
    "train_bytes_up": "bytes sent by the clients",
    "train_bytes_down": "bytes sent to the clients",
    "precision_at_k": "precision at the alert budget",
    "recall_at_k": "recall at the alert budget",
}
_DERIVED_NAMES = {
    "worst_client": "{}, worst client",
    "client_mean": "{}, mean of the clients",
    "client_spread": "{}, standard deviation over the clients",
    "rounds_needed": "rounds until {} stays within .01",
}


def metric_name(metric: str) -> str:
    """Return a metric as a reader wants it named."""
    kind, dot, own = metric.partition(".")
    if dot:
        return _DERIVED_NAMES.get(kind, kind + " {}").format(metric_name(own))
    return _NAMES.get(metric, metric.replace("_", " "))


def level_text(level: object) -> str:
    """Return a level of an axis as tables and pictures show it."""
    return f"{level:g}" if isinstance(level, float) else str(level)


def with_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the completed runs with the columns of ``LABELS``, in which only what varies is named."""
    done = frame[frame["status"] == "completed"].copy()
    with_params = done.groupby(["detector", "aggregation"])["params"].transform("nunique") > 1
    method = done["detector"] + ", " + done["aggregation"]
    done["method"] = method.where(~with_params | (done["params"] == ""), method + " (" + done["params"] + ")")
    setting = done["aggregation"].where(done["aggregation"].isin(["local", "pooled"]), "federated")
    done["setting"] = setting
    split = done["partition"].copy()
    for option, word in (
        ("alpha", "{:g}"),
        ("partition_column", "by {}"),
        ("fraud_ratios", "{}"),
        ("classes_per_client", "{}"),
    ):
        varies = done.groupby("partition")[option].transform("nunique") > 1
        split = split.where(~varies, split + " " + done[option].map(word.format))
    done["split"] = split
    return done


def final_figures(frame: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return one row a run: its last round over all clients, with derived ``metrics``.

    ``pooled`` does not depend on who holds which row: its quality stands under every split of the same
    data, though it may have been run under one; what it costs stands where it was run.
    """
    labelled = with_labels(frame)
    overall = labelled[labelled["client"] == "all"]
    last = overall[overall["round"] == overall.groupby("cell")["round"].transform("max")].copy()
    for metric in metrics:
        kind, dot, own = metric.partition(".")
        if dot:
            last[metric] = last["cell"].map(_derived(kind, own, labelled))
    return _pooled_everywhere(last, [metric for metric in metrics if "." in metric])


def figures_by_round(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a run and round, over all clients."""
    labelled = with_labels(frame)
    return _pooled_everywhere(labelled[labelled["client"] == "all"], [])


def check_metrics(frame: pd.DataFrame, metrics: Sequence[str], place: str) -> None:
    """Raise :class:`UserError` if the results do not hold a metric."""
    for metric in metrics:
        if metric.partition(".")[2] and metric.partition(".")[0] not in _DERIVED:
            raise UserError(
                f"{place}: {metric!r} is no metric; before the dot stands one of {', '.join(_DERIVED)}"
            )
        name = metric.rpartition(".")[2]
        if name not in frame or frame[name].dtype.kind not in "fiu":
            raise UserError(f"{place}: the results have no metric {name!r}")


def select(figures: pd.DataFrame, where: Where, place: str) -> pd.DataFrame:
    """Return the rows that have the values asked for."""
    chosen = figures
    for name, values in where.items():
        chosen = chosen[chosen[name].isin(values)]
    if chosen.empty:
        raise UserError(f"{place}: no completed run has {dict(where)}")
    return chosen


def options_behind(axes: Sequence[str]) -> list[str]:
    """Return axes with labels replaced by the options that they stand for."""
    meaning = dict(zip(LABELS, (METHOD, ("aggregation",), SPLIT), strict=True))
    return list(dict.fromkeys(option for axis in axes for option in meaning.get(axis, (axis,))))


def _derived(kind: str, metric: str, frame: pd.DataFrame) -> dict[str, float]:
    """Return the derived figure of each run."""
    if kind == "rounds_needed":
        overall = frame[frame["client"] == "all"]
        if overall.groupby("cell")["round"].count().max() < 2:
            raise UserError(f'{kind}.{metric} needs keep = "rounds" or "clients", and more than one round')
        return {str(cell): _rounds_needed(part, metric) for cell, part in overall.groupby("cell")}
    clients = frame[frame["client"] != "all"]
    if clients.empty:
        raise UserError(f'{kind}.{metric} needs keep = "clients"')
    last = clients[clients["round"] == clients.groupby("cell")["round"].transform("max")]
    over = _OVER_CLIENTS[kind]
    return {str(cell): over(part[metric].dropna().astype(float)) for cell, part in last.groupby("cell")}


def _rounds_needed(run: pd.DataFrame, metric: str) -> float:
    ordered = run.sort_values("round")
    values = ordered[metric].to_numpy(float)
    if np.isnan(values[-1]):
        return float("nan")
    away = np.flatnonzero(~(np.abs(values - values[-1]) <= CONVERGED))
    return float(ordered["round"].iloc[away[-1] + 1 if len(away) else 0])


_OVER_CLIENTS: dict[str, Callable[[pd.Series[float]], float]] = {
    "worst_client": lambda values: float(values.min()) if len(values) else float("nan"),
    "client_mean": lambda values: float(values.mean()) if len(values) else float("nan"),
    "client_spread": lambda values: float(values.std()) if len(values) > 1 else float("nan"),
}
_DERIVED = ("rounds_needed", *_OVER_CLIENTS)


def _pooled_everywhere(figures: pd.DataFrame, derived: Sequence[str]) -> pd.DataFrame:
    """Return the runs with those of ``pooled`` under every split, a detector's together."""
    import pandas as pd

    order = {detector: place for place, detector in enumerate(figures["detector"].unique())}
    pooled = figures[figures["aggregation"] == "pooled"]
    who = [*SPLIT, "split", "clients"]
    splits = figures[[*_DATA, *who]].drop_duplicates()
    copies = pooled.drop(columns=who).merge(splits, on=list(_DATA))
    options = [name for name in (*RunConfig.__dataclass_fields__, "round") if name in figures]
    costs = [name for name in map(str, copies) if name.startswith(_COSTS) and name not in options]
    copies = copies.assign(**dict.fromkeys([*costs, *derived], float("nan")))
    every = pd.concat([figures, copies]) if len(copies) else figures
    every = every.drop_duplicates(options, keep="first")
    return every.sort_values("detector", key=lambda names: names.map(order), kind="stable", ignore_index=True)
