"""Every registered detector keeps the contract, and the check can tell when one does not."""

from dataclasses import replace

import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.detectors import DETECTORS, IsolationForest, aggregations_of, check_detector, registered
from fedanomaly.detectors._forest_arrays import forest_to_arrays
from fedanomaly.detectors.contract import check_aggregation, check_arrays


@pytest.fixture(autouse=True)
def _extras(request: pytest.FixtureRequest) -> None:
    """Leave out, by name, what needs an optional package that is not there."""
    if (
        getattr(request.node, "callspec", None)
        and request.node.callspec.params.get("name") == "gradient-boosting"
    ):
        pytest.importorskip("xgboost", reason="the extra 'boost' is not installed")


@pytest.mark.parametrize("name", registered())
def test_arrays(name: str) -> None:
    check_arrays(registered()[name]())


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name, cls in registered().items() for way in aggregations_of(cls)]
)
def test_aggregations(name: str, way: str) -> None:
    cls = registered()[name]
    check_aggregation(aggregations_of(cls)[way](cls()), way)


@pytest.mark.parametrize("name", registered())
def test_names_and_default(name: str) -> None:
    cls = registered()[name]
    assert cls.name == name
    assert cls.default_scaling in ("none", "standard", "robust")
    assert next(iter(aggregations_of(cls))) not in ("local", "pooled")
    assert list(aggregations_of(cls))[-2:] == ["local", "pooled"]


def test_an_unknown_detector_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"did you mean 'isolation-forest'.*lof"):
        DETECTORS.get("isolation_forest")


# -- classes that break one promise each --------------------------------------------------------------


class Trusting(IsolationForest):
    """Loads whatever it is given."""

    def load(self, arrays):
        try:
            return super().load(arrays)
        except ValueError:
            return self


class UpsideDown(IsolationForest):
    """Scores the higher, the more abnormal."""

    def score_samples(self, X):
        return -1.0 - super().score_samples(X)


class Forgetful(IsolationForest):
    """Loses trees on the way."""

    def to_arrays(self):
        forest = self.forest_
        return forest_to_arrays(
            replace(forest, nodes=forest.nodes[:50], counts=forest.counts[:50], psi=forest.psi[:50])
        )


class Moody(IsolationForest):
    """Uses a global generator."""

    def fit(self, X, y=None):
        return self.set_params(random_state=None).__class__.__mro__[1].fit(self, X)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Trusting, "load accepts"),
        (UpsideDown, "the lower the score"),
        (Forgetful, "a loaded model must score the same"),
        (Moody, "fit must repeat itself"),
    ],
)
def test_a_broken_promise_is_named(broken: type[IsolationForest], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_detector(broken)


class Careless(IsolationForest.aggregations["union"]):
    """Draws from a global generator and checks nothing."""

    def round(self, server_round, rounds):
        (step,) = super().round(server_round, rounds)
        step.check = lambda state, answer, turn: None
        return (step,)


def test_a_step_that_checks_nothing_is_named() -> None:
    with pytest.raises(AssertionError, match="step 'grow-trees' accepts"):
        check_aggregation(Careless(IsolationForest()), "union")


class FirstComeFirstServed(IsolationForest.aggregations["union"]):
    """Lets whoever answers first keep a row more."""

    def round(self, server_round, rounds):
        (step,) = super().round(server_round, rounds)
        answer, served = step.answer, []

        def in_order_of_arrival(request, X, y, turn):
            served.append(turn)
            return answer(request, X if turn == served[0] else X[1:], y, turn)

        step.answer = in_order_of_arrival
        return (step,)


def test_a_result_that_depends_on_the_order_is_named() -> None:
    with pytest.raises(AssertionError, match="is another if clients answer as"):
        check_aggregation(FirstComeFirstServed(IsolationForest()), "union")
