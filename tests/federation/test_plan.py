"""How clients build a detector, and what averages the weights: both by one name."""

import subprocess
import sys

import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.detectors import IsolationForest, LocalOutlierFactor, OneClassSVM
from fedanomaly.federation.plan import choose_aggregation


@pytest.mark.parametrize(
    ("name", "way", "strategy"),
    [
        ("", "nystrom-mean", ""),
        ("rff-mean", "rff-mean", ""),
        ("sgd", "sgd", "fedavg"),
        ("krum", "nystrom-hinge", "krum"),
        ("sgd+krum", "sgd", "krum"),
        ("rff-hinge+fedadam", "rff-hinge", "fedadam"),
        ("nystrom-hinge+fedprox", "nystrom-hinge", "fedprox"),
        ("score-min", "score-min", ""),
    ],
)
def test_a_name_says_how_and_by_what_strategy(name: str, way: str, strategy: str) -> None:
    chosen, averaging = choose_aggregation(OneClassSVM(), name)
    assert (chosen.name, averaging) == (way, strategy)


@pytest.mark.parametrize("name", ["rff-mean+krum", "sgd+mean", "sgd+", "+krum", "sgd+krum+krum", "neither"])
def test_what_averages_no_weights_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot be built by"):
        choose_aggregation(OneClassSVM(), name)


def test_a_detector_without_weights_has_no_strategies() -> None:
    for detector in (IsolationForest(), LocalOutlierFactor()):
        with pytest.raises(UserError, match="averages weights, which this detector has none of"):
            choose_aggregation(detector, "fedavg")


def test_clients_that_are_forked_find_the_kernels_of_every_way() -> None:
    program = (
        "from fedanomaly.federation.plan import warm_up\n"
        "warm_up()\n"
        "from fedanomaly.detectors._box_loops import box_trees, count_leaves\n"
        "from fedanomaly.detectors._forest_loops import node_seeds, observe\n"
        "assert all(kernel.signatures for kernel in (box_trees, count_leaves, node_seeds, observe))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_whoever_loads_compiled_kernels_by_default_says_so():
    script = """
import sys
from fedanomaly.detectors import registered
from fedanomaly.federation.plan import try_detector
for name, cls in registered().items():
    members_say_so, needs_an_extra = ("ensemble", "stacking"), ("gradient-boosting",)
    if not cls.compiled and name not in members_say_so + needs_an_extra:
        try_detector(cls())
        assert "numba" not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", script], check=True)
