"""What a benchmark shows: tables in Markdown, a critical-difference diagram, heat maps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.evaluation import Interval
from fedanomaly.evaluation.markdown import table
from fedanomaly.experiment.benchmark import REFERENCES
from fedanomaly.experiment.benchmark_results import Results, label

if TYPE_CHECKING:
    import pandas as pd

NAMES = {"average_precision": "average precision", "auroc": "AUROC"}
ENOUGH = 0.95  # of pooled: below it a loss is listed


def write_benchmark_report(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write ``benchmark.md`` and its pictures into ``folder``; return what was written."""
    results = Results(frame)
    page = folder / "benchmark.md"
    page.write_text(markdown(results), encoding="utf-8")
    return [page, *_pictures(results, folder)]


def _pictures(results: Results, folder: Path) -> list[Path]:
    from fedanomaly.evaluation.plots import critical_difference, heat_map

    what = f"{NAMES[results.metric]}, {_spans(results)}"
    drawn = []
    if results.ranks:
        path = folder / "critical-difference.png"
        drawn.append(critical_difference(results.ranks, path, title=f"Mean ranks by {what}"))
    methods = results.methods
    breaks = [place for place in range(1, len(methods)) if methods[place][0] != methods[place - 1][0]]
    for name, values, over in (
        ("partitions", results.by_partition.T, "mean over tables and seeds"),
        ("tables", results.by_table.T, "mean over partitions and seeds"),
    ):
        drawn.append(
            heat_map(
                values.to_numpy(),
                [label(method) for method in methods],
                _plain(values.columns),
                folder / f"heat-map-{name}.png",
                title=f"Mean {what}",
                label=over,
                breaks=breaks,
            )
        )
    return drawn


def markdown(results: Results) -> str:
    """Return the tables of a benchmark: what was run, every method, what federation costs, where it loses."""
    best = label(results.best)
    parts = [
        "## What was run",
        _settings(results),
        _tables(results),
        "## Every method",
        _legend(results),
        _methods(results),
        "## What federation costs",
        f"Of the best mean rank is **{best}**. Under each skew: its mean over the tables, beside what the "
        "same detector reaches on each client alone and on all rows in one place; their ratio, with a 95 % "
        "bootstrap interval over the tables; and the highest mean that any detector reaches on pooled rows.",
        _costs(results),
        f"## Where {best} stays below {ENOUGH:.0%} of pooled",
        _losses(results),
        "## Where federation is worse than being alone",
        _worse_than_alone(results),
        "## What failed",
        _failures(results),
    ]
    return "\n\n".join(parts) + "\n"


def _spans(results: Results) -> str:
    frame = results.frame
    clients, seeds = frame["clients"].iloc[0], frame["seed"].nunique()
    return f"{frame['data'].nunique()} tables, {clients} clients, {seeds} seed{'s' * (seeds != 1)}"


def _settings(results: Results) -> str:
    frame = results.frame
    first = frame.iloc[0]
    kinds = ", ".join(results.partitions)
    minutes = frame["cell_seconds"].sum() / 60
    return (
        f"{_spans(results)}, partitions {kinds} (Dirichlet alpha {first['alpha']:g}), "
        f"{len(results.federated)} federated methods: {len(frame):,} runs, {minutes:,.0f} minutes of "
        "processor time. Training rows are unlabelled (`--train-on all`). Aggregations that improve with "
        f"rounds have {frame['rounds'].max()}, all others 1. fedanomaly {first['version']}, "
        f"code `{first['code']}`, environment `{first['environment']}`."
    )


def _tables(results: Results) -> str:
    rows = []
    for name, part in results.frame[results.frame["error"] == ""].groupby("data", sort=False):
        one = part.iloc[0]
        cut = " (sample)" if one["data_rows"] == one["rows"] else ""
        prevalence = part["test_frauds"].sum() / part["test_rows"].sum()
        rows.append(
            [
                *_plain([name]),
                f"{one['data_rows']:,.0f}{cut}",
                f"{one['data_features']:.0f}",
                f"{one['data_frauds']:,.0f}",
                f"{part['test_frauds'].median():,.0f}",
                f"{prevalence:.3f}",
            ]
        )
    return table(["table", "rows", "features", "anomalies", "in the test fold", "prevalence there"], rows)


def _legend(results: Results) -> str:
    text = (
        f"Mean {NAMES[results.metric]} over tables and seeds under each partition; over all of it, with a "
        "95 % t interval over the seeds; AUROC likewise; the ratio to the same detector `pooled`, with a "
        "95 % bootstrap interval over the tables; mean rank among the federated methods (1 is best); kB that "
        "a client sends in training and seconds of processor time of a whole run (medians). `local`: every "
        "client alone."
    )
    if ranks := results.ranks:
        text += (
            f" Friedman's test over {ranks.n_tables} tables: chi-squared {ranks.statistic:.1f}, "
            f"p = {ranks.p_value:.2g}; mean ranks less than {ranks.critical_difference:.2f} apart may be "
            f"chance (Nemenyi, level {ranks.alpha:g})."
        )
    return text


def _methods(results: Results) -> str:
    frame, ranks = results.frame, results.ranks
    auroc = Results(frame, "auroc")
    ranked = dict(zip(ranks.methods, ranks.mean_ranks, strict=True)) if ranks else {}
    rows = []
    for method in results.methods:
        mine = frame[(frame["detector"] == method[0]) & (frame["aggregation"] == method[1])]
        sent = (mine["train_bytes_up"] / mine["clients"]).median() / 1000
        ratio = "" if method[1] == "pooled" else _interval(results.of_pooled(method, results.by_table), 2)
        rows.append(
            [
                label(method),
                *(_number(value) for value in results.by_partition[method]),
                _interval(results.overall(method)),
                _number(auroc.overall(method).mean),
                ratio,
                f"{ranked[label(method)]:.2f}" if label(method) in ranked else "",
                _number(sent, 1),
                _number(mine["cell_seconds"].median(), 2),
            ]
        )
    heads = ["method", *results.partitions, "all", "AUROC", "of pooled", "rank", "kB sent", "seconds"]
    return table(heads, rows)


def _costs(results: Results) -> str:
    detector, way = results.best
    rows = []
    for partition in results.partitions:
        values = results.under(partition)
        means = [_number(values[(detector, each)].mean()) for each in (way, *REFERENCES)]
        ratio = _interval(results.of_pooled(results.best, values), 2)
        pooled = {method: values[method].mean() for method in results.methods if method[1] == "pooled"}
        top = max(pooled, key=lambda method: pooled[method])
        rows.append([partition, *means, ratio, f"{_number(pooled[top])} ({top[0]})"])
    return table(["partition", way, *REFERENCES, "of pooled", "best pooled"], rows)


def _losses(results: Results) -> str:
    rows = []
    for partition in results.partitions:
        values = results.under(partition)
        ratio = values[results.best] / values[(results.best[0], "pooled")]
        behind = ratio[ratio < ENOUGH]
        named = ", ".join(
            f"{name} {ratio:.2f}" for name, ratio in zip(_plain(behind.index), behind, strict=True)
        )
        rows.append([partition, f"{len(behind)} of {len(ratio)}", named or "none"])
    return table(["partition", "tables", "ratio to pooled"], rows)


def _worse_than_alone(results: Results) -> str:
    rows = []
    for method in results.federated:
        for partition in results.partitions:
            gap = results.over_local(method, results.under(partition))
            if gap.high < 0:
                rows.append([label(method), partition, _interval(gap)])
    if not rows:
        return "Nowhere beyond chance (95 % bootstrap interval of the mean difference over the tables)."
    sentence = "Mean difference over the tables, where its 95 % bootstrap interval lies below 0:"
    return f"{sentence}\n\n{table(['method', 'partition', 'difference to local'], rows)}"


def _failures(results: Results) -> str:
    frame = results.frame
    failed, partial = frame[frame["error"] != ""], frame[frame["events"] > 0]
    if not len(failed) + len(partial):
        return "Nothing: every run was completed by all of its clients."
    sentence = f"{len(failed):,} runs failed; on a table where all its runs fail a method ranks last."
    if len(partial):
        where = ", ".join(_plain(partial["data"].unique()))
        sentence += f" In {len(partial):,} runs clients were left out, having no row to train on ({where})."
    rows = [
        [f"{detector}, {way}", len(part), ", ".join(_plain(part["data"].unique())), error]
        for (detector, way, error), part in failed.groupby(["detector", "aggregation", "error"], sort=False)
    ]
    return f"{sentence}\n\n{table(['method', 'runs', 'tables', 'why'], rows)}" if rows else sentence


def _plain(names: Iterable[object]) -> list[str]:
    return [str(name).removeprefix("adbench:") for name in names]


def _number(value: float, places: int = 3) -> str:
    return "undefined" if math.isnan(value) else f"{value:,.{places}f}"


def _interval(interval: Interval, places: int = 3) -> str:
    mean = _number(interval.mean, places)
    return mean if interval.n < 2 else f"{mean} [{interval.low:.{places}f}, {interval.high:.{places}f}]"
