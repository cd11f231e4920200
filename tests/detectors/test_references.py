"""`local` and `pooled`: what a client could do alone, and what all rows in one place would give."""

import numpy as np
import pytest

from fedanomaly.core.arrays import digest, under_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn
from fedanomaly.detectors import IsolationForest, LocalOutlierFactor, aggregations_of
from fedanomaly.detectors._forest_arrays import NAMES
from fedanomaly.detectors.contract import run_steps
from fedanomaly.detectors.references import FitAlone, Local, Pooled, ShipRows

FOREST = IsolationForest(n_estimators=10, random_state=0)


def parts(sizes=(40, 70, 20)) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.normal(size=(size, 3)) for size in sizes]


def state_of(sizes=(40, 70, 20)) -> dict[str, np.ndarray]:
    return {"rows": np.array(sizes), "features": np.array(3)}


def turn(client: int, server_round: int = 1) -> Turn:
    return Turn(1, server_round, 2, client, (0, 1, 2))


def test_every_detector_has_both_after_its_own() -> None:
    own = list(IsolationForest.aggregations)
    assert list(aggregations_of(IsolationForest)) == [*own, "score-mean", "score-min", "local", "pooled"]
    assert aggregations_of(IsolationForest)["local"] is Local


def test_a_detector_may_bring_its_own_reference() -> None:
    class Mine(Pooled):
        """A pooled fit of its own."""

    class Special(IsolationForest):
        """Brings it."""

        aggregations = {"pooled": Mine}  # noqa: RUF012

    assert list(aggregations_of(Special)) == ["pooled", "score-mean", "score-min", "local"]
    assert aggregations_of(Special)["pooled"] is Mine


def test_a_local_model_is_what_the_client_fits_alone() -> None:
    way = Local(FOREST)
    state = run_steps(way, parts(), seed=1)
    for client, X in enumerate(parts()):
        seed = int(turn(client).generator("local").integers(2**31 - 1))
        alone = IsolationForest(n_estimators=10, random_state=seed).fit(X)
        assert digest(way.personal_model(state, client)) == digest(alone.to_arrays())
    assert [int(state[f"client-{client}/fitted_rows"]) for client in range(3)] == [40, 70, 20]


def test_a_local_model_does_not_depend_on_the_others() -> None:
    first = run_steps(Local(FOREST), parts())
    second = run_steps(Local(FOREST), [parts()[0], parts()[1] + 1.0])
    assert digest(under_prefix(first, "client-0")) == digest(under_prefix(second, "client-0"))


def test_there_is_no_common_local_model() -> None:
    state = run_steps(Local(FOREST), parts())
    with pytest.raises(TypeError, match="personal_model"):
        Local(FOREST).model(state)
    with pytest.raises(InvalidArrays, match="client 7 has not fitted"):
        Local(FOREST).personal_model(state, 7)


def test_a_late_client_fits_when_it_comes_and_the_others_rest() -> None:
    way, state = Local(FOREST), state_of()
    for server_round, present in ((1, (0, 2)), (2, (0, 1, 2))):
        (step,) = way.round(server_round, 2)
        answers = [
            (turn(c, server_round), step.answer(step.request(state), parts()[c], None, turn(c, server_round)))
            for c in present
        ]
        for its_turn, answer in answers:
            step.check(state, answer, its_turn)
            assert bool(answer) == (server_round == 1 or its_turn.client == 1)
        state = {**state, **step.combine(state, answers)}
    assert state["local/fitted"].tolist() == [0, 1, 2]
    assert all(way.personal_model(state, client) for client in range(3))


def test_client_1_is_not_client_10() -> None:
    state = run_steps(Local(FOREST), parts((20,) * 11))
    assert set(Local(FOREST).personal_model(state, 1)) == set(NAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model/splits": None}, "missing"),
        ({"fitted_rows": np.array(81)}, "above 80"),
        ({"fitted_rows": np.array(0)}, "below 1"),
        ({"fitted_rows": None}, "missing"),
        ({"stranger": np.zeros(1)}, "unknown"),
        ({"model/n_features": np.array(4)}, "over 4 features, expected 3"),
    ],
)
def test_a_malformed_local_model_is_refused(change: dict, message: str) -> None:
    step = FitAlone(FOREST)
    answer = step.answer(step.request(state_of()), parts()[0], None, turn(0))
    step.check(state_of(), answer, turn(0))
    wrong = {name: array for name, array in {**answer, **change}.items() if array is not None}
    with pytest.raises(InvalidArrays, match=message):
        step.check(state_of(), wrong, turn(0))


def test_a_client_cannot_replace_its_model() -> None:
    step = FitAlone(FOREST)
    answer = step.answer(step.request(state_of()), parts()[0], None, turn(0))
    later = {**state_of(), **step.combine(state_of(), [(turn(0), answer)])}
    with pytest.raises(InvalidArrays, match="unknown arrays"):
        step.check(later, answer, turn(0, 2))
    with pytest.raises(InvalidArrays, match="missing"):
        step.check(state_of(), {}, turn(0))


def test_pooled_is_a_fit_on_all_rows() -> None:
    way = Pooled(FOREST)
    state = run_steps(way, parts(), seed=1)
    seed = int(turn(0).shared_generator("pooled").integers(2**31 - 1))
    pooled = IsolationForest(n_estimators=10, random_state=seed).fit(np.concatenate(parts()))
    assert digest(way.model(state)) == digest(pooled.to_arrays())
    assert int(state["pooled/rows_used"]) == 130
    assert way.ships_rows and not way.round(2, 2)


def test_pooled_takes_a_sample_where_all_rows_are_too_many() -> None:
    class Small(LocalOutlierFactor):
        """Takes 60 rows."""

        exact_rows = 60

    first, again = (run_steps(Pooled(Small()), parts()) for _ in range(2))
    assert int(first["pooled/rows_used"]) == 60
    assert digest(first) == digest(again)
    points = Pooled(Small()).model(first)["points"]
    everything = {row.tobytes() for row in np.concatenate(parts())}
    assert len(points) == 60 and {row.tobytes() for row in points} <= everything


def test_before_the_rows_are_there_nothing_is_pooled() -> None:
    with pytest.raises(FederationError, match="no rows have been pooled"):
        Pooled(FOREST).model(state_of())


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((81, 3)),
        np.zeros((0, 3)),
        np.zeros((40, 4)),
        np.zeros((40, 3), "f4"),
        np.full((40, 3), np.nan),
    ],
    ids=["rows", "none", "features", "dtype", "nan"],
)
def test_rows_that_are_not_as_declared_are_refused(X: np.ndarray) -> None:
    step = ShipRows(FOREST)
    step.check(state_of(), step.answer({}, parts()[0], None, turn(0)), turn(0))
    with pytest.raises(InvalidArrays):
        step.check(state_of(), {"X": X}, turn(0))


def test_balancing_may_double_the_rows_of_a_client() -> None:
    doubled = np.concatenate([parts()[0]] * 2)
    for step in (FitAlone(FOREST), ShipRows(FOREST)):
        step.check(state_of(), step.answer(step.request(state_of()), doubled, None, turn(0)), turn(0))


def test_rows_of_different_widths_are_named() -> None:
    answers = [(turn(0), {"X": np.zeros((2, 3))}), (turn(1), {"X": np.zeros((2, 4))})]
    with pytest.raises(InvalidArrays, match=r"different numbers of features: \[3, 4\]"):
        ShipRows(FOREST).combine(state_of(), answers)
