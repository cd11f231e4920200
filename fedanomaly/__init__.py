"""Federated anomaly detection research on Flower: detectors that truly aggregate, honest evaluation.

>>> import fedanomaly
>>> sorted(fedanomaly.detectors.registered())[:1]
['isolation-forest']
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedanomaly import data, detectors, evaluation, partition, prepare
    from fedanomaly.core.errors import FedAnomalyError, FederationError, InvalidArrays, UserError
    from fedanomaly.experiment.model_file import open_model
    from fedanomaly.experiment.run import Run, run
    from fedanomaly.experiment.store import load_results

__version__ = "0.1.0"

_WHERE = {
    "run": "fedanomaly.experiment.run",
    "Run": "fedanomaly.experiment.run",
    "load_results": "fedanomaly.experiment.store",
    "open_model": "fedanomaly.experiment.model_file",
    "FedAnomalyError": "fedanomaly.core.errors",
    "FederationError": "fedanomaly.core.errors",
    "InvalidArrays": "fedanomaly.core.errors",
    "UserError": "fedanomaly.core.errors",
}
_ROOMS = ("data", "detectors", "evaluation", "partition", "prepare")

__all__ = [
    "FedAnomalyError",
    "FederationError",
    "InvalidArrays",
    "Run",
    "UserError",
    "__version__",
    "data",
    "detectors",
    "evaluation",
    "load_results",
    "open_model",
    "partition",
    "prepare",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: a client process must not pay for what it never calls."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name in _ROOMS:
        return import_module(f"fedanomaly.{name}")
    raise AttributeError(f"module 'fedanomaly' has no attribute {name!r}")
