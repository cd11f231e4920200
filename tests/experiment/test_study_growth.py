"""A study's tables of exponents, from results that follow a known law."""

import pandas as pd
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.study_growth import exponents, growth_table
from fedanomaly.experiment.study_sections import TableSection, read_tables

FIGURES = pd.DataFrame(
    {
        "method": method,
        "clients": clients,
        "data": "wdbc",
        "seed": seed,
        "run_seconds": cost,
        "memory_mb": 7.0,
    }
    for seed in (0, 1)
    for clients in (2, 10, 50, 100, 500)
    for method, cost in (("linear", 0.5 * clients), ("late", 5 + 0.1 * clients**2))
)
SECTION = TableSection("t", ("method",), ("run_seconds", "memory_mb"), growth="clients")


def test_known_exponents_are_found():
    found = exponents(SECTION, FIGURES)
    assert found[("linear",)]["run_seconds"].exponent == pytest.approx(1.0)
    assert found[("linear",)]["memory_mb"].exponent == pytest.approx(0.0)
    assert found[("late",)]["run_seconds"].exponent < 1.8
    above = TableSection("t", ("method",), ("run_seconds",), growth="clients", least=50)
    assert exponents(above, FIGURES)[("late",)]["run_seconds"].exponent == pytest.approx(2.0, abs=0.02)


def test_the_table_names_the_range_and_a_bad_fit():
    sentence, table = growth_table(SECTION, FIGURES)
    assert "where x is clients" in sentence and "5 sizes, 2 to 500" in sentence
    assert "1.00 [1.00, 1.00] | 0.00 [0.00, 0.00] |" in table
    assert "off by" in next(line for line in table.splitlines() if "late" in line)
    assert "off by" not in next(line for line in table.splitlines() if "linear" in line)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"growth": "data"}, "axis of numbers"),
        ({"where": {"clients": (3,)}}, "no completed run"),
    ],
)
def test_a_section_that_cannot_be_fitted_is_refused(change, said):
    section = TableSection(
        **{"title": "t", "rows": ("method",), "metrics": ("run_seconds",), **{"growth": "clients"}, **change}
    )
    with pytest.raises(UserError, match=said):
        exponents(section, FIGURES)


def test_a_section_is_read_from_a_file():
    given = {
        "title": "t",
        "rows": ["method"],
        "metrics": ["run_seconds"],
        "growth": "data_features",
        "least": 50,
    }
    (section,) = read_tables([given], "here")
    assert section.growth == "data_features" and section.least == 50
    for change, said in (
        ({"growth": "features"}, "no option of a run"),
        ({"least": "50"}, "least cannot be"),
        ({"columns": "clients"}, "no columns"),
    ):
        with pytest.raises(UserError, match=said):
            read_tables([{**given, **change}], "here")
