"""From a run's folder to its report: nothing but the files, so it can be written again at any time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from fedanomaly.core.errors import UserError
from fedanomaly.core.floatgrid import to_keys
from fedanomaly.detectors import DETECTORS, Ensemble
from fedanomaly.evaluation import DataDescription, Finding, ReportContent, Threshold, write_report
from fedanomaly.experiment.crowd import averaged, groups, summed
from fedanomaly.experiment.folder import load_scores
from fedanomaly.experiment.model_file import open_model
from fedanomaly.experiment.references import NAMES
from fedanomaly.experiment.store import read_config, read_summary
from fedanomaly.partition import PARTITIONERS

FEDERATED = "federated"


def write_run_report(folder: Path) -> Path:
    """Write ``report.md`` and its pictures from what the folder holds; return the page's path.

    Works for a run that failed or was interrupted, with whatever it left behind.
    """
    summary, config = read_summary(folder), read_config(folder)
    metrics = _numbers(summary.get("metrics", {}))
    references = {name: _numbers(values) for name, values in summary.get("references", {}).items()}
    per_client = {name: _numbers(values) for name, values in summary.get("per_client", {}).items()}
    pictures = _pictures(folder, summary, metrics, per_client, references) if metrics else {}
    content = ReportContent(
        title=str(config.get("name") or f"{config['detector']} on {config['data']}"),
        method=_method(config, summary),
        data=_data(summary, config),
        metrics=metrics,
        per_client=per_client,
        references=references,
        status=str(summary["status"]),
        reason=str(summary.get("reason", "")),
        warnings=summary.get("warnings", ()),
        statements=[*_statements(config, summary), *_members(folder, str(config["detector"]))],
        threshold=Threshold(**summary["threshold"]) if "threshold" in summary else None,
        partition=f"{_meaning(str(config['partition']))}, {config['clients']} clients.",
        clients=[_client(client, info) for client, info in summary.get("clients", {}).items()],
        rounds=_rounds(folder),
        findings=[Finding(**finding) for finding in summary.get("leaks", ())],
        events=_events(folder),
        pictures=pictures,
        config={key: "(default)" if value == "" else value for key, value in config.items()},
        repeat=("python server.py --config config.toml --engine local --out ANOTHER_FOLDER",),
        environment=_environment(folder),
    )
    write_report(folder / "report.md", content)
    return folder / "report.md"


def _method(config: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    way = summary.get("aggregation") or config["aggregation"] or "default"
    return f"{config['detector']} ({way}), {config['clients']} clients, {summary['rounds']} rounds"


def _meaning(partition: str) -> str:
    return f"{partition} ({PARTITIONERS.get(partition).title.rstrip('.')})"


def _environment(folder: Path) -> dict[str, object]:
    known = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return {**{key: value for key, value in known.items() if key != "packages"}, **known.get("packages", {})}


def _data(summary: Mapping[str, Any], config: Mapping[str, Any]) -> DataDescription:
    known = summary.get("data", {})
    return DataDescription(
        name=str(config["data"]),
        source=known.get("source", "not known to the server"),
        rows=known.get("rows", 0),
        frauds=known.get("frauds", 0),
        features=known.get("features", 0),
        synthetic=known.get("synthetic", False),
        fingerprint=known.get("fingerprint", ""),
    )


def _statements(config: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    train_on = {
        "all": "Training rows: all, labels unused, so frauds are among them (the honest deployment case).",
        "legitimate": "Training rows: legitimate ones only, which takes labels (the novelty case).",
    }
    shares = config["calibration-share"], config["test-share"]
    supervised = "Training rows: all, with their labels, which this supervised detector learns from."
    said = [
        supervised if DETECTORS.get(str(config["detector"])).supervised else train_on[config["train-on"]],
        f"Folds: {1 - sum(shares):.0%} train, {shares[0]:.0%} calibrate, {shares[1]:.0%} test, by a keyed "
        "hash of the row and stratified by label; who holds a row does not change its fold.",
        "Scaling: none."
        if config["scaling"] == "none"
        else f"Scaling: {config['scaling']}, fitted federatedly on training rows.",
    ]
    if config["balance"] == "none":
        said.append("Balancing: none.")
    elif config["balance-where"] == "calibration":
        said.append(
            f"Balancing: {config['balance']} on the calibration rows, on which the threshold is chosen, "
            "scaled back to the true share of frauds; training and test rows are untouched."
        )
    else:
        said.append(
            f"Balancing: {config['balance']} on the TRAINING rows of every client; test rows are untouched."
        )
    return said


def _members(folder: Path, detector: str) -> list[str]:
    """Say how far the members of an ensemble agree; nothing where each client has a model of its own."""
    if detector != Ensemble.name or not (folder / "model.npz").exists():
        return []
    try:
        model = open_model(folder / "model.npz").detector
    except UserError:
        return []
    if not isinstance(model, Ensemble):
        return []
    names, weights, agreement = list(model.members_), model.member_weights(), model.agreement()
    pairs = ", ".join(
        f"{one} and {other} {agreement[i, j]:.2f}"
        for (i, one), (j, other) in combinations(enumerate(names), 2)
    )
    shares = ", ".join(f"{name} {weight:.0%}" for name, weight in zip(names, weights, strict=True))
    return [
        f"Members and their weights: {shares}. Correlation of their scores over the training rows (1: they "
        f"rank rows alike, and the ensemble adds little): {pairs}."
    ]


def _client(client: str, info: Mapping[str, Any]) -> dict[str, object]:
    held = sum(info[fold] for fold in ("train", "calibration", "test"))
    frauds = sum(info[f"{fold}_frauds"] for fold in ("train", "calibration", "test"))
    return {
        "client": client,
        "rows": held,
        "frauds": frauds,
        "fraud rate": frauds / held if held else math.nan,
        "train": info["train"],
        "calibration": info["calibration"],
        "test": info["test"],
        "test frauds": info["test_frauds"],
    }


def _rounds(folder: Path) -> list[dict[str, float]]:
    if not (folder / "rounds.parquet").exists():
        return []
    import pandas as pd

    frame = pd.read_parquet(folder / "rounds.parquet").query("client == 'all' and phase == 'evaluate'")
    wide = frame.pivot(index="round", columns="metric", values="value").sort_index()
    return [
        {"round": float(number), **{str(name): float(value) for name, value in row.items()}}
        for number, row in zip(wide.index, wide.to_dict("records"), strict=True)
    ]


def _events(folder: Path) -> list[str]:
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    return [
        f"round {event['server_round']}, {event['phase']}, "
        + (f"client {event['client']}" if event["client"].isdigit() else event["client"])
        + f": {event['what']} ({event['action']})"
        for event in events
    ]


def _pictures(
    folder: Path,
    summary: Mapping[str, Any],
    metrics: Mapping[str, float],
    per_client: Mapping[str, Mapping[str, float]],
    references: Mapping[str, Mapping[str, float]],
) -> dict[str, str]:
    import pandas as pd

    from fedanomaly.evaluation import plots

    drawn: dict[str, str] = {}
    clients = {client: _client(client, info) for client, info in summary.get("clients", {}).items()}
    rounds = pd.read_parquet(folder / "rounds.parquet")
    crowd = groups(list(clients))
    note = "" if len(crowd) == len(clients) else f" {len(crowd)} groups of neighbouring clients are drawn."
    if note:
        rounds, per_client = averaged(rounds, crowd), summed(per_client, crowd)
    plots.metrics_per_round(rounds, folder / "rounds.png", references=references)
    drawn["rounds.png"] = "Metrics after every round: each client thin, all clients bold." + note
    plots.fraud_distribution(
        list(crowd),
        [sum(int(str(clients[client]["rows"])) for client in part) for part in crowd.values()],
        [sum(int(str(clients[client]["frauds"])) for client in part) for part in crowd.values()],
        folder / "clients.png",
    )
    drawn["clients.png"] = "Rows and frauds each client holds." + note
    scores = load_scores(folder, FEDERATED)
    if scores is not None:
        offset = float(summary["threshold"]["offset"])
        plots.score_distributions(scores.legitimate, scores.fraud, folder / "scores.png", offset=offset)
        drawn["scores.png"] = "Scores of the test rows by class, with the threshold."
        models = {FEDERATED: plots.Scored(scores.legitimate, scores.fraud, int(to_keys(offset)))}
        for name in NAMES:
            if (other := load_scores(folder, name)) is not None:
                models[name] = plots.Scored(other.legitimate, other.fraud)
        plots.curves(models, folder / "curves.png")
        drawn["curves.png"] = "Precision-recall and ROC curves beside the local and pooled references."
    plots.confusion_counts(metrics, per_client, folder / "confusion.png")
    drawn["confusion.png"] = "Confusion counts over all test rows and a client." + note
    return drawn


def _numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    """Turn JSON's null back into NaN."""
    return {name: math.nan if value is None else float(value) for name, value in values.items()}
