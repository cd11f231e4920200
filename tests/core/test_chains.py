import pytest

from fedanomaly.core.chains import parse_chain
from fedanomaly.core.errors import UserError


def test_names_numbers_and_nothing():
    assert parse_chain("", "--x") == []
    assert parse_chain("a : 2 + b+c:-1.5", "--x") == [("a", 2.0), ("b", None), ("c", -1.5)]


@pytest.mark.parametrize("text", ["+", "a+", ":2", "a:", "a:b", "a:nan", "a:inf"])
def test_what_is_no_chain(text):
    with pytest.raises(UserError, match="--x takes NAME or NAME:NUMBER"):
        parse_chain(text, "--x")
