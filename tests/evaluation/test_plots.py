"""Every picture is drawn for the ordinary and for the odd: one client, fifty, one round, nothing defined."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from fedanomaly.core.floatgrid import Histogram, to_keys
from fedanomaly.evaluation import compare_ranks, from_counts
from fedanomaly.evaluation.plots import (
    Scored,
    confusion_counts,
    critical_difference,
    curves,
    explanation,
    fraud_distribution,
    heat_map,
    interval_curves,
    interval_points,
    metrics_per_round,
    score_distributions,
)
from fedanomaly.evaluation.plots.interval_curves import _short
from fedanomaly.evaluation.plots.scores import _edges, _shares

METRICS = ("precision", "recall", "accuracy", "f1", "auroc", "average_precision")


@pytest.fixture(autouse=True)
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5_000


def rounds(n_clients, n_rounds, undefined=()):
    lines = []
    for client in [*map(str, range(n_clients)), "all"]:
        for number in range(1, n_rounds + 1):
            for i, metric in enumerate(METRICS):
                value = float("nan") if metric in undefined else 0.5 + 0.01 * number - 0.02 * i
                lines.append((number, "evaluate", client, metric, value))
            lines.append((number, "train", client, "seconds", 99.0))
            lines.append((number, "evaluate", client, "accuracy_flag_nothing", 0.998))
    return pd.DataFrame(lines, columns=["round", "phase", "client", "metric", "value"])


@pytest.mark.parametrize(
    ("n_clients", "n_rounds", "undefined"),
    [(5, 4, ()), (1, 1, ()), (50, 2, ("precision",)), (2, 3, METRICS), (0, 1, ())],
)
def test_metrics_per_round(tmp_path, n_clients, n_rounds, undefined):
    references = {"local": {"recall": 0.2, "f1": float("nan")}, "pooled": {"recall": 0.9}}
    path = tmp_path / "rounds.png"
    drawn = metrics_per_round(rounds(n_clients, n_rounds, undefined), path, references=references, title="t")
    assert drawn == path and is_picture(path)


def test_metrics_per_round_with_an_interval_and_gaps(tmp_path):
    frame = rounds(3, 5)
    frame.loc[(frame["round"] == 3) & (frame["metric"] == "recall"), "value"] = float("nan")
    frame = frame.assign(low=frame["value"] - 0.1, high=frame["value"] + 0.1)
    assert is_picture(metrics_per_round(frame, tmp_path / "r.png", metrics=["recall"]))


@pytest.mark.parametrize(
    ("rows", "frauds"),
    [
        ([100, 200, 300], [1, 0, 3]),
        ([500], [0]),
        ([0, 10], [0, 5]),
        (np.geomspace(5, 1e6, 50), np.arange(50) % 5),
    ],
)
def test_fraud_distribution(tmp_path, rows, frauds):
    names = [str(i) for i in range(len(rows))]
    assert is_picture(fraud_distribution(names, rows, frauds, tmp_path / "c.png", title="t"))


def test_long_client_names_fit(tmp_path):
    names = [f"the branch of {city}" for city in ("Aachen", "Berlin", "Köln")]
    assert is_picture(fraud_distribution(names, [10, 20, 30], [1, 1, 1], tmp_path / "c.png"))


@pytest.mark.parametrize(
    ("legitimate", "fraud", "offset"),
    [
        (np.linspace(-1, 0, 500), [-2.0, -1.5], -1.2),
        (-np.geomspace(1, 1e5, 500), [-1e6], -5e3),
        (np.ones(50), [1.0], 1.0),
        ([0.0], [], None),
        ([], [1.0], -1.7976931348623157e308),
        ([], [], 0.0),
    ],
)
def test_score_distributions(tmp_path, legitimate, fraud, offset):
    histograms = Histogram.of(legitimate), Histogram.of(fraud)
    assert is_picture(score_distributions(*histograms, tmp_path / "s.png", offset=offset))


@pytest.mark.parametrize(("low", "high", "anchor"), [(-1.0, 2.0, 0.3), (-1e5, -1.0, -70.0), (3.0, 3.0, 3.0)])
def test_bins_cover_the_scores_and_meet_the_threshold(low, high, anchor):
    edges, logarithmic = _edges(low, high, 1000, anchor)
    assert logarithmic == (low == -1e5)
    assert (np.diff(edges) > 0).all()
    slack = 1e-9 * max(abs(low), abs(high))
    assert edges[0] <= low + slack and high - slack <= edges[-1]
    assert np.isclose(edges, anchor, rtol=1e-12).any()
    assert _shares(Histogram.of(np.linspace(2 * low, 2 * high, 77)), edges).sum() == pytest.approx(100)


@pytest.mark.parametrize("fraud", [[-3.0, 0.5], [], [-1.0] * 10], ids=["some", "none", "tied"])
def test_curves(tmp_path, fraud):
    models = {
        name: Scored(Histogram.of(np.linspace(-1, 1, 300) + shift), Histogram.of(fraud), key)
        for name, shift, key in (
            ("federated", 0.0, int(to_keys(-0.9))),
            ("local", 0.1, None),
            ("pooled", 0.2, 0),
        )
    }
    assert is_picture(curves(models, tmp_path / "p.png", title="t"))
    assert is_picture(curves({"f": Scored(Histogram.of([]), Histogram.of(fraud), 5)}, tmp_path / "q.png"))
    assert is_picture(curves({}, tmp_path / "r.png"))


@pytest.mark.parametrize("n_clients", [0, 1, 5, 50])
def test_confusion_counts(tmp_path, n_clients):
    clients = {str(i): from_counts(i, 2 * i, 1000, 3) for i in range(n_clients)}
    overall = from_counts(5, 0, 0 if n_clients else 10, 5)
    assert is_picture(confusion_counts(overall, clients, tmp_path / "m.png", title="t"))


@pytest.mark.parametrize("additive", [True, False])
@pytest.mark.parametrize(("n", "sign"), [(1, 1), (4, -1), (15, 1), (40, -1), (3, 0)])
def test_explanation(tmp_path, n, sign, additive):
    names = [f"the same long $name$ of a feature {i % 2}" for i in range(n)]
    terms = sign * np.linspace(-1, 3, n)
    path = tmp_path / "e.png"
    assert is_picture(explanation(names, np.zeros(n), terms, path, title="row 3", additive=additive))


def test_the_same_numbers_give_the_same_file(tmp_path):
    files = [fraud_distribution(["0", "1"], [5, 6], [1, 2], tmp_path / f"{i}.png") for i in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_drawing_leaves_pyplot_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    fraud_distribution(["0"], [5], [1], tmp_path / "c.png")
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_importing_is_light():
    heavy = ("pandas", "matplotlib", "seaborn", "scipy", "sklearn", "imblearn", "flwr")
    code = (
        "import sys, fedanomaly.evaluation, fedanomaly.evaluation.plots\n"
        f"sys.exit(', '.join(m for m in {heavy!r} if m in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("n_methods", "n_tables", "gap"), [(2, 3, 0.0), (5, 1, 0.1), (9, 40, 1.0), (40, 23, 0.05)]
)
def test_critical_difference(tmp_path, n_methods, n_tables, gap):
    noise = np.random.default_rng(0).random((n_methods, n_tables))
    compared = compare_ranks({f"method {i}, union": gap * i + noise[i] for i in range(n_methods)})
    assert is_picture(critical_difference(compared, tmp_path / "cd.png", title="t"))


@pytest.mark.parametrize("label", ["F1", ""], ids=["one axis", "own axes"])
@pytest.mark.parametrize(("n_panels", "n_lines"), [(1, 1), (2, 9), (4, 3)])
def test_interval_points(tmp_path, n_panels, n_lines, label):
    points = pd.DataFrame(
        [
            {
                "panel": f"p{panel}",
                "line": f"l{line}",
                "x": x,
                "mean": 0.1 * line,
                "low": np.nan,
                "high": np.nan,
            }
            for panel in range(n_panels)
            for line in range(panel % 2, n_lines)
            for x in ("iid", "feature")
        ]
    )
    if label:
        points = points.assign(low=points["mean"] - 0.1, high=points["mean"] + 0.1)
    assert is_picture(interval_points(points, tmp_path / "i.png", label=label, title="t"))
    assert is_picture(interval_points(points.assign(mean=np.nan), tmp_path / "u.png", label=label))


@pytest.mark.parametrize(("log_y", "own_y"), [(False, True), (True, True), (True, False)])
def test_interval_curves(tmp_path, log_y, own_y):
    x = [2, 10, 1000]
    points = pd.DataFrame({"panel": "p", "line": "l", "x": x, "mean": x, "low": [-1, 9, 900], "high": x})
    options = {"xlabel": "x", "ylabel": "y", "logarithmic": True, "log_y": log_y, "own_y": own_y}
    assert is_picture(interval_curves(points, tmp_path / "c.png", **options))


def test_numbers_in_a_few_letters():
    assert [_short(x) for x in (2, 0.05, 1000, 1500, 20_000, 6_400_000)] == [
        *("2", ".05", "1k", "1500", "20k", "6.4M"),
    ]


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "name"), [(1, 1, "a"), (60, 5, "iid"), (8, 23, "23_mammography")]
)
def test_heat_map(tmp_path, n_rows, n_columns, name):
    values = np.random.default_rng(0).random((n_rows, n_columns))
    values[0, 0] = np.nan  # with one row and column: nothing is defined
    rows, columns = [f"method {i}" for i in range(n_rows)], [name] * n_columns
    path = tmp_path / "heat.png"
    assert is_picture(heat_map(values, rows, columns, path, title="t", label="mean", breaks=(1,)))
