"""Stacking: honest halves, a head trained by weights, and one-class clients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from fedanomaly.core.arrays import load_arrays, save_arrays
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.detectors import Ensemble, Stacking
from fedanomaly.detectors._prefixed import PrefixedAdditive, PrefixedCollect
from fedanomaly.detectors._stacking_steps import HalvesStep, HeadStep, for_head, for_members
from fedanomaly.detectors.contract import run_steps

PAIR = "isolation-forest+hbos"
TURN = Turn(7, 1, 1, 0, (0, 1))


def table(n: int = 600, key: str = "rows") -> tuple[np.ndarray, np.ndarray]:
    """Return rows and labels: outliers are many, anomalies only those in one direction."""
    generator = keyed_generator(0, key)
    X, y = generator.normal(size=(n, 3)), np.zeros(n, dtype=np.int8)
    X[: n // 10] += 5
    y[: n // 10] = 1
    order = generator.permutation(n)
    return X[order], y[order]


def way_of(**params: Any) -> Any:
    return Stacking.aggregations["fedavg"](Stacking(members=PAIR, **params))


def built(parts: Any, labels: Any, rounds: int = 10, **params: Any) -> Stacking:
    way = way_of(**params)
    state = run_steps(way, parts, labels=labels, rounds=rounds)
    return Stacking(members=PAIR, **params).load(way.model(state))


@parametrize_with_checks([Stacking()])
def test_scikit_learns_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


# -- honest halves ---------------------------------------------------------------------------------


def test_halves_are_halves_and_do_not_depend_on_who_holds_a_row() -> None:
    X, _ = table(2000)
    members = for_members(X)
    assert 0.45 < members.mean() < 0.55
    np.testing.assert_array_equal(
        members, np.concatenate([for_members(part) for part in np.array_split(X, 7)])
    )
    np.testing.assert_array_equal(members[::-1], for_members(X[::-1]))
    np.testing.assert_array_equal(members, for_members(X * (1 + 1e-15)))  # scaled by somebody else
    np.testing.assert_array_equal(members, ~for_head(X))


def test_equal_rows_lie_in_one_half() -> None:
    X = np.repeat(table(50)[0], 4, axis=0)
    assert (for_members(X).reshape(50, 4).std(axis=1) == 0).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_of_very_few_rows_none_is_used_twice_and_members_get_some(n: int) -> None:
    for start in range(30):
        X = table()[0][start : start + n]
        assert for_members(X).any() and not (for_members(X) & for_head(X)).any()


def test_the_head_never_sees_a_row_a_member_was_built_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[bytes]] = {"member": set(), "head": set()}
    for step in (PrefixedAdditive, PrefixedCollect):
        inner = step.answer

        def spied(self: Any, request: Any, X: Any, y: Any, turn: Any, inner: Any = inner) -> Any:
            answer = self.step.answer
            self.step.answer = lambda request, X, y, turn: (
                seen["member"].update(row.tobytes() for row in X) or answer(request, X, y, turn)
            )
            return inner(self, request, X, y, turn)

        monkeypatch.setattr(step, "answer", spied)
    from fedanomaly.detectors import _stacking_steps

    scores_of = _stacking_steps.scores_of

    def spied_scores(fitted: Any, rows: Any) -> Any:
        seen["head"].update(row.tobytes() for row in rows)
        return scores_of(fitted, rows)

    monkeypatch.setattr(_stacking_steps, "scores_of", spied_scores)
    X, y = table(200)
    run_steps(way_of(), np.array_split(X, 2), labels=np.array_split(y, 2))
    assert seen["member"] and seen["head"] and not seen["member"] & seen["head"]
    assert len(seen["member"] | seen["head"]) == 200


def test_fit_uses_each_half_once(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = table(200)
    from fedanomaly.detectors import stacking

    given: list[np.ndarray] = []
    fit_members = stacking.fit_members
    monkeypatch.setattr(stacking, "fit_members", lambda u, X, s: given.append(X) or fit_members(u, X, s))
    detector = Stacking(members=PAIR).fit(X, y)
    np.testing.assert_array_equal(given[0], X[for_members(X)])
    z = detector.member_scores(X[for_head(X)])
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.2)


# -- the head --------------------------------------------------------------------------------------


def test_labels_teach_the_head_which_member_to_trust() -> None:
    X, y = table()
    # a third of the rows is far out and normal: only a histogram of values, not of depth, tells them apart
    test_X, test_y = table(key="test")
    stacked = Stacking(members=PAIR).fit(X, y)
    mean = Ensemble(members=PAIR).fit(X)
    ap = [average_precision_score(test_y, -d.score_samples(test_X)) for d in (stacked, mean)]
    assert ap[0] >= ap[1] - 0.01 and ap[0] > 0.8


@pytest.mark.parametrize("labels", [None, np.zeros(600), np.ones(600)])
def test_without_two_classes_it_is_the_mean_of_standard_scores(labels: Any) -> None:
    X, _ = table()
    detector = Stacking(members=PAIR).fit(X, labels)
    np.testing.assert_allclose(-detector.score_samples(X), detector.member_scores(X).mean(axis=1), atol=1e-12)


def test_fedavg_comes_close_to_the_head_on_pooled_rows() -> None:
    X, y = table(1200)
    test_X, test_y = table(key="test")
    federated = built(np.array_split(X, 3), np.array_split(y, 3), rounds=15)
    pooled = Stacking(members=PAIR).fit(X, y)
    ap = [average_precision_score(test_y, -d.score_samples(test_X)) for d in (federated, pooled)]
    assert ap[0] > ap[1] - 0.03
    assert (federated.head_.coef != 0.5).all()


def test_clients_of_one_class_take_part() -> None:
    X, y = table()
    parts, labels = [X[y == 0][:300], X[y == 1], X[y == 0][300:]], [np.zeros(300), np.ones(60), np.zeros(240)]
    test_X, test_y = table(key="test")
    detector = built(parts, labels)
    assert average_precision_score(test_y, -detector.score_samples(test_X)) > 0.8
    nobody = built(parts[::2], labels[::2])
    np.testing.assert_array_equal(nobody.head_.coef, [0.5, 0.5])  # no anomaly anywhere: nothing to learn


def test_a_client_with_a_single_row_gives_it_to_the_members() -> None:
    X, y = table()
    way = way_of()
    state = run_steps(way, [X[:300], X[300:301], X[301:]], labels=[y[:300], y[300:301], y[301:]])
    assert state["halves/members"][1] == 1 and int(state["halves/classes"].sum()) == int(
        for_head(X[:300]).sum()
    ) + int(for_head(X[301:]).sum())


def test_a_saved_model_scores_the_same_to_the_bit(tmp_path: Any) -> None:
    X, y = table()
    detector = built(np.array_split(X, 2), np.array_split(y, 2), rounds=2)
    save_arrays(tmp_path / "model.npz", detector.to_arrays())
    loaded = Stacking(members=PAIR).load(load_arrays(tmp_path / "model.npz"))
    np.testing.assert_array_equal(loaded.score_samples(X), detector.score_samples(X))


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad", [{"balance": "smoke"}, {"alpha": 0}, {"contamination": 1}, {"members": "lof"}]
)
def test_parameters_out_of_range_are_named(bad: dict[str, Any]) -> None:
    X, y = table(60)
    with pytest.raises(ValueError, match=next(iter(bad))):
        Stacking(**{"members": PAIR, **bad}).fit(X, y)


def test_weights_no_data_can_make_are_refused() -> None:
    way = way_of()
    step = HeadStep(way.detector, way)
    for coef, intercept in (([1e3, 0], 0), ([1, 0, 0], 0), ([1, 0], 31.0), ([np.nan, 0], 0)):
        with pytest.raises(InvalidArrays):
            step.check({}, {"coef": np.array(coef, float), "intercept": np.array([float(intercept)])}, TURN)


@pytest.mark.parametrize("halves", [[0, 5, 5], [5, -1, 0], [50, 50, 1], [5, 5]])
def test_halves_no_client_can_have_are_refused(halves: list[int]) -> None:
    with pytest.raises(InvalidArrays):
        HalvesStep().check({"rows": np.array([50, 50])}, {"halves": np.array(halves)}, TURN)


def test_a_client_without_labels_is_named() -> None:
    with pytest.raises(InvalidArrays, match="one label a row"):
        HalvesStep().answer({}, table()[0], None, TURN)
