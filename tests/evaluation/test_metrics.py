"""The metrics equal scikit-learn's on scores quantised to the grid, and nothing undefined is a number."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from fedanomaly.core.errors import UserError
from fedanomaly.core.floatgrid import Histogram, lower_edges, to_keys
from fedanomaly.evaluation.metrics import alerts_allowed, evaluate, from_counts, precision_at_rates, summary
from fedanomaly.evaluation.ranking import Ranking

NOTHING = Histogram.of([])
finite = st.floats(-1e6, 1e6) | st.sampled_from([-0.5, -0.25, 0.0, 0.125])


@st.composite
def labelled_scores(draw):
    scores = np.array(draw(st.lists(finite, min_size=2, max_size=60)))
    labels = np.array(draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    labels[:2] = False, True
    return scores, labels


def histograms(scores, labels):
    return Histogram.of(scores[~labels]), Histogram.of(scores[labels])


@given(labelled_scores())
def test_ranking_metrics_equal_scikit_learn(data):
    scores, labels = data
    ranking = Ranking.of(*histograms(scores, labels))
    abnormality = -lower_edges(to_keys(scores))
    assert ranking.auroc == pytest.approx(sk.roc_auc_score(labels, abnormality), abs=1e-12)
    assert ranking.average_precision == pytest.approx(
        sk.average_precision_score(labels, abnormality), abs=1e-12
    )


@given(labelled_scores())
def test_curves_equal_scikit_learn(data):
    scores, labels = data
    ranking = Ranking.of(*histograms(scores, labels))
    abnormality = -lower_edges(to_keys(scores))
    fpr, tpr, _ = sk.roc_curve(labels, abnormality, drop_intermediate=False)
    np.testing.assert_allclose(ranking.roc_curve(), [fpr, tpr], atol=1e-12)
    precision, recall, _ = sk.precision_recall_curve(labels, abnormality)
    ours = ranking.precision_recall_curve()
    np.testing.assert_allclose(ours, [recall[-2::-1], precision[-2::-1]], atol=1e-12)


@given(labelled_scores(), finite)
def test_counts_are_those_of_scores_below_the_edge(data, cut):
    scores, labels = data
    key = int(to_keys(cut))
    flagged = scores < lower_edges(key)
    result = evaluate(*histograms(scores, labels), key)
    tn, fp, fn, tp = sk.confusion_matrix(labels, flagged, labels=[False, True]).ravel()
    assert [result[name] for name in ("tp", "fp", "tn", "fn")] == [tp, fp, tn, fn]
    assert result["accuracy"] == pytest.approx(sk.accuracy_score(labels, flagged), abs=1e-12)
    assert result["recall"] == pytest.approx(sk.recall_score(labels, flagged), abs=1e-12)
    assert result["f1"] == pytest.approx(sk.f1_score(labels, flagged), abs=1e-12)
    assert result["flagged"] == pytest.approx(flagged.mean(), abs=1e-12)
    if flagged.any():
        assert result["precision"] == pytest.approx(sk.precision_score(labels, flagged), abs=1e-12)
    else:
        assert math.isnan(result["precision"])


@given(labelled_scores(), st.integers(1, 5))
def test_precision_at_k_is_the_mean_over_random_orders_of_ties(data, k):
    scores, labels = data
    keys = to_keys(scores)
    result = evaluate(*histograms(scores, labels), 0, budget=k)
    if k > len(scores):
        assert math.isnan(result["precision_at_k"])
        return
    last = np.sort(keys)[k - 1]
    sure, tied = keys < last, keys == last
    expected = labels[sure].sum() + (k - sure.sum()) * labels[tied].mean()
    assert result["precision_at_k"] == pytest.approx(expected / k, abs=1e-12)
    assert result["recall_at_k"] == pytest.approx(expected / labels.sum(), abs=1e-12)


@given(st.lists(labelled_scores(), min_size=1, max_size=5))
def test_summed_histograms_give_the_metrics_of_all_rows(clients):
    parts = [histograms(*client) for client in clients]
    summed = evaluate(Histogram.sum([p[0] for p in parts]), Histogram.sum([p[1] for p in parts]), 0)
    scores, labels = (np.concatenate(column) for column in zip(*clients, strict=True))
    np.testing.assert_equal(summed, evaluate(*histograms(scores, labels), 0))


@pytest.mark.parametrize(
    ("legitimate", "fraud", "undefined"),
    [
        (
            [],
            [],
            {"precision", "recall", "f1", "accuracy", "auroc", "average_precision", "prevalence", "flagged"},
        ),
        ([1.0, 2.0], [], {"precision", "recall", "f1", "auroc", "average_precision", "recall_at_k"}),
        ([], [1.0, 2.0], {"precision", "auroc", "false_positive_rate"}),
        ([1.0], [2.0], {"precision"}),
    ],
)
def test_undefined_is_nan_and_nothing_else_is(legitimate, fraud, undefined):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluate(Histogram.of(legitimate), Histogram.of(fraud), int(to_keys(0.0)), budget=1)
    nan = {name for name, value in result.items() if math.isnan(value)}
    assert undefined <= nan
    if len(legitimate) + len(fraud) and undefined == {"precision"}:
        assert nan == undefined


def test_a_client_without_frauds_that_raises_alarms_has_no_f1():
    result = from_counts(tp=0, fp=5, tn=95, fn=0)
    assert result["precision"] == 0
    assert (
        math.isnan(result["recall"]) and math.isnan(result["f1"]) and math.isnan(result["precision_ceiling"])
    )


def test_accuracy_stands_beside_that_of_flagging_nothing():
    result = from_counts(tp=0, fp=0, tn=284_315, fn=492)
    assert result["accuracy"] == result["accuracy_flag_nothing"] == pytest.approx(0.99827, abs=1e-5)


def test_ceiling_is_the_figure_of_the_design_notes():
    assert precision_at_rates(0.0013, 1.0, 0.005) == pytest.approx(0.2066, abs=1e-4)
    result = from_counts(tp=900, fp=4_994, tn=993_706, fn=400)
    expected = precision_at_rates(result["prevalence"], 1.0, result["false_positive_rate"])
    assert result["precision_ceiling"] == pytest.approx(expected, abs=1e-12)
    assert result["precision"] <= result["precision_ceiling"]
    own = precision_at_rates(result["prevalence"], result["recall"], result["false_positive_rate"])
    assert own == pytest.approx(result["precision"], abs=1e-12)
    assert math.isnan(precision_at_rates(0.1, 0.0, 0.0))


def test_cost_counts_missed_amounts_and_alerts():
    frauds, amounts = np.array([-3.0, -1.0, 2.0]), np.array([100.0, 10.0, 1.0])
    money = Histogram(to_keys(frauds), amounts)
    result = evaluate(
        Histogram.of([-2.0, 1.0]), Histogram.of(frauds), int(to_keys(0.0)), fraud_amount=money, alert_cost=5
    )
    assert (result["amount_at_stake"], result["amount_lost"], result["cost"]) == (111.0, 1.0, 1.0 + 3 * 5)
    assert "cost" not in evaluate(Histogram.of([-2.0]), Histogram.of(frauds), 0)


@pytest.mark.parametrize(
    ("budget", "rows", "alerts"), [(0.29, 100, 29), (0.01, 50, 0), (3, 10, 3), (1, 10, 1)]
)
def test_alert_budget(budget, rows, alerts):
    assert alerts_allowed(budget, rows) == alerts


@pytest.mark.parametrize("budget", [0, -1, math.nan, math.inf])
def test_bad_alert_budget_is_one_sentence(budget):
    with pytest.raises(UserError, match="alert budget must be positive"):
        evaluate(NOTHING, NOTHING, 0, budget=budget)


def test_summary_over_clients():
    clients = {
        "0": from_counts(tp=8, fp=2, tn=88, fn=2),
        "1": from_counts(tp=1, fp=9, tn=181, fn=9),
        "2": from_counts(tp=0, fp=1, tn=9, fn=0),
    }
    result = summary(clients)
    assert result.micro["recall"] == 9 / 20
    assert result.micro["precision"] == 9 / 21
    assert result.mean["recall"] == pytest.approx((0.8 + 0.1) / 2)
    assert result.defined["recall"] == 2 and result.defined["precision"] == 3
    assert (result.worst["recall"], result.worst_client["recall"]) == (0.1, "1")
    assert result.worst_client["precision"] == "2"
    assert result.worst_client["false_positive_rate"] == "2"
    assert "rows" not in result.worst


def test_summary_of_nothing_defined():
    result = summary({"0": from_counts(0, 0, 5, 0)})
    assert math.isnan(result.mean["recall"]) and math.isnan(result.worst["recall"])
    assert result.worst_client["recall"] == ""
    assert math.isnan(summary({}).micro["accuracy"])


@given(labelled_scores())
def test_a_cut_flags_the_bins_before_it_and_lies_halfway_to_the_next(drawn):
    ranking = Ranking.of(*histograms(*drawn))
    keys = ranking.keys
    cuts = [ranking.cut(at) for at in range(len(keys) + 1)]
    assert [int((keys < cut).sum()) for cut in cuts] == list(range(len(keys) + 1))
    ends, starts = lower_edges(keys[:-1] + 1), lower_edges(keys[1:])
    assert (np.abs(cuts[1:-1] - to_keys((ends + starts) / 2)) <= 1).all()  # however the middle is rounded
