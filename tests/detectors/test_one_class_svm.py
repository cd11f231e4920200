from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import svm
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from fedanomaly.core.arrays import Arrays, digest, load_arrays, save_arrays
from fedanomaly.core.errors import FederationError, InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.detectors import _fourier as fourier
from fedanomaly.detectors import _hinge as hinge
from fedanomaly.detectors import _nystroem as nystroem
from fedanomaly.detectors._rbf import kernel_values, row_chunks
from fedanomaly.detectors.contract import check_detector, run_steps
from fedanomaly.detectors.one_class_svm import OneClassSVM

WAYS = ("nystrom-mean", "nystrom-hinge", "rff-mean", "rff-hinge", "sgd", "score-ensemble", "sv-merge")
ONE_ROUND = ("nystrom-mean", "rff-mean", "score-ensemble", "sv-merge")


def table(n: int = 400, features: int = 4, key: str = "rows") -> np.ndarray:
    generator = keyed_generator(0, key)
    return generator.normal(size=(n, features)) * np.linspace(0.5, 2, features)


def federate(detector: OneClassSVM, way: str, parts: Any, rounds: int = 1) -> OneClassSVM:
    aggregation = detector.aggregations[way](detector)
    return OneClassSVM(**detector.get_params()).load(
        aggregation.model(run_steps(aggregation, parts, rounds=rounds))
    )


def turn_of(client: int, server_round: int = 1) -> Turn:
    return Turn(7, server_round, 50, client, (0, 1))


@parametrize_with_checks([OneClassSVM(), *(OneClassSVM(approximation=way) for way in ("nystroem", "rff"))])
def test_scikit_learns_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_the_contract() -> None:
    check_detector(OneClassSVM)


@pytest.mark.parametrize("gamma", ["scale", "auto", 0.3])
@pytest.mark.parametrize("nu", [0.1, 0.7])
def test_exact_scores_are_scikit_learns(gamma: Any, nu: float) -> None:
    X, new = table() + 3.0, table(300, key="new") * 2 + 3.0
    ours, theirs = OneClassSVM(nu=nu, gamma=gamma).fit(X), svm.OneClassSVM(nu=nu, gamma=gamma).fit(X)
    np.testing.assert_allclose(ours.score_samples(new), theirs.score_samples(new), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))


def test_every_row_may_be_outside() -> None:
    detector = OneClassSVM(nu=1.0).fit(table())
    np.testing.assert_allclose(detector.to_arrays()["coefficients"], 1.0, rtol=1e-6)
    assert (detector.predict(table()) == -1).mean() > 0.99


def test_identical_rows_can_be_fitted() -> None:
    for approximation in ("exact", "nystroem", "rff"):
        detector = OneClassSVM(approximation=approximation).fit(np.ones((20, 3)))
        assert np.isfinite(detector.score_samples([[1, 1, 1], [9, 9, 9]])).all()


@pytest.mark.parametrize("bad", [
    {"kernel": "linear"}, {"nu": 0}, {"nu": 1.1}, {"gamma": 0}, {"gamma": "wide"}, {"gamma": float("nan")},
    {"n_components": 0}, {"n_components": 2.5}, {"approximation": "fourier"}, {"contamination": 0.6},
    {"contamination": "none"}, {"random_state": "x"},
])  # fmt: skip
def test_parameters_out_of_range_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        OneClassSVM(**bad).fit(table())


def test_contamination_decides_how_many_training_rows_are_flagged() -> None:
    X = table()
    for approximation in ("exact", "nystroem", "rff"):
        detector = OneClassSVM(contamination=0.2, approximation=approximation).fit(X)
        assert (detector.predict(X) == -1).sum() == 80


@pytest.mark.parametrize("way", ["exact", "nystroem", "rff", *WAYS])
def test_a_saved_model_scores_the_same_to_the_bit(way: str, tmp_path: Any) -> None:
    X, new = table(), table(50, key="new")
    if way in WAYS:
        detector: Any = federate(OneClassSVM(n_components=16), way, np.array_split(X, 3))
    else:
        detector = OneClassSVM(approximation=way).fit(X)
    save_arrays(tmp_path / "model.npz", detector.to_arrays())
    loaded = OneClassSVM().load(load_arrays(tmp_path / "model.npz"))
    np.testing.assert_array_equal(loaded.score_samples(new), detector.score_samples(new))
    assert loaded.n_features_in_ == 4
    assert digest(loaded.to_arrays()) == digest(detector.to_arrays())


def test_loading_forgets_the_fit_before() -> None:
    pandas = pytest.importorskip("pandas")
    fitted = OneClassSVM().fit(pandas.DataFrame(table(50), columns=list("abcd")))
    fitted.load(OneClassSVM().fit(table(50, 2)).to_arrays())
    assert fitted.predict(table(5, 2)).shape == (5,)


@pytest.mark.parametrize("detector", [OneClassSVM(approximation=way) for way in ("exact", "nystroem", "rff")])
def test_a_rows_score_does_not_depend_on_the_rows_beside_it(detector: OneClassSVM, monkeypatch: Any) -> None:
    X, new = table(), table(101, key="new")
    whole = detector.fit(X).score_samples(new)
    alone = np.concatenate([detector.score_samples(row[None]) for row in new])
    monkeypatch.setattr("fedanomaly.detectors._rbf._CHUNK_VALUES", 1)
    assert len(list(row_chunks(101, 400))) == 7
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(whole, detector.score_samples(new))


def test_malformed_fourier_models_are_refused() -> None:
    good = OneClassSVM(approximation="rff", n_components=6).fit(table(40)).to_arrays()
    bad: list[Arrays] = [{key: value for key, value in good.items() if key != name} for name in good]
    bad += [good | {name: value[..., None]} for name, value in good.items()]
    bad += [good | {name: np.full_like(value, np.nan)} for name, value in good.items()]
    bad += [good | {"surplus": np.ones(1)}, good | {"coefficients": np.zeros(5)}]
    bad += [good | {"frequencies": np.empty((0, 4)), "coefficients": np.empty(0)}]
    for arrays in bad:
        with pytest.raises(InvalidArrays):
            OneClassSVM().load(arrays)


def test_malformed_models_are_refused() -> None:
    good = OneClassSVM().fit(table(40)).to_arrays()
    bad: list[Arrays] = [{key: value for key, value in good.items() if key != name} for name in good]
    bad += [good | {"surplus": np.ones(1)}]
    bad += [good | {name: value[..., None]} for name, value in good.items()]
    bad += [good | {name: value.astype(np.float32)} for name, value in good.items()]
    bad += [
        good | {name: np.full_like(value, np.nan)} for name, value in good.items() if value.dtype.kind == "f"
    ]
    bad += [good | {"gamma": np.zeros(1)}, good | {"scale": np.array([-1.0])}, good | {"scale": np.zeros(1)}]
    bad += [
        good | {"sizes": good["sizes"] + 1},
        good | {"sizes": np.array([-1])},
        good | {"mean": np.ones(2)},
    ]
    bad += [good | {"sizes": np.array([2**63 - 1, 2**63 - 1, 2 + int(good["sizes"][0])])}]
    bad += [good | {"centers": np.empty((0, 4)), "coefficients": np.empty(0), "sizes": np.empty(0, np.int64)}]
    for arrays in bad:
        with pytest.raises(InvalidArrays):
            OneClassSVM().load(arrays)


# -- the Nyström features ---------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 8), st.integers(0, 10**6))
def test_cholesky_of_any_covariance_succeeds(features: int, rank: int, seed: int) -> None:
    root = keyed_generator(seed, "root").normal(size=(features, rank))
    matrix = root @ root.T
    factor = nystroem.cholesky(matrix, 1e-9)
    assert np.array_equal(factor, np.tril(factor)) and (np.diag(factor) > 0).all()
    np.testing.assert_allclose(factor @ factor.T, matrix, atol=1e-4 * (1 + np.abs(matrix).max()))


def test_triangular_solutions() -> None:
    factor = np.linalg.cholesky(np.cov(table().T))
    b = np.arange(4.0)
    np.testing.assert_allclose(factor @ nystroem.solve_lower(factor, b), b, atol=1e-12)
    np.testing.assert_allclose(factor.T @ nystroem.solve_upper(factor, b), b, atol=1e-12)


def test_columns_are_solved_each_by_itself_to_the_same_bits() -> None:
    X = table(60, 3)
    root = nystroem.landmark_root(X, 0.3)
    columns = nystroem.solve_lower(root, X)
    for column, b in zip(columns.T, X.T, strict=True):
        assert np.array_equal(column, nystroem.solve_lower(root, b))


def test_what_is_factorised_or_solved_is_not_changed() -> None:
    matrix, b = np.diag([4.0, 9.0, 1e-12]), np.array([2.0, 3.0, 1.0])
    matrix.flags.writeable = b.flags.writeable = False
    root = nystroem.cholesky(matrix, 1.0)
    assert np.array_equal(root, np.diag([2.0, 3.0, 1.0]))
    assert np.array_equal(nystroem.solve_lower(root, b), nystroem.solve_upper(root, b))


def test_features_have_the_kernels_inner_products_and_norms_of_at_most_one() -> None:
    X = table(200, 2)
    mean, covariance = nystroem.mean_and_covariance(nystroem.moments(X))
    landmarks = nystroem.draw_landmarks(mean, covariance, 128, keyed_generator(1, "x"))
    root = nystroem.landmark_root(landmarks, 0.2)
    phi = np.stack([nystroem.solve_lower(root, row) for row in kernel_values(X, landmarks, 0.2)])
    off = np.abs(phi @ phi.T - kernel_values(X, X, 0.2))
    assert np.quantile(off, 0.999) < 0.01  # the few rows beyond all landmarks are represented less well
    assert ((phi**2).sum(axis=1) <= 1 + 1e-9).all()


def test_landmarks_follow_the_rows_moments_and_are_no_rows() -> None:
    X = table(2000) + 5.0
    mean, covariance = nystroem.mean_and_covariance(nystroem.moments(X))
    np.testing.assert_allclose(mean, X.mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(X.T, bias=True), atol=1e-9)
    landmarks = nystroem.draw_landmarks(mean, covariance, 20_000, keyed_generator(1, "x"))
    np.testing.assert_allclose(landmarks.mean(axis=0), mean, atol=0.06)
    np.testing.assert_allclose(np.cov(landmarks.T), covariance, atol=0.15)
    assert not (landmarks[:, None, 0] == X[None, :, 0]).any()


# -- built by clients --------------------------------------------------------------------------------


def test_the_first_aggregation_is_the_mean_and_the_first_weights_are_the_hinges() -> None:
    ways = OneClassSVM.aggregations
    assert tuple(ways) == WAYS
    assert [name for name in WAYS if ways[name].weights] == ["nystrom-hinge", "rff-hinge", "sgd"]
    assert [name for name in WAYS if ways[name].ships_rows] == ["score-ensemble", "sv-merge"]


@pytest.mark.parametrize("clients", [1, 3, 11])
def test_the_mean_embedding_is_that_of_all_rows_whoever_holds_them(clients: int) -> None:
    X = table(331)
    X = X[np.argsort(X[:, 0])] if clients == 3 else X
    pooled = OneClassSVM(approximation="nystroem", random_state=3).fit(X)
    built = federate(OneClassSVM(random_state=3), "nystrom-mean", np.array_split(X, clients))
    new = table(100, key="new")
    np.testing.assert_allclose(built.score_samples(new), pooled.score_samples(new), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("gamma", ["scale", "auto", 0.7])
def test_federated_gamma_is_scikit_learns_of_all_rows(gamma: Any) -> None:
    X = table(90) + np.arange(4)
    state = run_steps(
        OneClassSVM.aggregations["nystrom-mean"](OneClassSVM(gamma=gamma)), np.array_split(X, 3)
    )
    expected = svm.OneClassSVM(gamma=gamma).fit(X)._gamma
    assert state["nystrom/gamma"][0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_one_seed_one_model_whatever_the_number_of_threads(way: str) -> None:
    parts = np.array_split(table(), 4)
    models = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            models.append(digest(federate(OneClassSVM(random_state=1), way, parts, rounds=2).to_arrays()))
    other = federate(OneClassSVM(random_state=2), way, parts, rounds=2).to_arrays()
    assert models[0] == models[1]
    assert (digest(other) == models[0]) == (way in ("score-ensemble", "sv-merge"))  # nothing is drawn


@pytest.mark.parametrize("way", ONE_ROUND)
def test_rounds_after_the_first_have_no_steps(way: str) -> None:
    aggregation = OneClassSVM.aggregations[way](OneClassSVM())
    assert [len(aggregation.round(r, 4)) for r in (1, 2, 3, 4)] == [1, 0, 0, 0]


def objective(detector: OneClassSVM, X: np.ndarray) -> float:
    """Return the primal objective of a Nyström model on rows."""
    arrays = detector.to_arrays()
    w = nystroem.landmark_root(arrays["centers"], float(arrays["gamma"][0])).T @ arrays["coefficients"]
    rho = float(arrays["rho"][0])
    return float(w @ w / 2 - rho + np.maximum(0, rho - detector.score_samples(X)).mean() / detector.nu)


@pytest.mark.parametrize("nu", [0.1, 0.3, 0.6])
def test_hinge_rounds_find_the_nu_machine(nu: float) -> None:
    X = table(1500)
    detector: Any = federate(OneClassSVM(nu=nu, n_components=64), "nystrom-hinge", np.array_split(X, 5), 10)
    assert (detector.predict(X) == -1).mean() == pytest.approx(nu, abs=0.02)
    arrays = detector.to_arrays()
    gamma = float(arrays["gamma"][0])
    root = nystroem.landmark_root(arrays["centers"], gamma)
    phi = np.linalg.solve(root, kernel_values(X, arrays["centers"], gamma).T).T
    machine = svm.OneClassSVM(kernel="linear", nu=nu, tol=1e-6).fit(phi)
    w, rho = machine.coef_[0] / (nu * len(X)), machine.offset_[0] / (nu * len(X))
    best = w @ w / 2 - rho + np.maximum(0, rho - phi @ w).mean() / nu
    start = federate(OneClassSVM(nu=nu, n_components=64), "nystrom-hinge", np.array_split(X, 5), 0)
    assert best - 1e-6 <= objective(detector, X) <= best + 0.02 * (objective(start, X) - best)


def test_hinge_rounds_approach_nu_when_clients_differ_too() -> None:
    X = table(1500)
    parts = np.array_split(X[np.argsort(X[:, 0])], 5)
    far, near = (federate(OneClassSVM(n_components=64), "nystrom-hinge", parts, rounds) for rounds in (2, 30))
    off = [abs((detector.predict(X) == -1).mean() - 0.1) for detector in (far, near)]
    assert off[1] < 0.04 and off[1] < off[0]


@pytest.mark.parametrize("way", ["rff-hinge", "sgd"])
def test_other_weights_find_the_nu_machine_too(way: str) -> None:
    X = table(1500)
    detector = OneClassSVM(nu=0.3, n_components=64)
    aggregation = detector.aggregations[way](detector)
    state = run_steps(aggregation, np.array_split(X, 5), rounds=10)
    assert (detector.load(aggregation.model(state)).predict(X) == -1).mean() == pytest.approx(0.3, abs=0.03)
    step = aggregation.round(1, 1)[0]
    assert isinstance(step, hinge.HingeStep)
    phi = step.map_.of(step.map_.request(state), detector, 4).rows(X)
    machine = svm.OneClassSVM(kernel="linear", nu=0.3, tol=1e-6).fit(phi)

    def primal(w: np.ndarray, rho: float) -> float:
        return float(w @ w / 2 - rho + np.maximum(0, rho - phi @ w).mean() / 0.3)

    best = primal(machine.coef_[0] / (0.3 * len(X)), machine.offset_[0] / (0.3 * len(X)))
    weights = step.weights(state)
    assert best - 1e-6 <= primal(weights["w"], float(weights["rho"][0])) <= best + 0.002


def test_sgd_goes_on_where_the_round_before_stopped() -> None:
    """One client, three rounds: the pass of a later round moves less than the first."""
    X, detector = table(300), OneClassSVM(n_components=32)
    aggregation = detector.aggregations["sgd"](detector)
    moved, before = [], np.zeros(32)
    for rounds in (1, 2, 3):
        state = run_steps(aggregation, [X], rounds=rounds)
        moved.append(float(np.linalg.norm(state["hinge/w"] - before)))
        before = state["hinge/w"]
    assert moved[0] > 3 * moved[1] > 3 * moved[2]


def hinge_start(parts: list[np.ndarray], way: str = "nystrom-hinge") -> tuple[hinge.HingeStep, Arrays]:
    aggregation = OneClassSVM.aggregations[way](OneClassSVM(n_components=16))
    state = run_steps(aggregation, parts, rounds=0)
    (step,) = aggregation.round(1, 5)
    assert isinstance(step, hinge.HingeStep)
    return step, state


def test_a_proximal_term_keeps_clients_near_the_weights_they_were_sent(monkeypatch: Any) -> None:
    parts = np.array_split(table(), 2)
    step, state = hinge_start(parts)
    request = step.request(state)

    def moved(mu: float) -> float:
        answer = step.answer(request | {"proximal_mu": np.array([mu])}, parts[0], None, turn_of(0))
        return float(np.linalg.norm(answer["w"] - request["w"]))

    assert moved(100.0) < moved(1.0) < moved(0.0)
    monkeypatch.setattr(hinge, "LOCAL_STEPS", 1000)  # the optimum itself lies nearer, not only the way to it
    assert moved(1.0) < 0.7 * moved(0.0)
    monkeypatch.undo()
    plain = step.answer(request, parts[0], None, turn_of(0))
    assert digest(plain) == digest(
        step.answer(request | {"proximal_mu": np.zeros(1)}, parts[0], None, turn_of(0))
    )


def test_a_proximal_term_keeps_sgd_near_too() -> None:
    parts = np.array_split(table(), 2)
    step, state = hinge_start(parts, "sgd")
    request, turn = step.request(state), turn_of(0, 1)
    start = request["w"]
    moved = [
        float(
            np.linalg.norm(
                step.answer(request | {"proximal_mu": np.array(mu)}, parts[0], None, turn)["w"] - start
            )
        )
        for mu in (0.0, 0.1, 1.0, 100.0)
    ]
    assert (np.diff(moved) < 0).all()
    plain = step.answer(request, parts[0], None, turn)
    assert digest(plain) == digest(step.answer(request | {"proximal_mu": np.zeros(1)}, parts[0], None, turn))


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["nystrom-hinge", "rff-hinge", "sgd"]),
    st.floats(-1e9, 1e9),
    st.floats(-1e9, 1e9),
    st.integers(1, 40),
    st.floats(1e-6, 1e6),
    st.integers(1, 50),
)
def test_weights_stay_bounded_whatever_the_data(
    way: str, size: float, rho: float, rows: int, spread: float, server_round: int
) -> None:
    parts = [table(rows, key="few") * spread]
    step, state = hinge_start(parts, way)
    state |= step.finish(state, {"w": np.full(16, size), "rho": np.array([rho])})
    turn = turn_of(0, server_round)
    answer = step.answer(step.request(state), parts[0], None, turn)
    step.check(state, answer, turn)


def test_aggregated_weights_continue_in_the_next_round() -> None:
    parts = np.array_split(table(), 2)
    step, state = hinge_start(parts)
    assert step.request(state)["w"].tolist() == step.initial(state)["w"].tolist()
    sent = {"w": np.arange(16.0) / 100, "rho": np.array([0.1])}
    state |= step.finish(state, sent)
    assert digest({name: step.request(state)[name] for name in sent}) == digest(sent)


def test_the_ensemble_is_the_mean_of_standardised_machines() -> None:
    parts, new = np.array_split(table(), 3), table(50, key="new")
    built = federate(OneClassSVM(), "score-ensemble", parts)
    expected = np.zeros(50)
    for part in parts:
        machine = svm.OneClassSVM(nu=0.1).fit(part)
        own = machine.score_samples(part)
        expected += (machine.score_samples(new) - own.mean()) / own.std() / 3
    np.testing.assert_allclose(built.score_samples(new), expected, rtol=1e-9)
    assert 0.02 < (built.predict(np.concatenate(parts)) == -1).mean() < 0.3


def test_a_client_that_can_fit_no_machine_contributes_nothing(monkeypatch: Any) -> None:
    parts = [table(60), np.ones((5, 4)), table(1)]
    arrays = federate(OneClassSVM(), "score-ensemble", parts).to_arrays()
    assert len(arrays["sizes"]) == 1
    with pytest.raises(FederationError, match="no client"):
        federate(OneClassSVM(), "score-ensemble", parts[1:])
    monkeypatch.setattr(OneClassSVM, "exact_rows", 30)
    assert federate(OneClassSVM(nu=0.9), "score-ensemble", parts[:1]).to_arrays()["sizes"][0] <= 30


def test_fourier_features_have_the_kernels_inner_products_and_norm_one() -> None:
    X = table(200, 3)
    frequencies = fourier.draw_frequencies(4000, 3, 0.2, 1)
    phi = fourier.fourier_values(X, frequencies)
    assert phi.shape == (200, 4000) and frequencies.shape == (2000, 3)
    np.testing.assert_allclose((phi**2).sum(axis=1), 1.0, rtol=1e-12)
    off = np.abs(phi @ phi.T - kernel_values(X, X, 0.2))
    assert off.max() < 5 / np.sqrt(2000) and np.median(off) < 1 / np.sqrt(2000)
    np.testing.assert_allclose(fourier.fourier_sum(X, frequencies), phi.sum(axis=0), rtol=1e-9, atol=1e-9)


def test_fourier_scores_of_rows_at_the_ends_of_the_range_are_finite() -> None:
    detector = OneClassSVM(approximation="rff").fit(table())
    far = [[1e300, -1e300, 0, 1], [1e-300, 0, 0, 0], [3e38, 3e38, 3e38, 3e38]]
    assert np.isfinite(detector.score_samples(far)).all()


@pytest.mark.parametrize("gamma", ["scale", "auto", 0.7])
@pytest.mark.parametrize("clients", [1, 3, 11])
def test_the_fourier_mean_is_that_of_all_rows_whoever_holds_them(clients: int, gamma: Any) -> None:
    X = table(331) + np.arange(4)
    X = X[np.argsort(X[:, 0])] if clients == 3 else X
    detector = OneClassSVM(gamma=gamma, random_state=3)
    state = run_steps(detector.aggregations["rff-mean"](detector), np.array_split(X, clients))
    assert state["fourier/gamma"][0] == pytest.approx(svm.OneClassSVM(gamma=gamma).fit(X)._gamma, rel=1e-11)
    pooled = OneClassSVM(gamma=gamma, approximation="rff", random_state=3).fit(X)
    built = federate(detector, "rff-mean", np.array_split(X, clients))
    new = table(100, key="new")
    np.testing.assert_allclose(built.score_samples(new), pooled.score_samples(new), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("n_components", [1, 2, 15, 64])
def test_a_client_sends_as_many_floats_as_there_are_features(n_components: int) -> None:
    detector = OneClassSVM(gamma="auto", n_components=n_components)
    aggregation = detector.aggregations["rff-mean"](detector)
    assert not aggregation.setup()
    (step,) = aggregation.round(1, 1)
    state = {"rows": np.array([400]), "features": np.array(4)}
    answer = step.answer(step.request(state), table(), None, turn_of(0))
    assert set(answer) == {"count", "features"} and answer["features"].size == n_components + n_components % 2


def test_identical_rows_have_a_fourier_model() -> None:
    detector = federate(OneClassSVM(), "rff-mean", [np.ones((20, 3)), np.ones((1, 3))])
    same, other = detector.score_samples([[1, 1, 1], [4, 1, 1]])
    assert other < same == pytest.approx(1.0)


def test_merged_support_vectors_of_one_client_are_the_exact_machine() -> None:
    X, new = table(), table(100, key="new") * 2
    exact, merged = OneClassSVM().fit(X), federate(OneClassSVM(), "sv-merge", [X])
    np.testing.assert_allclose(merged.score_samples(new), exact.score_samples(new), rtol=2e-3, atol=2e-3)
    assert np.abs(merged.offset_ - exact.offset_) < 2e-2


@pytest.mark.parametrize("nu", [0.1, 0.4, 1.0])
def test_merged_support_vectors_come_near_the_pooled_machine(nu: float) -> None:
    X, new = table(1200), table(300, key="new") * 2
    exact = OneClassSVM(nu=nu).fit(X)
    merged = federate(OneClassSVM(nu=nu), "sv-merge", np.array_split(X, 6))
    ours, theirs = merged.score_samples(new), exact.score_samples(new)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.999
    np.testing.assert_allclose(ours, theirs, atol=0.05 * theirs.max())
    assert (merged.predict(X) == -1).mean() == pytest.approx(nu, abs=0.05)
    rows = {row.tobytes() for row in X}
    assert {row.tobytes() for row in merged.to_arrays()["centers"]} <= rows


def test_clients_of_one_row_and_samples_of_many_support_vectors(monkeypatch: Any) -> None:
    parts = [table(60), np.ones((5, 4)), table(1)]
    assert len(federate(OneClassSVM(nu=0.5), "sv-merge", parts).to_arrays()["centers"]) >= 30
    monkeypatch.setattr(OneClassSVM, "exact_rows", 30)
    assert (
        1
        <= len(federate(OneClassSVM(nu=0.9), "sv-merge", [table(60), table(60)]).to_arrays()["centers"])
        <= 30
    )


HOSTILE: list[tuple[str, int, dict[str, Any]]] = [
    ("nystrom-mean", 0, {"count": np.array([0])}),
    ("nystrom-mean", 0, {"count": np.array([101])}),
    ("nystrom-mean", 0, {"count": np.array([50], dtype=np.int32)}),
    ("nystrom-mean", 0, {"sum": np.full(4, np.inf)}),
    ("nystrom-mean", 0, {"sum": np.full(4, 1e6)}),
    ("nystrom-mean", 0, {"sum": np.zeros(3), "products": np.zeros((3, 3))}),
    ("nystrom-mean", 0, {"products": np.triu(np.ones((4, 4)))}),
    ("nystrom-mean", 0, {"products": -np.eye(4)}),
    ("nystrom-mean", 0, {"products": np.zeros((4, 5))}),
    ("nystrom-mean", 0, {"extra": np.zeros(1)}),
    ("nystrom-mean", 1, {"kernel": np.full(16, 51.0)}),
    ("nystrom-mean", 1, {"kernel": np.full(16, -0.1)}),
    ("nystrom-mean", 1, {"kernel": np.zeros(15)}),
    ("nystrom-mean", 1, {"kernel": np.zeros(16, dtype=np.float32)}),
    ("nystrom-mean", 1, {"count": np.array(["50"])}),
    ("nystrom-hinge", 2, {"w": np.full(16, 0.5)}),
    ("nystrom-hinge", 2, {"w": np.full(16, np.nan)}),
    ("nystrom-hinge", 2, {"w": np.full(16, 1e200)}),
    ("nystrom-hinge", 2, {"w": np.zeros(17)}),
    ("nystrom-hinge", 2, {"rho": np.array([1.5])}),
    ("nystrom-hinge", 2, {"rho": np.array([0], dtype=np.int64)}),
    ("rff-mean", 0, {"sums": np.array([1e6, 1.0])}),
    ("rff-mean", 0, {"sums": np.array([0.0, -1.0])}),
    ("rff-mean", 0, {"sums": np.array([1e100, 1e150])}),
    ("rff-mean", 0, {"sums": np.zeros(3)}),
    ("rff-mean", 0, {"count": np.array([0])}),
    ("rff-mean", 1, {"features": np.full(16, 18.0)}),
    ("rff-mean", 1, {"features": np.full(16, -15.0)}),
    ("rff-mean", 1, {"features": np.zeros(14)}),
    ("rff-mean", 1, {"count": np.array([101])}),
    ("rff-hinge", 2, {"w": np.full(16, 0.5)}),
    ("sgd", 1, {"rho": np.array([1.5])}),
    ("sgd", 1, {"w": np.zeros(17)}),
    ("sv-merge", 1, {"duals": 2.0}),
    ("sv-merge", 1, {"duals": 1.0, "vectors": np.zeros((5, 4))}),
    ("sv-merge", 1, {"duals": np.ones(50), "vectors": np.zeros((50, 4))}),
    ("sv-merge", 1, {"duals": np.full(101, 0.01), "vectors": np.zeros((101, 4))}),
    ("sv-merge", 1, {"duals": np.empty(0), "vectors": np.zeros((0, 4))}),
    ("sv-merge", 1, {"duals": np.ones(2), "vectors": np.zeros((2, 5))}),
    ("score-ensemble", 0, {"coefficients": None}),
    ("score-ensemble", 0, {"coefficients": -1.0}),
    ("score-ensemble", 0, {"coefficients": 2.0}),
    ("score-ensemble", 0, {"scale": np.zeros(1)}),
    (
        "score-ensemble",
        0,
        {"centers": np.zeros((101, 4)), "coefficients": np.ones(101), "sizes": np.array([101])},
    ),
    ("score-ensemble", 0, {"centers": np.zeros((9, 5)), "coefficients": np.ones(9), "sizes": np.array([9])}),
    ("score-ensemble", 0, {"sizes": np.array([1, 1])}),
]


@pytest.mark.parametrize(("way", "index", "change"), HOSTILE)
def test_the_server_refuses_what_no_client_can_have_computed(
    way: str, index: int, change: dict[str, Any]
) -> None:
    parts = np.array_split(table(100), 2)
    aggregation = OneClassSVM.aggregations[way](OneClassSVM(n_components=16))
    step = [*aggregation.setup(), *aggregation.round(1, 1)][index]
    state = run_steps(aggregation, parts, rounds=1)
    turn = turn_of(0)
    answer = step.answer(step.request(state), parts[0], None, turn)
    step.check(state, answer, turn)
    for name, value in change.items():
        if value is None:
            del answer[name]
        else:
            answer[name] = np.full_like(answer[name], value) if isinstance(value, float) else value
    with pytest.raises(InvalidArrays):
        step.check(state, answer, turn)


def test_clients_refuse_a_malformed_request() -> None:
    parts = np.array_split(table(), 2)
    step, state = hinge_start(parts)
    request = step.request(state)
    for bad in (
        {"landmarks": np.zeros((16, 3))},
        {"gamma": np.zeros(1)},
        {"w": np.zeros(3)},
        {"proximal_mu": np.array(-1.0)},
    ):
        with pytest.raises(InvalidArrays):
            step.answer(request | bad, parts[0], None, turn_of(0))
