import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.core.errors import UserError
from fedanomaly.federation.config import RunConfig, parse_value

ROOT = Path(__file__).parents[2]


def test_the_flower_app_offers_every_option_with_its_default():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["flwr"]["app"]["config"] == RunConfig().to_run_config()


def test_a_run_config_survives_the_journey():
    config = RunConfig(data="wdbc", clients=3, alpha=0.3, references=False, params="n_estimators=7")
    assert RunConfig.from_mapping(config.to_run_config()) == config


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"clinets": 3}, "unknown option 'clinets'"),
        ({"clients": 0}, "--clients must be at least 1"),
        ({"clients": "five"}, "--clients in here must be a whole number"),
        ({"rounds": True}, "--rounds in here must be a whole number"),
        ({"alpha": -1.0}, "--alpha must be more than 0"),
        ({"min_clients": 9}, "--min-clients must be 0 to --clients"),
        ({"train_on": "frauds"}, "--train-on must be one of all, legitimate"),
        ({"contamination": "0.7"}, "--contamination must be auto or a number"),
        ({"contamination": "much"}, "--contamination must be auto or a number"),
        ({"fraud_ratios": "a,b"}, "--fraud-ratios must be numbers"),
        ({"params": "n_estimators"}, "--params takes name=value"),
        ({"calibration_share": 0.6, "test_share": 0.5}, "leave no rows to train on"),
        ({"references": "yes"}, "--references in here must be true or false"),
        ({"seed": -1}, "--seed must be"),
    ],
)
def test_mistakes_are_one_sentence(values, sentence):
    with pytest.raises(UserError, match=sentence):
        RunConfig.from_mapping(values, "here")


def test_lists_and_numbers_of_a_toml_file_are_understood():
    config = RunConfig.from_mapping({"fraud-ratios": [0.2, 0.8], "alpha": 1, "contamination": 0.1})
    assert config.ratios == (0.2, 0.8)
    assert config.alpha == 1.0
    assert config.contamination_share == 0.1


def test_a_majority_must_answer_unless_said_otherwise():
    assert [RunConfig(clients=n).majority for n in (1, 2, 5, 6)] == [1, 2, 3, 4]
    assert RunConfig(clients=5, min_clients=2).majority == 2


@given(st.one_of(st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)))
def test_parameter_values_are_read_back(value):
    assert parse_value(str(value)) == value
