"""Pictures of a thousand clients: neighbours are drawn as one, totals stay."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.experiment.crowd import averaged, groups, summed


@given(st.integers(0, 400), st.integers(1, 50))
def test_groups_cover_all_clients_in_order(count, most):
    clients = [str(number) for number in range(count)]
    grouped = groups(clients, most)
    assert [client for part in grouped.values() for client in part] == clients
    assert len(grouped) <= most
    if count <= most:
        assert list(grouped) == clients


def test_counts_are_summed_and_metrics_averaged():
    grouped = groups(["0", "1", "2"], 2)
    assert list(grouped) == ["0-1", "2"]
    counts = summed({"0": {"tp": 1.0, "fn": 2.0}, "2": {"tp": 5.0}}, grouped)
    assert counts["0-1"] == {"tp": 1.0, "fp": 0.0, "tn": 0.0, "fn": 2.0}
    assert counts["2"]["tp"] == 5.0
    rounds = pd.DataFrame(
        [(1, "evaluate", client, "f1", value) for client, value in (("0", 0.2), ("1", 0.4), ("all", 0.9))],
        columns=["round", "phase", "client", "metric", "value"],
    )
    merged = averaged(rounds, grouped).set_index("client")["value"]
    assert merged["0-1"] == 0.30000000000000004
    assert merged["all"] == 0.9
