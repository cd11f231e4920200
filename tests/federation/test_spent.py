"""What clients spent: added up over steps that not all took part in."""

import numpy as np
import pytest

from fedanomaly.federation.spent import NOTHING, Spent


def spent(clients, *rows):
    return Spent(clients, np.array(rows, dtype=np.float64))


FIRST = spent([0, 2], [30, 1.0, 10, 5], [40, 2.0, 20, 5])
SECOND = spent([0, 1], [30, 0.5, 1, 1], [50, 0.25, 2, 1])


def test_rows_stay_and_the_rest_adds_up():
    assert dict((NOTHING + FIRST).by_client()) == dict(FIRST.by_client())
    twice = (FIRST + FIRST).by_client()
    assert twice["2"] == {"rows": 40.0, "seconds": 4.0, "bytes_up": 40.0, "bytes_down": 10.0}


def test_who_took_part_in_one_step_alone_counts_too():
    both = FIRST + SECOND
    assert both.clients == [0, 1, 2]
    assert both.values.tolist() == [[30, 1.5, 11, 6], [50, 0.25, 2, 1], [40, 2.0, 20, 5]]
    assert both.by_client("seconds")["all"] == {"seconds": 3.75, "clients": 3.0}


def test_figures_are_worked_out_when_they_are_looked_at():
    figures = FIRST.by_client("seconds") | FIRST.by_client("bytes_up")
    assert figures["all"] == {"seconds": 3.0, "bytes_up": 30.0, "clients": 2.0}
    assert "_each" not in vars(figures)
    assert figures["2"] == {"seconds": 2.0, "bytes_up": 20.0}
    assert (list(figures), len(figures)) == (["0", "2", "all"], 3)
    assert list(FIRST.by_client(together=False)) == ["0", "2"]
    with pytest.raises(KeyError):
        FIRST.by_client(together=False)["all"]


def test_some_are_left_out_and_parts_are_joined():
    assert FIRST.without([0]).values.tolist() == [[40, 2.0, 20, 5]]
    assert FIRST.without([]) is FIRST
    assert Spent.joined([]).clients == []
    assert Spent.joined([FIRST.without([2]), SECOND.without([0])]).clients == [0, 1]
