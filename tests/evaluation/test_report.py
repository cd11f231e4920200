"""The report says first what a reader must know, and never shows an undefined number as a number."""

import math
from dataclasses import replace

import pytest

from fedanomaly.core.floatgrid import Histogram
from fedanomaly.evaluation import (
    DataDescription,
    Finding,
    ReportContent,
    Threshold,
    evaluate,
    from_counts,
    mean_interval,
    write_report,
)
from fedanomaly.evaluation.answer import answer, standing
from fedanomaly.evaluation.markdown import number, percent, table
from fedanomaly.evaluation.report import render

DATA = DataDescription("creditcard", "a sample of the ULB file", 24_110, 334, 30, False, "ab" * 32)
GOOD = {**from_counts(8, 2, 988, 2), "auroc": 0.95, "average_precision": 0.5}
EMPTY = from_counts(0, 0, 100, 0)


@pytest.fixture
def content():
    return ReportContent(
        title="A run",
        method="Isolation Forest (union)",
        data=DATA,
        metrics=GOOD,
        per_client={"0": GOOD, "1": EMPTY},
        references={
            "local": {**GOOD, "average_precision": 0.4, "f1": 0.5},
            "pooled": {**GOOD, "average_precision": 0.6, "f1": 0.9},
        },
        threshold=Threshold(-0.5, 1, "best-f1", "The best F1.", "It flags everything."),
        statements=["Trained on all rows."],
        partition="`even`: the same everywhere.",
        clients=[{"client": 0, "train": 1000, "frauds": 3}],
        rounds=[{"round": 1, **GOOD}, {"round": 2, **EMPTY}],
        findings=[
            Finding("train-in-test", False, 0, "None."),
            Finding("shared-rows", True, 3, "3 rows | shared."),
        ],
        events=["Round 2: client 3 died; went on with 4."],
        pictures={"rounds.png": "Metrics per round"},
        config={"seed": 42},
        repeat=["python server.py --config config.toml"],
        environment={"python": "3.11"},
    )


def first_screen(text):
    return "\n".join(text.splitlines()[:25])


def test_the_first_screen_says_what_matters(content):
    top = first_screen(render(content))
    assert "not synthetic" in top and "Isolation Forest (union)" in top
    assert "recall **0.8000**" in top and "precision **0.8000**" in top and "F1 of **0.8000**" in top
    assert "99.600 %" in top and "99.000 % of flagging nothing" in top
    assert "50 % of the way from local to pooled" in top
    assert "Leak found (shared-rows)" in top
    synthetic = render(replace(content, data=replace(DATA, synthetic=True, warnings=["Made up."])))
    assert "**The rows are synthetic**" in first_screen(synthetic) and "Made up." in first_screen(synthetic)


def test_everything_is_in_it(content):
    text = render(content)
    for expected in (
        "Degenerate: It flags everything.",
        "Trained on all rows.",
        "`even`",
        "**LEAK**",
        "3 rows \\| shared.",
        "client 3 died",
        "![Metrics per round](rounds.png)",
        "| `42`",
        "python server.py --config config.toml",
        "undefined",
        "One seed",
        "*worst client*",
    ):
        assert expected in text
    assert "nan" not in text.lower()


def test_tables_are_whole(content):
    for block in render(content).split("\n\n"):
        if block.startswith("|"):
            widths = {len(line) for line in block.splitlines() if "\\|" not in line}
            assert len(widths) == 1


def test_intervals_replace_the_warning_of_one_seed(content):
    text = render(replace(content, intervals={"recall": mean_interval([0.7, 0.8, 0.9])}))
    assert "One seed" not in text and "mean over seeds" in text and "0.8000" in text


def test_an_unfinished_run_says_so(content):
    text = render(replace(content, status="failed", reason="2 of 3 clients answered"))
    assert "**This run failed**: 2 of 3 clients answered" in first_screen(text)


@pytest.mark.parametrize("metrics", [{}, EMPTY, from_counts(0, 0, 0, 0), from_counts(0, 0, 10, 2)])
def test_a_bare_report_never_crashes(tmp_path, metrics):
    path = tmp_path / "report.md"
    write_report(path, ReportContent(title="t", method="m", data=replace(DATA, rows=0), metrics=metrics))
    text = path.read_text(encoding="utf-8")
    assert "nan" not in text and "No leak check was run" in text
    assert list(tmp_path.iterdir()) == [path]


def test_the_answer_where_things_are_undefined():
    assert "recall and F1 are undefined" in answer("m", from_counts(0, 3, 97, 0), {})
    assert "precision is undefined" in answer("m", from_counts(0, 0, 97, 3), {})
    assert "no test row" in answer("m", from_counts(0, 0, 0, 0), {})
    whole = evaluate(Histogram.of([1.0, 2.0]), Histogram.of([0.0]), int(Histogram.of([0.5]).keys[0]))
    assert "100 %" in answer("m", whole, {}) and "more than" in answer("m", whole, {})


@pytest.mark.parametrize(
    ("value", "local", "pooled", "words"),
    [
        (0.5, 0.4, 0.6, "50 % of the way"),
        (0.3, 0.4, 0.6, "below what clients reach alone"),
        (0.7, 0.4, 0.6, "above what pooling"),
        (0.601, 0.4, 0.6, "level with pooling"),
        (0.399, 0.4, 0.6, "level with what clients"),
        (0.5, 0.6, 0.4, "between the two"),
        (0.2, 0.6, 0.4, "below both"),
        (0.9, 0.6, 0.4, "above both"),
        (0.5, 0.5, 0.501, "level with both"),
        (0.9, 0.5, 0.501, "above both"),
        (math.nan, 0.4, 0.6, ""),
    ],
)
def test_standing(value, local, pooled, words):
    said = standing(value, local, pooled)
    assert words in said and bool(said) == bool(words)


def test_numbers():
    assert number("recall", math.nan) == number("recall", None) == "undefined"
    assert number("rows", 284_807.0) == "284,807"
    assert number("average_precision", 0.00012345) == "0.00012"
    assert number("recall", 0.5) == "0.5000"
    assert percent(0.99998) == "99.998 %" and percent(1.0) == "100 %"
    assert percent(0.9999999) == "99.999 %"  # never rounded up to all
    assert percent(0.00173) == "0.173 %" and percent(math.nan) == "undefined"


def test_table_puts_numbers_right_and_words_left():
    lines = table(
        ["name", "count", "why"], [["a", "1,000", "x|y"], ["b", "undefined", "two\nlines"]]
    ).splitlines()
    assert lines[1] == "| ---- | --------: | --------- |"
    assert lines[2] == "| a    |     1,000 | x\\|y      |"
    assert lines[3] == "| b    | undefined | two lines |"
