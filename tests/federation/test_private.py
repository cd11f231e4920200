"""Differential privacy from end to end: the declared sensitivity holds, noise is keyed, budgets are told."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_attacks import HONEST, auroc

import fedanomaly
from fedanomaly.core.arrays import digest
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn
from fedanomaly.core.steps import AdditiveStep, Sensitivity
from fedanomaly.detectors import DETECTORS, IsolationForest
from fedanomaly.detectors.base import Aggregation
from fedanomaly.experiment.references import run_local
from fedanomaly.federation.observer import Observer
from fedanomaly.federation.plan import make_plan
from fedanomaly.federation.private import Privacy, PrivateStep
from fedanomaly.prepare import scaling_step
from fedanomaly.privacy.accountant import Budget
from fedanomaly.privacy.noise import clip_rows

PRIVATE = replace(HONEST, detector="mahalanobis", scaling="grid", dp_epsilon=5.0)
N_FEATURES, NORM = 4, 2.0
TURN = Turn(1, 1, 1, 0, (0,))


class Zeros(AdditiveStep):
    """Answers with zeros: whatever comes is noise."""

    name = "zeros"

    def answer(self, request, X, y, turn):
        return {
            "count": np.array([len(X)]),
            "whole": np.zeros(100_000, np.int64),
            "real": np.zeros(100_000),
            "longest": np.array([np.sqrt((X**2).sum(axis=1)).max()]),
        }

    def sensitivity(self, request, n_features, row_norm):
        none = Sensitivity(0.0, 0.0)
        return {"count": none, "longest": none, "whole": Sensitivity(6.0, 2.0), "real": Sensitivity(0.9, 0.3)}

    def check(self, state, answer, turn):
        raise AssertionError("after noise nothing more than the form can be checked")

    def finish(self, state, total):
        return total


def answer(privacy, turn=TURN):
    return PrivateStep(Zeros(), privacy).answer({}, np.full((3, N_FEATURES), 9.0), None, turn)


@pytest.mark.parametrize(("delta", "spread"), [(1e-5, "std"), (0.0, "laplace")])
def test_noise_has_the_scale_that_sensitivity_and_budget_ask_for(delta, spread):
    privacy = Privacy(Budget(2.0, delta, 5), NORM)
    noised = answer(privacy)
    for name, l1, l2 in (("whole", 6.0, 2.0), ("real", 0.9, 0.3)):
        scale = privacy.budget.scale(l1, l2, parts=2)
        found = noised[name].std() / (1 if spread == "std" else np.sqrt(2))
        assert found == pytest.approx(scale, rel=0.02)
    assert noised["whole"].dtype == np.int64
    assert noised["count"].tolist() == [3], "what depends on the public number of rows alone gets no noise"
    assert noised["longest"][0] == pytest.approx(NORM), "rows are clipped before they are counted"


def test_noise_is_keyed_by_seed_round_client_and_array():
    privacy = Privacy(Budget(2.0, 1e-5, 5), NORM)
    noised = answer(privacy)
    assert digest(answer(privacy)) == digest(noised)
    for other in (Turn(2, 1, 1, 0, (0,)), Turn(1, 2, 2, 0, (0,)), Turn(1, 1, 1, 1, (0, 1))):
        again = answer(privacy, other)["real"]
        assert abs(np.corrcoef(again, noised["real"])[0, 1]) < 0.02
    assert abs(np.corrcoef(noised["whole"], noised["real"])[0, 1]) < 0.02


def test_an_answer_without_declared_sensitivity_never_leaves():
    class Forgetful(Zeros):
        def sensitivity(self, request, n_features, row_norm):
            return {"count": Sensitivity(0.0, 0.0)}

    with pytest.raises(InvalidArrays, match=r"declares .'count'., but sends"):
        PrivateStep(Forgetful(), Privacy(Budget(1.0, 1e-5, 1), 1.0)).answer({}, np.ones((2, 2)), None, TURN)


def test_noised_answers_are_checked_for_form():
    step = PrivateStep(Zeros(), Privacy(Budget(1.0, 1e-5, 1), 1.0))
    sound = {name: np.zeros(2) for name in ("count", "whole", "real", "longest")}
    step.check({}, sound, TURN)
    for broken in ({**sound, "more": np.zeros(1)}, {**sound, "real": np.array([np.nan])}):
        with pytest.raises(InvalidArrays):
            step.check({}, broken, TURN)


def declared():
    """Every additive step that declares its sensitivity, with the state it is asked in."""
    found = {}
    scaling = scaling_step("grid")
    found["grid-scaling"] = (scaling, {"rows": np.array([60]), "features": np.array(N_FEATURES)})
    for cls in DETECTORS.registered().values():
        for kind in cls.aggregations.values():
            found.update(_declared_by(kind(cls())))
    return found


def _declared_by(way: Aggregation):
    X = np.random.default_rng(0).normal(size=(60, N_FEATURES))
    state = {"rows": np.array([60]), "features": np.array(N_FEATURES)}
    found = {}
    for step in [*way.setup(), *way.round(1, 1)]:
        if not isinstance(step, AdditiveStep):
            return found
        if type(step).sensitivity is not AdditiveStep.sensitivity:
            found[f"{type(step).__name__} of {way.detector.name}"] = (step, dict(state))
        labels = (X[:, 0] > 1).astype(np.int8)
        state = {**state, **step.finish(state, step.answer(step.request(state), X, labels, TURN))}
    return found


DECLARED = declared()


def test_enough_steps_can_be_private():
    kinds = {type(step).__name__ for step, _ in DECLARED.values()}
    assert {"GridScaling", "MeanStep", "DeviationsStep", "CountStep", "KernelMeanStep"} <= kinds


@pytest.mark.parametrize("name", DECLARED)
@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.1, 1.0, 30.0]))
def test_no_row_moves_an_answer_by_more_than_declared(name, seed, spread):
    step, state = DECLARED[name]
    rng = np.random.default_rng(seed)
    X = rng.normal(scale=spread, size=(12, N_FEATURES))
    other = X.copy()
    other[0] = rng.choice([-spread, 0.0, spread], size=N_FEATURES) * rng.normal()
    if not step.any_row_length:
        X, other = clip_rows(X, NORM), clip_rows(other, NORM)
    request = step.request(state)
    bounds = step.sensitivity(request, N_FEATURES, NORM)
    one, two = (step.answer(request, rows, None, TURN) for rows in (X, other))
    assert set(bounds) == set(one)
    for array, bound in bounds.items():
        change = np.abs(one[array].astype(float) - two[array].astype(float))
        assert change.sum() <= bound.l1 * (1 + 1e-9) + 1e-12
        assert np.sqrt((change**2).sum()) <= bound.l2 * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("name", DECLARED)
def test_repaired_sums_can_be_finished(name):
    step, state = DECLARED[name]
    X = np.random.default_rng(3).normal(size=(200, N_FEATURES))
    for epsilon in (50.0, 0.05):
        private = PrivateStep(step, Privacy(Budget(epsilon, 1e-5, 1), NORM))
        answer = private.answer(private.request(state), X, None, TURN)
        private.check(state, answer, TURN)
        finished = private.finish(state, answer)
        assert all(np.isfinite(array).all() for array in finished.values() if array.dtype.kind == "f")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"detector": "ecod", "scaling": "none"},
        {"detector": "one-class-svm", "aggregation": "nystrom-mean"},
        {"detector": "one-class-svm", "aggregation": "fedavg", "rounds": 2, "dp_epsilon": 500.0},
        {"detector": "one-class-svm", "aggregation": "fedavg", "dp_clipping": "adaptive"},
        {"dp_delta": 0.0, "dp_epsilon": 50.0},
    ],
)
def test_private_runs_repeat_to_the_bit_and_are_other_than_without_noise(options):
    config = replace(PRIVATE, **options)
    states = [digest(run_local(one, Observer())[0].state) for one in (config, config)]
    assert states[0] == states[1]
    assert states[0] != digest(run_local(replace(config, dp_epsilon=0.0), Observer())[0].state)
    assert states[0] != digest(run_local(replace(config, seed=9), Observer())[0].state)


def test_a_large_budget_costs_little_and_a_tiny_one_everything():
    generous, _ = auroc(replace(PRIVATE, dp_epsilon=100.0))
    starved, _ = auroc(replace(PRIVATE, detector="ecod", scaling="none", dp_epsilon=0.01))
    assert generous > 0.95 and starved < 0.9


def test_the_summary_tells_what_was_spent(tmp_path):
    options = {**PRIVATE.to_run_config(), "out": str(tmp_path / "run"), "references": False}
    run = fedanomaly.run(**{key.replace("-", "_"): value for key, value in options.items()})
    privacy = json.loads((run.path / "summary.json").read_text())["privacy"]
    assert privacy["epsilon"] == pytest.approx(5.0) and privacy["delta"] == 1e-5
    assert privacy["releases"] == privacy["releases_planned"] == 3  # scaling, mean, deviations
    assert privacy["mechanism"] == "gaussian" and "training row" in privacy["unit"]


def test_a_run_that_ends_early_has_spent_less():
    plan = make_plan(replace(PRIVATE, detector="one-class-svm", aggregation="fedavg", rounds=6))
    assert [plan.releases(rounds) for rounds in (0, 1, 6)] == [3, 4, 9]
    assert plan.privacy.budget.releases == 9
    assert plan.privacy.budget.spent(plan.releases(1)) < 0.7 * 5.0


def test_weights_get_noise_of_the_declared_scale():
    from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    from fedanomaly.federation.strategies import make_strategy
    from fedanomaly.federation.strategies.private import private_strategy

    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    config = replace(PRIVATE, dp_update_norm=0.5)
    privacy = Privacy(Budget(5.0, 1e-5, 4), 1.0)
    strategy = private_strategy(make_strategy("fedavg", config, 3), config, privacy, 3)
    strategy.current_arrays = ArrayRecord({"w": Array(np.zeros(50_000))})
    replies = []
    for rows, value in ((1, 1.0), (1000, -1.0), (10, 0.0001)):
        record = ArrayRecord({"w": Array(np.full(50_000, value))})
        content = RecordDict({"arrays": record, "metrics": MetricRecord({"num-examples": rows})})
        replies.append(Message(content, dst_node_id=1, message_type="train"))
    averaged, _ = strategy.aggregate_train(1, replies)
    noise = averaged["w"].numpy()
    sigma = 2 * privacy.budget.noise_multiplier * 0.5 / 3
    assert noise.std() == pytest.approx(sigma, rel=0.02)
    assert abs(noise.mean()) < 5 * sigma / np.sqrt(50_000) + 1e-4, "opposite updates weigh alike"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"detector": "isolation-forest"}, "cannot protect the step 'grow-trees': its answers are not sums"),
        ({"scaling": "standard"}, "cannot protect the step 'standard-scaling': nobody has bounded"),
        ({"scaling": "robust"}, "cannot protect the step 'robust-scaling': its answers are not sums"),
        ({"scaling": "none"}, "needs rows of bounded length, and rows are not scaled; use --scaling grid"),
        ({"detector": "one-class-svm", "aggregation": "krum"}, "cannot protect weights that 'krum' combines"),
        (
            {"detector": "one-class-svm", "aggregation": "fedavg", "dp_delta": 0.0},
            "--dp-delta 0 means Laplace noise, but weights get Gaussian noise",
        ),
        ({"balance": "smote", "balance_where": "train"}, "a balanced row is made of several"),
        ({"aggregation": "pooled"}, "its answers are not sums"),
    ],
)
def test_what_cannot_be_private_is_refused(options, sentence):
    with pytest.raises(UserError, match=sentence):
        make_plan(replace(PRIVATE, **options))


def test_a_stated_row_length_stands_in_for_scaling():
    assert make_plan(replace(PRIVATE, scaling="none", dp_row_norm=3.0)).privacy.norm(9) == 3.0
    assert make_plan(PRIVATE).privacy.norm(9) == 3.0
    assert IsolationForest.name not in {name.split(" of ")[-1] for name in DECLARED}
