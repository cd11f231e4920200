"""How well a client's own model does on the other clients' rows: what each loses by staying alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedanomaly.core.arrays import Array
from fedanomaly.core.floatgrid import Histogram
from fedanomaly.detectors import Detector
from fedanomaly.evaluation import Calibration, choose, evaluate
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.layout import layout
from fedanomaly.federation.plan import fresh, make_plan
from fedanomaly.prepare import CALIBRATION, TEST, TRAIN

if TYPE_CHECKING:
    import pandas as pd

EVERYWHERE = "all"


def transfer(config: RunConfig) -> pd.DataFrame:
    """Fit each client's model on its own rows, and test it on every client's.

    A client standardises by its own training rows and chooses its threshold on its own calibration
    rows: nothing of the others is used but their test rows. The reference ``local`` is milder: there
    a client's model meets only its own test rows.

    Parameters
    ----------
    config : RunConfig
        Data, partition, detector, threshold and seed; its aggregation does not matter.

    Returns
    -------
    pandas.DataFrame
        One row a pair: ``trained`` (client), ``tested`` (client, or ``all``: the test rows of all
        clients together), ``seed``, and the metrics of :func:`fedanomaly.evaluation.evaluate`.
    """
    import pandas as pd

    held = layout(config)
    detector = make_plan(config).detector
    X, y = np.asarray(held.table.X), np.asarray(held.table.y)
    tests = {str(client): part[held.folds[part] == TEST] for client, part in enumerate(held.indices)}
    tests[EVERYWHERE] = np.concatenate(list(tests.values()))
    rows: list[dict[str, object]] = []
    for client, part in enumerate(held.indices):
        train, calibration = (part[held.folds[part] == fold] for fold in (TRAIN, CALIBRATION))
        center, spread = X[train].mean(axis=0), X[train].std(axis=0)
        own = (X - center) / np.where(spread > 0, spread, 1.0)
        model = fresh(detector)
        model.fit(own[train], y[train] if model.supervised else None)
        legitimate, fraud = _by_class(model, own[calibration], y[calibration])
        cut = choose(config.threshold, Calibration(Histogram.sum([legitimate, fraud]), legitimate, fraud))
        for tested, at in tests.items():
            figures = evaluate(*_by_class(model, own[at], y[at]), cut.key)
            rows.append({"trained": str(client), "tested": tested, "seed": config.seed, **figures})
    return pd.DataFrame(rows)


def _by_class(model: Detector, rows: Array, labels: Array) -> tuple[Histogram, Histogram]:
    scores = model.score_samples(rows)
    return Histogram.of(scores[labels == 0]), Histogram.of(scores[labels == 1])
