"""All runs as one tidy frame; runs in a list; two runs side by side."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedanomaly.core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

COMPARED = (
    *("precision", "recall", "accuracy", "f1", "auroc", "average_precision"),
    *("tp", "fp", "fn", "tn", "accuracy_flag_nothing", "flagged", "rows", "frauds"),
)


def find_runs(root: Path) -> list[Path]:
    """Return the folders of all runs in ``root`` (or ``root`` itself, if it is one), oldest first."""
    if (root / "summary.json").exists():
        return [root]
    if not root.is_dir():
        raise UserError(f"there is no folder {root}; name the folder that holds your runs")
    return sorted(path.parent for path in root.glob("*/summary.json"))


def read_summary(run: Path) -> dict[str, Any]:
    """Return a run's summary; raise :class:`UserError` if ``run`` holds none."""
    path = run / "summary.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError:
        raise UserError(f"{run} is no run: it has no summary.json") from None
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}") from None


def read_config(run: Path) -> dict[str, Any]:
    """Return a run's configuration."""
    path = run / "config.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def load_results(root: str | Path = "results") -> pd.DataFrame:
    """Return every metric of every run as one tidy frame.

    Parameters
    ----------
    root : str or Path
        A folder of runs, or one run.

    Returns
    -------
    pandas.DataFrame
        Columns ``run``, ``status``, one column an option of the run's configuration (``detector``,
        ``partition``, ``seed``, ...), then ``round``, ``phase``, ``client``, ``metric``, ``value``.
        Empty, with the last five columns, if no run has finished a round.
    """
    import pandas as pd

    frames = []
    for run in find_runs(Path(root)):
        path = run / "rounds.parquet"
        if not path.exists():
            continue
        frame = pd.read_parquet(path)
        facts = {"run": run.name, "status": read_summary(run)["status"]}
        facts |= {key.replace("-", "_"): value for key, value in read_config(run).items()}
        constants = pd.DataFrame({key: [value] * len(frame) for key, value in facts.items()})
        frames.append(pd.concat([constants, frame], axis=1))
    if not frames:
        return pd.DataFrame(columns=["run", "status", "round", "phase", "client", "metric", "value"])
    return pd.concat(frames, ignore_index=True)


def list_runs(root: Path) -> list[dict[str, Any]]:
    """Return one dictionary a run: name, status, what was run, final figures."""
    listed = []
    for run in find_runs(root):
        summary, config = read_summary(run), read_config(run)
        metrics = summary.get("metrics", {})
        listed.append(
            {
                "run": run.name,
                "status": summary["status"],
                "data": config.get("data", ""),
                "detector": config.get("detector", ""),
                "aggregation": config.get("aggregation", "") or "default",
                "partition": config.get("partition", ""),
                "clients": config.get("clients", ""),
                "rounds": summary.get("rounds", ""),
                **{name: metrics.get(name) for name in ("precision", "recall", "accuracy", "auroc")},
            }
        )
    return listed


def compare(
    first: Path, second: Path
) -> tuple[list[tuple[str, str, str]], list[tuple[str, float | None, float | None]]]:
    """Return how two runs differ in what was asked for, and their final metrics side by side.

    Returns
    -------
    list of (option, first, second)
        Options whose values differ.
    list of (metric, first, second)
        Final metrics over all clients; None where undefined.
    """
    configs = [read_config(run) for run in (first, second)]
    names = dict.fromkeys([*configs[0], *configs[1]])
    differing = [
        (name, str(configs[0].get(name, "")), str(configs[1].get(name, "")))
        for name in names
        if name not in ("name", "out") and configs[0].get(name) != configs[1].get(name)
    ]
    metrics = [read_summary(run).get("metrics", {}) for run in (first, second)]
    figures = [
        (name, metrics[0].get(name), metrics[1].get(name))
        for name in COMPARED
        if name in metrics[0] or name in metrics[1]
    ]
    return differing, figures
