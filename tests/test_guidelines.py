"""The guidelines rest on studies: every mark names one, every study named is there."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "guidelines.md"
MARK = re.compile(r"\[([a-z]+(?:-[a-z]+)*)\](?!\()")


def test_every_mark_names_a_study_of_the_list_and_none_is_idle() -> None:
    body, listed = PAGE.read_text(encoding="utf-8").split("## The studies")
    used = set(MARK.findall(body))
    rows = [line.split("|")[1] for line in listed.splitlines() if line.startswith("| ")]
    names = {name.strip() for row in rows for name in row.split(",")} - {"mark"}
    assert used == names


def test_every_guideline_rests_on_a_figure_or_a_page() -> None:
    body = PAGE.read_text(encoding="utf-8").split("## In one table")[1].split("## The studies")[0]
    for line in re.split(r"\n(?=[*#|])", body):
        if line.startswith("* ") or (
            line.startswith("| ") and "---" not in line and "your clients" not in line
        ):
            assert MARK.search(line) or "](" in line, f"no study behind: {line}"
