"""What every detector must do, as a check that authors can run on a class of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from sklearn.base import clone

from fedanomaly.core.answers import Answer, Answers, Batch
from fedanomaly.core.arrays import Array, Arrays, digest
from fedanomaly.core.errors import InvalidArrays
from fedanomaly.core.keyed import Turn, keyed_generator
from fedanomaly.core.steps import AdditiveStep, CollectStep, Step, WeightsStep
from fedanomaly.detectors.base import Aggregation, Detector
from fedanomaly.detectors.references import aggregations_of
from fedanomaly.privacy.sums import secure_sum

N_FEATURES, ROUNDS, SEED = 4, 2, 7


def check_detector(cls: type[Detector]) -> None:
    """Raise :class:`AssertionError` that names the first promise ``cls`` breaks.

    Checked on made-up rows: scores, the arrays and their refusal when damaged, and two rounds over
    three clients for every aggregation, `local` and `pooled` included. scikit-learn's own checks
    (``sklearn.utils.estimator_checks``) come besides.

    Examples
    --------
    >>> from fedanomaly.detectors import IsolationForest
    >>> check_detector(IsolationForest)
    """
    assert isinstance(cls.name, str) and cls.name, "a detector needs a name"
    assert isinstance(cls.title, str) and cls.title, f"{cls.name}: a title is missing"
    check_arrays(cls())
    for name, way in aggregations_of(cls).items():
        check_aggregation(way(cls()), name)


def check_arrays(detector: Detector) -> None:
    """Check fitting, scoring, and that the arrays are the model: no more, no less."""
    who = detector.name
    X = np.concatenate(rows_of_clients())
    y = np.concatenate(labels_of_clients()) if detector.supervised else None
    fitted = _seeded(detector).fit(X, y)
    scores = fitted.score_samples(X)
    assert scores.shape == (len(X),) and scores.dtype == np.float64, (
        f"{who}: scores must be float64, one a row"
    )
    assert np.isfinite(scores).all(), f"{who}: scores must be finite"
    flagged = fitted.predict(X) == -1
    assert np.array_equal(flagged, scores < fitted.offset_), f"{who}: -1 must be what scores below offset_"
    far = fitted.score_samples(np.full((1, N_FEATURES), 1e3))
    assert far[0] < np.median(scores), f"{who}: the lower the score, the more abnormal"
    again = _seeded(detector).fit(X, y).score_samples(X)
    assert np.array_equal(scores, again), f"{who}: fit must repeat itself"

    arrays = fitted.to_arrays()
    for name, array in arrays.items():
        assert isinstance(array, np.ndarray) and array.dtype.kind in "biufU", (
            f"{who}: {name} is no plain array"
        )
    loaded = clone(detector).load({name: array.copy() for name, array in arrays.items()})
    assert np.array_equal(scores, loaded.score_samples(X)), f"{who}: a loaded model must score the same"
    assert loaded.n_features_in_ == N_FEATURES, f"{who}: load must set n_features_in_"
    assert np.isfinite(loaded.offset_), f"{who}: load must set a provisional offset_"
    assert digest(loaded.to_arrays()) == digest(arrays), f"{who}: to_arrays must return what load took"
    for damage, broken in damaged(arrays):
        assert _refuses(clone(detector).load, broken), f"{who}: load accepts {damage}"


def check_aggregation(way: Aggregation, name: str) -> None:
    """Check one way of building a detector: it ends in a model, bit for bit, whatever comes first."""
    who = f"{way.detector.name}, {name}"
    assert way.name == name, f"{who}: its name is {way.name!r}"
    for text in (way.title, way.leaks):
        assert isinstance(text, str) and text, f"{who}: title or leaks is missing"
    parts = rows_of_clients()
    before = repr(vars(way.detector))
    labels = labels_of_clients() if way.detector.supervised else None
    state = run_steps(way, parts, labels=labels, strict=True)
    for order in ((0, 1, 2), (2, 0, 1)):
        again = run_steps(way, parts, labels=labels, order=order)
        assert digest(again) == digest(state), f"{who}: the result is another if clients answer as {order}"
    assert repr(vars(way.detector)) == before, f"{who}: the detector it was given has changed"
    for client, part in enumerate(parts):
        model = way.personal_model(state, client)
        scores = way.blank().load(model).score_samples(part)
        assert np.isfinite(scores).all(), f"{who}: scores must be finite"


def run_steps(
    way: Aggregation,
    parts: Sequence[Array],
    *,
    labels: Sequence[Array] | None = None,
    rounds: int = ROUNDS,
    seed: int = SEED,
    order: Sequence[int] | None = None,
    strict: bool = False,
) -> Arrays:
    """Run an aggregation in a plain loop, every client in every step, and return the last state.

    Parameters
    ----------
    way : Aggregation
        How clients build the detector.
    parts : sequence of ndarray
        Rows of each client, by partition id.
    labels : sequence of ndarray, optional
        Their labels (1 = anomaly), for supervised detectors.
    rounds, seed : int
        Of the run.
    order : sequence of int, optional
        Order in which clients answer; must not matter.
    strict : bool, default=False
        Also check that damaged answers are refused.
    """
    clients = tuple(range(len(parts)))
    state: Arrays = {
        "rows": np.array([len(part) for part in parts], dtype=np.int64),
        "features": np.array(parts[0].shape[1], dtype=np.int64),
    }
    weights: dict[str, Arrays] = {}
    for server_round in range(rounds + 1):
        for step in way.setup() if server_round == 0 else way.round(server_round, rounds):
            request = step.request(state)
            if isinstance(step, WeightsStep):
                request |= weights.setdefault(step.name, step.initial(state))
            answers: list[Answer] = []
            for client in order or clients:
                turn = Turn(seed, server_round, rounds, client, clients)
                y = None if labels is None else labels[client]
                answer = step.answer(dict(request), parts[client], y, turn)
                step.check(state, answer, turn)
                if strict:
                    _check_refusals(step, state, answer, turn)
                answers.append((turn, answer))
            answers.sort(key=lambda answer: answer[0].client)
            state = {**state, **_combined(step, state, answers, weights)}
    return state


def rows_of_clients() -> list[Array]:
    """Return read-only rows of clients of different sizes, a few of them outlying."""
    generator = keyed_generator(SEED, "contract")
    parts = []
    for n_rows in (60, 45, 80):
        X = generator.normal(size=(n_rows, N_FEATURES))
        X[:3] *= 6.0
        X.flags.writeable = False
        parts.append(X)
    return parts


def labels_of_clients() -> list[Array]:
    """Return labels of :func:`rows_of_clients`, int8: anomalies are far out on the positive side."""
    return [(X.sum(axis=1) > 2 * N_FEATURES**0.5).astype(np.int8) for X in rows_of_clients()]


def damaged(arrays: Arrays) -> Iterator[tuple[str, Arrays]]:
    """Yield ``arrays`` with one thing wrong at a time, and what it is."""
    yield "an unknown array", {**arrays, "stranger": np.zeros(1)}
    for name, array in arrays.items():
        yield f"arrays without {name!r}", {other: arrays[other] for other in arrays if other != name}
        yield f"{name!r} as bytes", {**arrays, name: array.astype("S")}
        yield f"{name!r} with one more axis", {**arrays, name: array[None]}
        if array.dtype.kind == "f" and array.size:
            for value in (np.nan, np.inf):
                wrong = array.copy()
                wrong.flat[0] = value
                yield f"{value} in {name!r}", {**arrays, name: wrong}


def _seeded(detector: Detector) -> Detector:
    seeded: Detector = clone(detector)
    return seeded.set_params(random_state=SEED) if "random_state" in seeded.get_params() else seeded


def _refuses(take: Callable[[Arrays], object], arrays: Arrays) -> bool:
    try:
        take(arrays)
    except InvalidArrays:
        return True
    return False


def _check_refusals(step: Step, state: Arrays, answer: Arrays, turn: Turn) -> None:
    for damage, broken in damaged(answer):
        refused = _refuses(lambda arrays: step.check(state, arrays, turn), broken)
        assert refused, f"step {step.name!r} accepts {damage}"
        together = Answers([turn.client] * 2, lambda _: turn, Batch([answer, broken]))
        assert not step.all_sound(state, together), f"step {step.name!r} vouches for {damage}"


def _combined(step: Step, state: Arrays, answers: Sequence[Answer], weights: dict[str, Arrays]) -> Arrays:
    if isinstance(step, AdditiveStep):
        return step.finish(state, secure_sum(answers, len(state["rows"])))
    if isinstance(step, CollectStep):
        return step.combine(state, answers)
    assert isinstance(step, WeightsStep), f"step {step.name!r} is of no known kind"
    shares = state["rows"] / state["rows"].sum()
    weights[step.name] = {
        name: np.asarray(
            sum(share * answer[name] for share, (_, answer) in zip(shares, answers, strict=True))
        )
        for name in answers[0][1]
    }
    return step.finish(state, weights[step.name])
