"""``report.md``: first the answer in words, then everything it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fedanomaly.evaluation.answer import NAMES, answer
from fedanomaly.evaluation.content import DataDescription, ReportContent
from fedanomaly.evaluation.leaks import Finding
from fedanomaly.evaluation.markdown import UNDEFINED_TEXT, bullets, number, percent, settings, table
from fedanomaly.evaluation.metrics import from_counts, summary
from fedanomaly.evaluation.thresholds import Threshold

_COMPARED = {
    **NAMES,
    "false_positive_rate": "false-positive rate",
    "precision_ceiling": "precision ceiling",
    "precision_at_k": "precision in the alert budget",
    "recall_at_k": "recall in the alert budget",
    "amount_lost": "amount lost in missed frauds",
    "cost": "cost (amount lost + alerts)",
    "tp": "frauds found",
    "fn": "frauds missed",
    "fp": "false alarms",
    "tn": "legitimate rows spared",
}
_A_CLIENT = {
    "rows": "rows",
    "frauds": "frauds",
    **NAMES,
    "accuracy_flag_nothing": "flag nothing",
    "tp": "found",
    "fn": "missed",
    "fp": "false alarms",
}


def write_report(path: Path, content: ReportContent) -> None:
    """Write the report as plain Markdown, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(render(content), encoding="utf-8")
    partial.replace(path)


def render(content: ReportContent) -> str:
    """Return the report as plain Markdown."""
    return "\n\n".join(part for part in _parts(content) if part) + "\n"


def _parts(content: ReportContent) -> Iterator[str]:
    yield f"# {content.title}"
    yield _origin(content.data)
    if content.status != "completed":
        yield f"> **This run {content.status}**{': ' + content.reason if content.reason else '.'}"
    yield answer(content.method, content.metrics, content.references)
    yield _leaks_in_short(content.findings)
    yield bullets(f"**Warning.** {warning}" for warning in (*content.warnings, *content.data.warnings))
    yield from _section("Results over all clients", _compared(content), _seeds(content))
    yield from _section("Each client", _clients_table(content))
    yield from _section(
        "Pictures", *(f"![{caption}]({file})\n\n*{caption}*" for file, caption in content.pictures.items())
    )
    yield from _section(
        "Data and partition", _data(content.data), content.partition, _holdings(content.clients)
    )
    yield from _section(
        "How it was trained and where it was cut", bullets(content.statements), _cut(content.threshold)
    )
    yield from _section("Rounds", _rounds(content.rounds))
    yield from _section("Leak check", _leaks(content.findings))
    yield from _section("Failures and events", bullets(content.events) or "None.")
    yield from _section("Configuration", settings(content.config) if content.config else "")
    yield from _section(
        "Repeat this run", "\n".join(["```sh", *content.repeat, "```"]) if content.repeat else ""
    )
    yield from _section("Environment", settings(content.environment) if content.environment else "")


def _section(title: str, *parts: str) -> Iterator[str]:
    if any(parts):
        yield f"## {title}"
        yield from parts


def _origin(data: DataDescription) -> str:
    kind = (
        "**The rows are synthetic**: generated, not observed."
        if data.synthetic
        else "The rows are not synthetic."
    )
    share = percent(data.frauds / data.rows) if data.rows else UNDEFINED_TEXT
    return (
        f"> {kind} {data.name}: {data.rows:,} rows, {data.frauds:,} frauds ({share}). Source: {data.source}"
    )


def _leaks_in_short(findings: Sequence[Finding]) -> str:
    if not findings:
        return "> **No leak check was run**; the figures are to be read with that in mind."
    leaks = [finding for finding in findings if finding.found]
    if not leaks:
        return f"Leak check: {len(findings)} checks, nothing found."
    return bullets(f"**Leak found ({finding.name}).** {finding.sentence}" for finding in leaks)


def _compared(content: ReportContent) -> str:
    own = content.metrics
    if not own.get("rows"):
        return ""
    frauds, rows = own["frauds"], own["rows"]
    nothing = from_counts(0.0, 0.0, rows - frauds, frauds)
    del nothing["precision_ceiling"]  # a bound on alarms that are not raised says nothing
    columns = {"federated": own, **content.references, "flag nothing": nothing}
    shown = [name for name in _COMPARED if name in own]
    lines = [
        [
            _COMPARED[name],
            *(number(name, values[name]) if name in values else "" for values in columns.values()),
        ]
        for name in shown
    ]
    return table(["metric", *columns], lines)


def _seeds(content: ReportContent) -> str:
    if not content.intervals:
        return (
            "One seed: differences of a few hundredths may be seed noise (average precision of a 200-tree "
            "forest varies by .02 to .04 from seed to seed)."
        )
    lines = [
        [NAMES.get(name, name), number(name, i.mean), number(name, i.low), number(name, i.high), i.n]
        for name, i in content.intervals.items()
    ]
    level = next(iter(content.intervals.values())).confidence
    return table(["metric", "mean over seeds", f"{level:.0%} from", "to", "seeds"], lines)


def _clients_table(content: ReportContent) -> str:
    if not content.per_client:
        return ""
    over = summary(content.per_client)
    shown = [name for name in _A_CLIENT if any(name in metrics for metrics in content.per_client.values())]
    lines = [
        [client, *(number(name, metrics.get(name, math.nan)) for name in shown)]
        for client, metrics in content.per_client.items()
    ]
    extremes = [
        [
            "*mean of clients*",
            *(number(name, over.mean[name]) if name in over.worst else "" for name in shown),
        ],
        ["*worst client*", *(_worst(name, over.worst, over.worst_client) for name in shown)],
    ]
    return table(["client", *(_A_CLIENT[name] for name in shown)], [*lines, *extremes])


def _worst(name: str, worst: Mapping[str, float], who: Mapping[str, str]) -> str:
    if name not in worst:
        return ""
    return f"{number(name, worst[name])} ({who[name]})" if who[name] else UNDEFINED_TEXT


def _data(data: DataDescription) -> str:
    origin = "synthetic" if data.synthetic else "not synthetic"
    text = f"{data.name}, {origin}: {data.rows:,} rows of {data.features} features, {data.frauds:,} frauds."
    return text + (f" Fingerprint `{data.fingerprint[:16]}`." if data.fingerprint else "")


def _holdings(clients: Sequence[Mapping[str, object]]) -> str:
    if not clients:
        return ""
    header = list(clients[0])
    return table(header, ([_plain(client.get(name, "")) for name in header] for client in clients))


def _plain(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return f"{value:,}" if isinstance(value, int) else number("", value)


def _cut(threshold: Threshold | None) -> str:
    if threshold is None:
        return ""
    degenerate = f" **Degenerate: {threshold.degenerate}**" if threshold.degenerate else ""
    cut = f"Threshold `{threshold.kind}`: rows that score below {threshold.offset:.6g} are flagged."
    return f"{cut} {threshold.detail}{degenerate}"


def _rounds(rounds: Sequence[Mapping[str, float]]) -> str:
    if not rounds:
        return ""
    shown = [name for name in rounds[0] if name == "round" or name in NAMES] or list(rounds[0])
    header = [NAMES.get(name, name) for name in shown]
    return table(header, ([number(name, line.get(name, math.nan)) for name in shown] for line in rounds))


def _leaks(findings: Sequence[Finding]) -> str:
    return (
        table(
            ["check", "found", "in words"],
            ([finding.name, "**LEAK**" if finding.found else "no", finding.sentence] for finding in findings),
        )
        if findings
        else ""
    )
