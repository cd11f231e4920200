"""Every threshold does what its name says on the calibration rows, and says so where it cannot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.core.errors import UserError
from fedanomaly.core.floatgrid import Histogram, lower_edges, to_keys
from fedanomaly.evaluation.metrics import evaluate
from fedanomaly.evaluation.thresholds import THRESHOLDS, Calibration, ThresholdOptions, choose

scores = st.lists(st.floats(-100, 100) | st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60)
KINDS = list(THRESHOLDS.registered())


def calibration(legitimate, fraud, **balanced):
    both = Histogram.of(np.concatenate([legitimate, fraud]))
    return Calibration(both, Histogram.of(legitimate), Histogram.of(fraud), **balanced)


def all_cuts(legitimate, fraud):
    """Flagged set by every possible cut on the grid, as (rows flagged, frauds found)."""
    keys = to_keys(np.concatenate([legitimate, fraud]))
    y = np.r_[np.zeros(len(legitimate)), np.ones(len(fraud))]
    edges = np.r_[np.unique(keys), keys.max() + 1]
    return [(int((keys < k).sum()), int(y[keys < k].sum())) for k in edges]


def flagged_by(threshold, rows):
    return int((np.asarray(rows) < threshold.offset).sum())


def test_the_names_of_the_command_line():
    assert KINDS == ["contamination", "best-f1", "recall", "budget", "conformal"]


@pytest.mark.parametrize("kind", KINDS)
@given(legitimate=scores, fraud=scores)
def test_offset_is_the_lower_edge_of_the_key(kind, legitimate, fraud):
    threshold = choose(kind, calibration(legitimate, fraud))
    assert threshold.offset == lower_edges(threshold.key)
    assert np.isfinite(threshold.offset)
    assert flagged_by(threshold, legitimate) == Histogram.of(legitimate).below(threshold.key)


@given(scores, scores, st.floats(0.001, 0.999))
def test_contamination_flags_the_nearest_share(legitimate, fraud, share):
    threshold = choose("contamination", calibration(legitimate, fraud), ThresholdOptions(contamination=share))
    rows = len(legitimate) + len(fraud)
    nearest = min(abs(flagged - share * rows) for flagged, _ in all_cuts(legitimate, fraud))
    assert abs(flagged_by(threshold, legitimate + fraud) - share * rows) == nearest


@given(scores, scores)
def test_best_f1_is_the_best_of_all_cuts(legitimate, fraud):
    threshold = choose("best-f1", calibration(legitimate, fraud))
    best = max(2 * found / (flagged + len(fraud)) for flagged, found in all_cuts(legitimate, fraud))
    ours = evaluate(Histogram.of(legitimate), Histogram.of(fraud), threshold.key)["f1"]
    assert ours == pytest.approx(best, abs=1e-12)


def test_of_equally_good_cuts_best_f1_flags_fewest():
    # flagging the first fraud alone, or three more rows for the second, both give F1 = 2/3
    threshold = choose("best-f1", calibration([2.0, 3.0], [1.0, 4.0]))
    assert threshold.offset < 2.0


@given(scores, scores, st.floats(0.01, 1))
def test_recall_is_reached_with_the_fewest_rows(legitimate, fraud, target):
    threshold = choose("recall", calibration(legitimate, fraud), ThresholdOptions(target_recall=target))
    enough = [f for f, found in all_cuts(legitimate, fraud) if found >= target * len(fraud) * (1 - 1e-9)]
    assert flagged_by(threshold, legitimate + fraud) == min(enough)


@given(scores, scores, st.integers(1, 50) | st.floats(0.01, 0.99))
def test_budget_is_used_up_and_never_exceeded(legitimate, fraud, budget):
    threshold = choose("budget", calibration(legitimate, fraud), ThresholdOptions(budget=budget))
    rows = len(legitimate) + len(fraud)
    allowed = int(budget * rows + 1e-9) if budget < 1 else budget
    possible = [flagged for flagged, _ in all_cuts(legitimate, fraud) if flagged <= allowed]
    assert flagged_by(threshold, legitimate + fraud) == max(possible)


@given(scores, st.floats(0.001, 0.999), st.floats(-110, 110))
def test_conformal_flags_exactly_the_low_p_values(legitimate, alpha, score):
    threshold = choose("conformal", calibration(legitimate, []), ThresholdOptions(alpha=alpha))
    no_higher = np.count_nonzero(to_keys(legitimate) <= to_keys(score))
    p_value = (1 + no_higher) / (1 + len(legitimate))
    if abs(p_value - alpha) > 1e-9:
        assert (score < threshold.offset) == (p_value < alpha)


def test_auto_contamination_is_the_share_of_labelled_frauds():
    threshold = choose("contamination", calibration(np.arange(90.0), -np.arange(1.0, 11.0)))
    assert "0.1 of" in threshold.detail
    assert flagged_by(threshold, -np.arange(1.0, 11.0)) == 10 and flagged_by(threshold, np.arange(90.0)) == 0


def test_a_cut_lies_halfway_between_the_rows_it_parts():
    threshold = choose("best-f1", calibration([3.0, 4.0], [1.0]))
    assert threshold.offset == pytest.approx(2.0, rel=1e-3)


def test_balanced_rows_move_the_cut_but_not_the_prevalence():
    legitimate, fraud = np.linspace(0, 1, 1000), np.array([0.05, 0.5])
    same = calibration(
        legitimate,
        fraud,
        balanced_legitimate=Histogram.of(legitimate),
        balanced_fraud=Histogram.of(np.tile(fraud, 300)),
    )
    plain = choose("best-f1", calibration(legitimate, fraud))
    assert choose("best-f1", same).key == plain.key
    # taken at face value, 600 frauds would make flagging half of all rows the best F1
    naive = choose("best-f1", calibration(legitimate, np.tile(fraud, 300)))
    assert naive.offset > 5 * plain.offset
    smooth = calibration(legitimate, fraud, balanced_fraud=Histogram.of(np.linspace(0.0, 0.5, 500)))
    assert choose("recall", smooth, ThresholdOptions(target_recall=0.5)).offset == pytest.approx(
        0.25, abs=0.01
    )


def test_empty_balanced_histograms_are_ignored():
    empty = Histogram.of([])
    cal = calibration([1.0, 2.0], [0.0], balanced_fraud=empty, balanced_legitimate=empty)
    assert choose("best-f1", cal) == choose("best-f1", calibration([1.0, 2.0], [0.0]))


@pytest.mark.parametrize("kind", ["best-f1", "recall"])
def test_without_frauds_it_falls_back_and_says_so(kind):
    threshold = choose(kind, calibration(np.arange(1000.0), []))
    assert threshold.kind == "contamination"
    assert "No calibration row is labelled as fraud" in threshold.detail
    assert flagged_by(threshold, np.arange(1000.0)) == 10
    assert not threshold.degenerate


@pytest.mark.parametrize("kind", KINDS)
def test_no_calibration_rows_flags_nothing(kind):
    threshold = choose(kind, Calibration(Histogram.of([])))
    assert np.isfinite(threshold.offset) and "no calibration rows" in threshold.detail
    assert threshold.degenerate and not flagged_by(threshold, [-1e300, 0.0, 1e300])


@pytest.mark.parametrize("kind", KINDS)
def test_unlabelled_rows_suffice(kind):
    assert np.isfinite(choose(kind, Calibration(Histogram.of(np.arange(500.0)))).offset)


def test_degenerate_thresholds_are_named():
    tied = calibration(np.zeros(99), np.zeros(1))
    assert "every one of the 100" in choose("recall", tied).degenerate
    assert "none of the 100" in choose("budget", tied).degenerate
    assert "none of the 100" in choose("contamination", tied).degenerate
    few = choose("conformal", calibration(np.arange(10.0), [-5.0]), ThresholdOptions(alpha=0.01))
    assert "none of the 11" in few.degenerate and "too few" in few.detail
    assert not choose("best-f1", calibration([1.0], [0.0])).degenerate


def test_order_of_clients_does_not_matter():
    rng = np.random.default_rng(0)
    parts = [Histogram.of(rng.normal(size=50)) for _ in range(4)]
    one = choose("contamination", Calibration(Histogram.sum(parts)))
    assert one == choose("contamination", Calibration(Histogram.sum(parts[::-1])))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"contamination": 0.0}, "contamination must be"),
        ({"contamination": "most"}, "contamination must be"),
        ({"target_recall": 1.2}, "target recall"),
        ({"budget": 0}, "alert budget"),
        ({"alpha": 1.0}, "alpha"),
    ],
)
def test_bad_options_are_one_sentence(bad, message):
    with pytest.raises(UserError, match=message):
        ThresholdOptions(**bad)


def test_unknown_kind_lists_the_known():
    with pytest.raises(UserError, match="best-f1"):
        choose("bestf1", Calibration(Histogram.of([])))
