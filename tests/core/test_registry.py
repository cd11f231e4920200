import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.core.registry import Registry


def registry():
    entries = Registry("fruit", "fedanomaly.test.nothing")
    entries.register("apple")(1)
    entries.register("pear")(2)
    return entries


def test_names_are_found_in_order():
    assert registry().registered() == {"apple": 1, "pear": 2}
    assert registry().get("pear") == 2


def test_a_name_cannot_be_taken_twice():
    with pytest.raises(ValueError, match="'apple' is registered twice"):
        registry().register("apple")(3)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(
        UserError, match=r"unknown fruit 'aple' \(did you mean 'apple'\?\); known: apple, pear"
    ):
        registry().get("aple")


def test_plugins_are_loaded_once_before_the_first_look(monkeypatch):
    loaded = []

    class Plugin:
        def load(self):
            loaded.append(entries.register("plum")(3))

    monkeypatch.setattr("fedanomaly.core.registry.entry_points", lambda group: [Plugin()])
    entries = Registry("fruit", "fedanomaly.test.plugins")
    assert entries.get("plum") == 3
    assert entries.registered() == {"plum": 3}
    assert loaded == [3]


def test_the_caller_cannot_change_the_registry():
    entries = registry()
    entries.registered()["cherry"] = 9
    assert "cherry" not in entries.registered()
