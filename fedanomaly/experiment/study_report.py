"""A study as a page: ``NAME.md`` with its tables and pictures, beside the results it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.data import DATASETS
from fedanomaly.evaluation.markdown import bullets, table
from fedanomaly.experiment.studies import Study
from fedanomaly.experiment.study_figures import check_metrics
from fedanomaly.experiment.study_pictures import draw_picture
from fedanomaly.experiment.study_tables import markdown_tables

if TYPE_CHECKING:
    import pandas as pd

MOST_ERRORS = 20


def write_study_report(study: Study, frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the page of a study and its pictures.

    Parameters
    ----------
    study : Study
        Its tables and pictures.
    frame : DataFrame
        Its results.
    folder : Path
        Where ``NAME.md`` and the pictures go.

    Returns
    -------
    list of Path
        What was written, the page first.

    Raises
    ------
    UserError
        If a table or picture asks for what the results do not hold.
    """
    for section in study.tables:
        check_metrics(frame, section.metrics, f"the table {section.title!r}")
    for picture in study.pictures:
        check_metrics(frame, picture.metrics, f"the picture {picture.name!r}")
    parts = [f"# {study.title}", _what_was_run(study, frame)]
    written = []
    if (frame["status"] == "completed").any():
        for section in study.tables:
            parts += [f"## {section.title}", *markdown_tables(section, frame)]
        for picture in study.pictures:
            for path, title in draw_picture(picture, frame, folder):
                parts.append(f"![{title}]({path.name})")
                written.append(path)
    page = folder / f"{study.name}.md"
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return [page, *written]


def _what_was_run(study: Study, frame: pd.DataFrame) -> str:
    runs = frame.drop_duplicates("cell")
    failed = runs[runs["status"] != "completed"]
    seconds = float(runs["cell_seconds"].sum()) if "cell_seconds" in runs else 0.0
    seeds = runs["seed"].nunique()
    lines = [
        f"{len(runs):,} runs, {seeds} seeds, {seconds / 60:,.1f} minutes of processor time. "
        f"`python -m fedanomaly study studies/{study.name}.toml` repeats it.",
        *(f"Data: `{name}`, {_rows(part)}: {_title(str(name))}." for name, part in runs.groupby("data")),
        "Figures are means over the seeds with 95 % t intervals, after the last round, over the test rows of "
        "all clients, unless something else is said. `pooled` is one model on all rows: it does not depend "
        "on who holds them, and stands beside every split.",
    ]
    if not len(failed):
        return bullets([*lines, "No run failed."])
    options = ["detector", "aggregation", "partition", "error"]
    shown = [[*map(str, key), len(part)] for key, part in failed.groupby(options, sort=False)][:MOST_ERRORS]
    header = ["detector", "aggregation", "partition", "why", "runs"]
    return f"{bullets([*lines, f'{len(failed):,} runs failed:'])}\n\n{table(header, shown)}"


def _title(name: str) -> str:
    return str(getattr(DATASETS.get(name.partition(":")[0]), "title", name))


def _rows(runs: pd.DataFrame) -> str:
    """Return how large the data were, whatever the seed made of them."""
    texts = []
    for column, what in (("data_rows", "rows"), ("data_frauds", "frauds")):
        known = runs[column].dropna() if column in runs else runs.iloc[:0, 0]
        if len(known):
            low, high = int(known.min()), int(known.max())
            texts.append(f"{low:,} {what}" if low == high else f"{low:,} to {high:,} {what}")
    return ", ".join(texts) or "nothing read"
