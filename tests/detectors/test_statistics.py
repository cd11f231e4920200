"""The additive detectors: the same whoever holds which row, and what their papers say they are."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import EmpiricalCovariance
from sklearn.metrics import average_precision_score
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from fedanomaly.core.arrays import Arrays, digest
from fedanomaly.core.errors import InvalidArrays, UserError
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.detectors import ECOD, GMM, HBOS, IQR, PCA, Detector, Mahalanobis, ZScore
from fedanomaly.detectors._grid import OCTAVES, bins_of, brackets, counted, even_in_log_tails
from fedanomaly.detectors._mixture import Mixture
from fedanomaly.detectors.contract import check_detector, run_steps

COUNTED = [HBOS(), ECOD(), ECOD(tails="feature"), IQR()]
MEASURED = [
    ZScore(), Mahalanobis(), Mahalanobis(shrinkage=0.0), PCA(), PCA(index="residual"),
    GMM(), GMM(n_components=3, covariance_type="full"),
]  # fmt: skip
ALL = COUNTED + MEASURED
ids = repr


def table(n: int = 500, key: str = "rows") -> np.ndarray:
    """Correlated, skewed, discrete, distant and constant features."""
    generator = keyed_generator(0, key)
    normal = generator.normal(size=(n, 3)) @ [[1.0, 0.8, 0], [0, 0.5, 0], [0, 0, 2]]
    others = [generator.lognormal(size=n), generator.poisson(0.3, n), 1e5 + generator.normal(size=n)]
    return np.column_stack([normal, *others, np.full(n, 0.1)])


def partitions(X: np.ndarray) -> dict[str, list[np.ndarray]]:
    order = keyed_generator(1, "order").permutation(len(X))
    return {
        "three": np.array_split(X[order], 3),
        "twenty by value": np.array_split(X[np.argsort(X[:, 3])], 20),
        "one row each and the rest": [*X[:30, None], X[30:]],
    }


def summed(detector: Detector, parts: list[np.ndarray], rounds: int = 10) -> Detector:
    way = detector.aggregations["sum"](detector)
    return type(detector)(**detector.get_params()).load(way.model(run_steps(way, parts, rounds=rounds)))


@parametrize_with_checks(ALL)
def test_scikit_learns_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("cls", [ZScore, IQR, Mahalanobis, PCA, HBOS, ECOD, GMM])
def test_the_contract(cls: type[Detector]) -> None:
    check_detector(cls)


# -- whoever holds which row ---------------------------------------------------------------------------


@pytest.mark.parametrize("detector", COUNTED, ids=ids)
def test_what_is_counted_is_equal_to_the_bit_over_all_partitions(detector: Detector) -> None:
    X = table()
    pooled = type(detector)(**detector.get_params()).fit(X)
    for name, parts in partitions(X).items():
        assert digest(summed(detector, parts).to_arrays()) == digest(pooled.to_arrays()), name


@pytest.mark.parametrize("detector", MEASURED, ids=ids)
def test_what_is_measured_is_equal_up_to_rounding_over_all_partitions(detector: Detector) -> None:
    X, new = table(), table(100, "new") * 1.5
    if isinstance(detector, GMM):
        X, new = ((rows - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9) for rows in (X, new))
    pooled = type(detector)(**detector.get_params()).fit(X)
    for name, parts in partitions(X).items():
        federated = summed(detector, parts)
        np.testing.assert_allclose(
            federated.score_samples(new), pooled.score_samples(new), rtol=1e-9, err_msg=name
        )
        for array, expected in pooled.to_arrays().items():
            scale = np.abs(expected).max()
            np.testing.assert_allclose(
                federated.to_arrays()[array], expected, rtol=1e-9, atol=1e-9 * scale, err_msg=array
            )


@settings(max_examples=25)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 10**6), st.sampled_from([0.0, 1e8, -1e-8]))
def test_counts_do_not_depend_on_the_split(n: int, clients: int, seed: int, offset: float) -> None:
    generator = keyed_generator(seed, "rows")
    X = offset + np.round(generator.standard_cauchy((n, 2)), int(generator.integers(0, 6)))
    owner = generator.integers(0, clients, n)
    parts = [X[owner == client] for client in np.unique(owner)]
    for detector in (HBOS(n_bins=5), ECOD(n_bins=16), IQR()):
        assert digest(summed(detector, parts, 1).to_arrays()) == digest(detector.fit(X).to_arrays())


@pytest.mark.parametrize("detector", [Mahalanobis(), PCA(), GMM(covariance_type="full"), ECOD()], ids=ids)
def test_one_model_whatever_the_number_of_threads(detector: Detector) -> None:
    X, models = np.tile(table(300), (1, 12)), []
    for threads in (1, 2):
        with threadpool_limits(threads):
            models.append(digest(detector.fit(X).to_arrays()))
    assert models[0] == models[1]


def test_the_last_step_waits_for_round_1_and_mixtures_go_on() -> None:
    for detector, setup, rounds in ((ECOD(), 3, [1, 0, 0]), (Mahalanobis(), 1, [1, 0, 0])):
        way = detector.aggregations["sum"](detector)
        assert len(way.setup()) == setup
        assert [len(way.round(r, 3)) for r in (1, 2, 3)] == rounds
    way = GMM.aggregations["sum"](GMM(max_iter=2))
    assert [len(way.round(r, 3)) for r in (1, 2, 3)] == [1, 1, 0] and way.iterative


def test_clients_that_drop_out_between_exchanges_leave_a_sound_model() -> None:
    X = table()
    for detector in ALL:
        way = detector.aggregations["sum"](detector)
        state: Arrays = {"rows": np.array([len(X)]), "features": np.array(X.shape[1])}
        for at, step in enumerate([*way.setup(), *way.round(1, 1)]):
            turn = Turn(0, 1, 1, 0, (0,))
            answer = step.answer(step.request(state), X[at * 100 :], None, turn)
            step.check(state, answer, turn)
            state |= step.finish(state, answer)
        model = type(detector)(**detector.get_params()).load(way.model(state))
        assert np.isfinite(model.score_samples(X)).all()


# -- what the papers say -------------------------------------------------------------------------------


def test_z_scores() -> None:
    X, new = table(), table(50, "new")
    scale = X.std(axis=0)
    scale[-1] = 1.0
    np.testing.assert_allclose(
        ZScore().fit(X).score_samples(new), -(((new - X.mean(axis=0)) / scale) ** 2).mean(axis=1), rtol=1e-9
    )


def test_deviations_keep_their_digits_beside_a_large_mean() -> None:
    X = 1e9 + keyed_generator(2, "x").normal(size=(4000, 2))
    detector = ZScore().fit(X)
    np.testing.assert_allclose(detector.scale_, (X - 1e9).std(axis=0), rtol=1e-9)
    assert ZScore().fit(np.full((7, 1), 1e5 + 0.1)).scale_[0] == 1.0


def test_mahalanobis_is_scikit_learns_distance_and_its_pseudo_inverse() -> None:
    X, new = table()[:, :6], table(50, "new")[:, :6]
    theirs = EmpiricalCovariance().fit(X)
    np.testing.assert_allclose(
        -Mahalanobis(shrinkage=0).fit(X).score_samples(new), theirs.mahalanobis(new), rtol=1e-7
    )
    twice = Mahalanobis(shrinkage=0).fit(np.hstack([X, X])).score_samples(np.hstack([new, new]))
    np.testing.assert_allclose(-twice, theirs.mahalanobis(new), rtol=1e-6)


def test_a_shrunk_distance_does_not_depend_on_units_and_sees_what_was_constant() -> None:
    X, new = table(30), table(50, "new")
    scores = Mahalanobis(shrinkage=0.1).fit(X).score_samples(new)
    units = np.array([1e3, 1, 1e-3, 7, 1, 1e-6, 1])
    np.testing.assert_allclose(Mahalanobis(shrinkage=0.1).fit(X * units).score_samples(new * units), scores)
    odd = X[0].copy()
    odd[-1] += 5
    usual, seen = Mahalanobis().fit(X).score_samples([X[0], odd])
    assert seen == pytest.approx(usual - 25)
    assert Mahalanobis(shrinkage=1).fit(X).score_samples(new) / 7 == pytest.approx(
        ZScore().fit(X).score_samples(new)
    )


def test_more_features_than_rows() -> None:
    X = keyed_generator(3, "wide").normal(size=(8, 40))
    for detector in (Mahalanobis(), Mahalanobis(shrinkage=0), PCA(), GMM(covariance_type="full")):
        scores = detector.fit(X).score_samples(np.vstack([X, 9 * X[:1]]))
        assert np.isfinite(scores).all() and scores[-1] < scores[:-1].min()


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_pca_is_the_error_of_the_reconstruction_from_a_singular_value_decomposition(share: float) -> None:
    X, new = table()[:, :6], table(50, "new")[:, :6]
    Z, new_z = ((rows - X.mean(axis=0)) / X.std(axis=0) for rows in (X, new))
    _, singular, V = np.linalg.svd(Z, full_matrices=False)
    explained = np.cumsum(singular**2) / (singular**2).sum()
    kept = min(int((explained < share - 1e-9).sum()) + 1, 5)
    rest = ((new_z - new_z @ V[:kept].T @ V[:kept]) ** 2).sum(axis=1)
    detector = PCA(explained_variance=share, index="residual").fit(X)
    np.testing.assert_allclose(-detector.score_samples(new), rest, rtol=1e-8)
    within = ((new_z @ V[:kept].T) ** 2 / (singular[:kept] ** 2 / len(X))).sum(axis=1)
    combined = -PCA(explained_variance=share).fit(X).score_samples(new)
    fitted, *_ = np.linalg.lstsq(np.column_stack([rest, within]), combined, rcond=None)
    np.testing.assert_allclose(np.column_stack([rest, within]) @ fitted, combined, rtol=1e-8)
    assert (fitted > 0).all()


def test_equal_components_are_never_parted() -> None:
    corners = np.array([[-1.0, -1, 1], [1, 1, 1], [-1, 1, -1], [1, -1, -1]])
    detector = PCA(explained_variance=0.4, index="residual").fit(corners)  # three equal components
    np.testing.assert_allclose(-detector.score_samples(corners), 3.0)


def test_hbos_counts_as_numpy_does_over_the_range_of_all_rows() -> None:
    X = table(2000)
    detector = HBOS(n_bins=20).fit(X)
    low, high = detector.cuts_[:, 0], detector.cuts_[:, -1]
    width = np.maximum(X.max(axis=0) - X.min(axis=0), 1e-9)
    near = 2.0**-23 * np.abs(X).max(axis=0)
    assert (low <= X.min(axis=0)).all() and (high >= X.max(axis=0)).all()
    assert (high - low - width <= 2 * near).all()
    expected = np.zeros(len(X))
    for feature, cuts in enumerate(detector.cuts_):
        counts, _ = np.histogram(X[:, feature], cuts)
        assert detector.counts_[feature].tolist() == [0, *counts, 0]
        expected += np.log(counts[bins_of(X[:, feature], cuts) - 1] / counts.max())
    np.testing.assert_allclose(detector.score_samples(X), expected, atol=1e-12)
    beyond = X[:1].copy()
    beyond[0, 3] = 1e6
    assert detector.contributions(beyond)[0, 3] == np.log(detector.counts_[3].max() / 0.5)


def textbook_ecod(X: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Algorithm 1 of Li et al. (2022), on sorted rows."""
    left, right = np.empty(new.shape), np.empty(new.shape)
    for feature, column in enumerate(np.sort(X, axis=0).T):
        below = np.searchsorted(column, new[:, feature], "right")
        above = len(X) - np.searchsorted(column, new[:, feature], "left")
        left[:, feature], right[:, feature] = (-np.log(np.maximum(c, 0.5) / len(X)) for c in (below, above))
    skewed = np.where(((X - X.mean(axis=0)) ** 3).mean(axis=0) < 0, left, right)
    return -np.max([left.sum(axis=1), right.sum(axis=1), skewed.sum(axis=1)], axis=0)


def test_ecod_is_the_papers_algorithm_exactly_where_values_repeat() -> None:
    generator = keyed_generator(4, "codes")
    X = np.column_stack([
        generator.poisson(0.5, 3000), generator.choice([-7.5, 0, 0.1, 1e6], 3000), -generator.poisson(3, 3000)
    ]).astype(float)  # fmt: skip
    np.testing.assert_allclose(ECOD().fit(X).score_samples(X), textbook_ecod(X, X), rtol=1e-12)


def test_ecod_is_close_to_the_papers_algorithm_where_they_do_not() -> None:
    X, new = table(3000), table(300, "new") * [3, 3, 3, 3, 1, 1, 1]
    step = 4 * np.log(6000) / 256  # of one term
    detector = ECOD().fit(X)
    expected = textbook_ecod(X, new)
    difference = detector.score_samples(new) - expected
    assert np.abs(difference).max() < 7 * step and np.abs(difference).mean() < step
    ranks = np.argsort(np.argsort(expected)), np.argsort(np.argsort(detector.score_samples(new)))
    assert np.corrcoef(*ranks)[0, 1] > 0.999


@settings(max_examples=60)
@given(st.integers(1, 90), st.integers(1, 3), st.integers(1, 300), st.integers(0, 10**6))
def test_few_rows_and_many_are_counted_alike(n: int, n_features: int, n_cuts: int, seed: int) -> None:
    generator = keyed_generator(seed, "counted")
    X = generator.integers(-4, 4, size=(n, n_features)) / 4.0  # some lie on a cut, and some cuts are equal
    cuts = np.sort(generator.integers(-4, 4, size=(n_features, n_cuts)) / 4.0, axis=1)
    before, counts = X.copy(), counted(X, cuts)
    assert counts.dtype == np.int64 and counts.shape == (n_features, n_cuts + 1)
    for feature, own, found in zip(X.T, cuts, counts, strict=True):
        edges = np.concatenate([[-np.inf], own, [np.inf]])
        expected = [np.sum((low <= feature) & (feature < high)) for low, high in pairwise(edges)]
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(X, before)


@settings(max_examples=40)
@given(st.integers(1, 400), st.integers(0, 10**6), st.lists(st.floats(0, 1), min_size=1))
def test_a_bracket_holds_the_quantile(n: int, seed: int, shares: list[float]) -> None:
    values = keyed_generator(seed, "values").standard_cauchy(n) * 100
    counts = np.bincount(bins_of(values, OCTAVES), minlength=len(OCTAVES) + 1)
    low, high = brackets(OCTAVES, counts, shares)
    quantiles = np.quantile(values, shares, method="inverted_cdf")
    assert (low <= quantiles).all() and (quantiles < high).all()


@settings(max_examples=40)
@given(st.lists(st.integers(0, 1000), min_size=5, max_size=40).filter(any), st.integers(2, 50))
def test_refined_cuts_ascend_and_stay_among_the_occupied_bins(counts: list[int], n_cuts: int) -> None:
    cuts = np.cumsum(np.linspace(0.1, 1, len(counts) - 1))
    edges, held = np.concatenate([[-np.inf], cuts, [np.inf]]), np.flatnonzero(counts)
    new = even_in_log_tails(n_cuts)(cuts, np.array(counts))
    assert len(new) == n_cuts and (np.diff(new) >= 0).all()
    low, high = edges[held[0]].astype(np.float32), edges[held[-1] + 1].astype(np.float32)
    assert low <= new[0] and new[-1] <= high


def test_iqr_is_the_distance_beyond_the_quartiles() -> None:
    X, new = table(801), table(50, "new") * 2
    quartiles = np.quantile(X, [0.25, 0.75], axis=0, method="inverted_cdf")
    lower, upper = quartiles
    scale = upper - lower
    scale[4] = np.subtract(*np.quantile(X[:, 4], [0.95, 0.05]))  # mostly zero: the next wider range
    scale[6] = 1.0
    detector = IQR().fit(X)
    np.testing.assert_allclose(detector.lower_, lower, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(detector.scale_, scale, rtol=0.01)
    expected = np.maximum(np.maximum(lower - new, new - upper), 0) / scale
    np.testing.assert_allclose(-detector.score_samples(new), expected.mean(axis=1), rtol=0.01)


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_the_mixture_takes_scikit_learns_steps(kind: str) -> None:
    X = table()[:, :4]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    covariance = np.cov(X.T, bias=True) if kind == "full" else X.var(axis=0)
    start = Mixture.spread(3, X.mean(axis=0), covariance, 1e-3)
    precisions = np.repeat(
        [np.linalg.inv(covariance + 1e-3 * np.eye(4)) if kind == "full" else 1 / (covariance + 1e-3)],
        3,
        axis=0,
    )
    theirs = GaussianMixture(
        3, covariance_type=kind, reg_covar=1e-3, max_iter=7, tol=0, weights_init=np.full(3, 1 / 3),
        means_init=start.means, precisions_init=precisions,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="converge"):
        theirs.fit(X)
    ours = GMM(n_components=3, covariance_type=kind, max_iter=7).fit(X)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-7)


def test_likelihood_rises_and_is_reported() -> None:
    X = np.concatenate([table(300)[:, :3], 6 + table(200, "more")[:, :3]])
    detector = GMM(n_components=2)
    way, seen = detector.aggregations["sum"](detector), []
    for rounds in range(1, 8):
        seen.append(float(run_steps(way, np.array_split(X, 4), rounds=rounds)["log_likelihood"][0]))
    assert (np.diff(seen) > -1e-9).all() and seen[-1] > seen[0] + 0.1


@pytest.mark.parametrize(
    ("detector", "least"),
    [(ECOD(), 0.61), (HBOS(), 0.50), (IQR(), 0.35), (ZScore(), 0.38), (PCA(), 0.24)],
    ids=ids,
)
def test_average_precision_on_the_credit_card_sample(detector: Detector, least: float) -> None:
    path = Path(os.environ.get("FEDANOMALY_DATA", "")) / "creditcard" / "creditcard.parquet"
    if not os.environ.get("FEDANOMALY_DATA") or not path.is_file():
        pytest.skip(f"needs creditcard/creditcard.parquet under FEDANOMALY_DATA, not at {path}")
    import pandas as pd

    frame = pd.read_parquet(path)
    X, y = frame.drop(columns="Class").to_numpy(float), frame["Class"].to_numpy()
    assert average_precision_score(y, -detector.fit(X).score_samples(X)) >= least


# -- odd rows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", ALL, ids=ids)
def test_odd_tables(detector: Detector) -> None:
    for X in (
        np.zeros((1, 1)),
        np.ones((50, 3)),
        np.array([[3.0, -1e30]] * 5 + [[3.0, 1e30]]),
        np.arange(-100, 100, dtype=np.int8).reshape(-1, 2),
        table().astype(np.float32),
        np.eye(6) * 1e-20,
    ):
        if isinstance(detector, GMM) and X.dtype == np.float64 and np.abs(X).max() > 1e9:
            continue  # made for scaled rows
        scores = detector.fit(X).score_samples(X)
        assert np.isfinite(scores).all()
        far = np.full((1, X.shape[1]), 1e300)
        assert np.isfinite(detector.score_samples(far)).all()
        assert detector.score_samples(far)[0] <= scores.min()


@pytest.mark.parametrize("detector", [ZScore(), Mahalanobis(), PCA(), GMM()], ids=ids)
def test_values_that_cannot_be_squared_are_refused(detector: Detector) -> None:
    with pytest.raises(UserError, match="rescale"):
        detector.fit([[1e200], [0.0]])


@pytest.mark.parametrize("detector", ALL, ids=ids)
def test_contamination_decides_how_many_training_rows_are_flagged(detector: Detector) -> None:
    model = type(detector)(**{**detector.get_params(), "contamination": 0.1})
    X = keyed_generator(5, "x").normal(size=(200, 4))
    assert 10 <= (model.fit(X).predict(X) == -1).sum() <= 20


@pytest.mark.parametrize(("cls", "bad"), [
    (HBOS, {"n_bins": 1}), (HBOS, {"n_bins": 5000}), (ECOD, {"n_bins": 2.5}), (ECOD, {"tails": "both"}),
    (IQR, {"contamination": 0}), (ZScore, {"contamination": "some"}), (Mahalanobis, {"shrinkage": -0.1}),
    (PCA, {"explained_variance": 0}), (PCA, {"index": "T2"}), (GMM, {"n_components": 0}),
    (GMM, {"covariance_type": "tied"}), (GMM, {"reg_covar": 0}), (GMM, {"max_iter": 0}),
])  # fmt: skip
def test_parameters_out_of_range_are_named(cls: type[Detector], bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        cls(**bad).fit(table(50))


# -- answers no rows can give --------------------------------------------------------------------------

TURN = Turn(7, 1, 1, 0, (0, 1))


def asked(detector: Detector, at: int) -> tuple[Any, Arrays, Arrays]:
    """Return step number ``at``, the state it meets and a sound answer to it."""
    X = table(60)[:, :3]
    way = detector.aggregations["sum"](detector)
    state: Arrays = {"rows": np.array([60, 60]), "features": np.array(3)}
    for step in [*way.setup(), *way.round(1, 1)][: at + 1]:
        answer = step.answer(step.request(state), X, None, TURN)
        before, state = state, {**state, **step.finish(state, answer)}
    return step, before, answer


def refused(step: Any, state: Arrays, answer: Arrays) -> bool:
    try:
        step.check(state, answer, TURN)
    except InvalidArrays:
        return True
    return False


def test_histograms_that_no_rows_have_are_refused() -> None:
    for detector, at in ((ECOD(), 0), (HBOS(), 4), (IQR(), 2)):
        step, state, answer = asked(detector, at)
        counts = answer["counts"]
        step.check(state, answer, TURN)
        more, negative = counts.copy(), counts.copy()
        more[0, 0] += 1
        negative[:, 0], negative[:, 1] = -1, negative[:, 1] + 1 + negative[:, 0]
        for bad in (more, negative, counts * 3, counts * 0, counts[:2], counts[:, 1:], counts.astype(float),
                    counts.astype(np.int32), np.full_like(counts, 2**62)):  # fmt: skip
            assert refused(step, state, {"counts": bad})


def test_moments_that_no_rows_have_are_refused() -> None:
    for detector in (ZScore(), Mahalanobis()):
        step, state, answer = asked(detector, 1)
        step.check(state, answer, TURN)
        for name, value in (
            ("count", np.array([121])), ("count", np.array([0])), ("sum", answer["sum"] + 1e3),
            ("second", -answer["second"]), ("second", answer["second"] * 1e160), ("sum", answer["sum"][:2]),
        ):  # fmt: skip
            assert refused(step, state, {**answer, name: value}), name
    skew = answer["second"].copy()
    skew[0, 1] *= 2
    assert refused(step, state, {**answer, "second": skew})
    skew[1, 0] = skew[0, 1] = 1e6
    assert refused(step, state, {**answer, "second": skew})


def test_expectations_that_no_rows_have_are_refused() -> None:
    for kind in ("diag", "full"):
        step, state, answer = asked(GMM(covariance_type=kind), 2)
        step.check(state, answer, TURN)
        for name, value in (
            ("rows", answer["rows"] * 2), ("rows", -answer["rows"]), ("first", answer["first"] + 1e3),
            ("second", answer["second"] * 0), ("log_likelihood", np.array([np.inf])),
        ):  # fmt: skip
            assert refused(step, state, {**answer, name: value}), name


def test_a_client_refuses_cuts_and_mixtures_that_are_none() -> None:
    step, state, _ = asked(ECOD(), 1)
    cuts = step.request(state)["cuts"]
    for bad in (cuts[:, ::-1], cuts[:2], cuts[:, :0], cuts * np.nan, cuts.astype(np.float32)):
        with pytest.raises(InvalidArrays):
            step.answer({"cuts": bad}, table(60)[:, :3], None, TURN)
    step, state, _ = asked(GMM(covariance_type="full"), 2)
    good = step.request(state)
    for name, value in (
        ("weights", good["weights"] * 2), ("means", good["means"][:, :2]), ("whitening", -good["whitening"]),
        ("whitening", np.transpose(good["whitening"], (0, 2, 1))), ("whitening", good["whitening"][0, 0]),
    ):  # fmt: skip
        with pytest.raises(InvalidArrays):
            step.answer({**good, name: value}, table(60)[:, :3], None, TURN)


# -- terms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("detector", [d for d in ALL if not isinstance(d, GMM)], ids=ids)
def test_terms_add_up_to_the_score_and_none_is_negative(detector: Detector) -> None:
    X, new = table(), table(80, "new") * 3
    terms = detector.fit(X).contributions(new)
    np.testing.assert_allclose(terms.sum(axis=1), -detector.score_samples(new), rtol=1e-12)
    assert terms.shape == new.shape and (terms >= 0).all()


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_terms_of_one_component_add_up_to_its_mahalanobis_distance(kind: str) -> None:
    X = table()[:, :3]
    detector = GMM(n_components=1, covariance_type=kind, reg_covar=1e-9).fit(X)
    deviations = X - X.mean(axis=0)
    covariance = np.cov(X.T, bias=True) if kind == "full" else np.diag(X.var(axis=0))
    expected = np.einsum("nf,fg,ng->n", deviations, np.linalg.inv(covariance), deviations)
    np.testing.assert_allclose(detector.contributions(X).sum(axis=1), expected, rtol=1e-6)


def test_a_rows_score_does_not_depend_on_the_rows_beside_it(monkeypatch: Any) -> None:
    X = table()
    for detector in ALL:
        whole = detector.fit(X).score_samples(X[:20])
        monkeypatch.setattr("fedanomaly.detectors._additive._CHUNK_VALUES", 1)
        np.testing.assert_array_equal(detector.score_samples(X[:20]), whole)
        monkeypatch.undo()
