"""The leak check: has a number been made better by rows, labels or statistics it must not know?

Rows are compared by 64-bit content hashes, so a check sees no data, and what lies at several
clients is given as one array of hashes a client. :func:`row_hashes` is for rows without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedanomaly.core.arrays import Array
from fedanomaly.core.floatgrid import Histogram

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    name : str
        Which check (``"train-in-test"``, ...).
    found : bool
        Whether there is a leak.
    count : int
        How many rows (or statistics) it concerns; 0 if there is none.
    sentence : str
        The finding in words, for the report.
    """

    name: str
    found: bool
    count: int
    sentence: str


def train_in_test(train: Hashes | Sequence[Hashes], test: Hashes | Sequence[Hashes]) -> Finding:
    """Look for test rows that some client also trained on.

    Parameters
    ----------
    train, test : ndarray of uint64, or one a client
        Content hashes of the rows of each fold. Every client's test rows are compared with every
        client's training rows.
    """
    tested = _joined(test)
    count = int(np.isin(tested, _joined(train)).sum())
    return _finding(
        "train-in-test",
        count,
        f"Of {len(tested):,} test rows, {count:,} also served for training.",
        f"None of {len(tested):,} test rows served for training.",
    )


def shared_rows(clients: Sequence[Hashes], source: Hashes | None = None) -> Finding:
    """Look for rows that several clients hold.

    Parameters
    ----------
    clients : sequence of ndarray of uint64
        Content hashes of each client's rows.
    source : ndarray of uint64, optional
        Hashes of the whole table. Real tables hold equal rows, which may rightly lie at different
        clients; given the table, a row counts only if the clients hold more copies than it does.
    """
    count = len(_copied(clients, source))
    return _finding(
        "shared-rows",
        count,
        f"Found at more than one of {len(clients)} clients: {_rows(count)}.",
        f"No row lies at more than one of {len(clients)} clients.",
    )


def copied_anomalies(anomalies: Sequence[Hashes], source: Hashes | None = None) -> Finding:
    """Look for anomalies that were given to several clients, as :func:`shared_rows` does for all rows.

    Parameters
    ----------
    anomalies : sequence of ndarray of uint64
        Content hashes of each client's rows with label 1.
    source : ndarray of uint64, optional
        Hashes of all anomalies of the table.
    """
    count = len(_copied(anomalies, source))
    distinct = len(np.unique(_joined(anomalies)))
    return _finding(
        "copied-anomalies",
        count,
        f"Of {distinct:,} distinct anomalies, {count:,} lie at more than one client.",
        f"None of {distinct:,} distinct anomalies lies at more than one client.",
    )


def synthetic_in_test(test: Hashes | Sequence[Hashes], source: Hashes | Sequence[Hashes]) -> Finding:
    """Look for test rows that balancing (SMOTE) made up.

    Parameters
    ----------
    test : ndarray of uint64, or one a client
        Content hashes of the test rows, before scaling.
    source : ndarray of uint64, or one a client
        Hashes of the rows that were loaded: every test row must be one of them.
    """
    tested = _joined(test)
    count = int((~np.isin(tested, _joined(source))).sum())
    return _finding(
        "synthetic-in-test",
        count,
        f"Of {len(tested):,} test rows, {count:,} are not in the data as loaded: they were made up.",
        f"All {len(tested):,} test rows are in the data as loaded.",
    )


def scaler_on_test(
    fitted: Mapping[str, npt.ArrayLike],
    training: Mapping[str, npt.ArrayLike],
    *,
    fitted_rows: float,
    training_rows: float,
    rtol: float = 1e-6,
) -> Finding:
    """Look for a scaler that has seen other rows than the training rows.

    Parameters
    ----------
    fitted : mapping of str to array
        The scaler's statistics by name (``mean``, ``variance``, ``minimum``, ...), each of shape
        (n_features,).
    training : mapping of str to array
        The same statistics, computed from the training rows alone. All names of it are compared.
    fitted_rows, training_rows : float
        How many rows the scaler says it was fitted on, and how many training rows there are.
    rtol : float
        Relative tolerance, for sums that were added up in another order.
    """
    wrong = [
        name
        for name, value in training.items()
        if name not in fitted
        or np.shape(fitted[name]) != np.shape(value)
        or not np.allclose(fitted[name], value, rtol=rtol, atol=rtol, equal_nan=True)
    ]
    count = len(wrong) + (fitted_rows != training_rows)
    reasons = [f"its {name} is not theirs" for name in wrong]
    if fitted_rows != training_rows:
        reasons.insert(0, f"it was fitted on {fitted_rows:,.0f} rows, there are {training_rows:,.0f}")
    return _finding(
        "scaler-on-test",
        count,
        f"The scaler does not belong to the training rows: {'; '.join(reasons)}.",
        f"The scaler was fitted on the {training_rows:,.0f} training rows alone.",
    )


def threshold_on_test(fold: str, used: Histogram, calibration: Histogram, test: Histogram) -> Finding:
    """Look for a threshold that was chosen on test rows.

    Parameters
    ----------
    fold : str
        Which fold the threshold's histogram says it came from; only ``"calibration"`` is clean.
    used : Histogram
        The scores the threshold was chosen on.
    calibration, test : Histogram
        All scores of these folds.
    """
    rows = int(used.total)
    reason = ""
    if fold != "calibration":
        reason = f"its {rows:,} scores come from the {fold} fold"
    elif _equal(used, test) and not _equal(used, calibration):
        reason = f"its {rows:,} scores are those of the test rows"
    elif not _equal(used, calibration):
        reason = f"its {rows:,} scores are not those of the {calibration.total:,.0f} calibration rows"
    return _finding(
        "threshold-on-test",
        rows if reason else 0,
        f"The threshold was not chosen on the calibration rows alone: {reason}.",
        f"The threshold was chosen on {rows:,} calibration scores, none of a test row.",
        found=bool(reason),
    )


def rows_in_payload(payload: Mapping[str, Array], training: Array) -> Finding:
    """Look for training rows inside a model or message (LOF prototypes, support vectors).

    Parameters
    ----------
    payload : mapping of str to ndarray
        The arrays that leave a client. Every floating-point array whose rows (or, in two
        dimensions, columns) are as long as a training row is searched.
    training : ndarray of shape (n_rows, n_features)
        Training rows in the space in which the model was fitted (scaled).

    Notes
    -----
    Values are compared after rounding to float32 (float16 for float16 arrays), so a payload that
    was stored with less precision is found out all the same. Rows of zeros (padding) are ignored.
    """
    width = training.shape[1]
    known: dict[type[np.floating], Hashes] = {}
    held: dict[str, int] = {}
    for name, array in payload.items():
        if array.dtype.kind != "f" or array.ndim < 2 or not array.size:
            continue
        precision = np.float16 if array.dtype == np.float16 else np.float32
        if precision not in known:
            known[precision] = row_hashes(training, precision)
        shapes = [array.reshape(-1, width)] if array.shape[-1] == width else []
        shapes += [array.T] if array.ndim == 2 and array.shape[0] == width else []
        for rows in shapes:
            found = np.unique(row_hashes(rows[rows.any(axis=1)], precision))
            held[name] = max(held.get(name, 0), int(np.isin(found, known[precision]).sum()))
    count = sum(held.values())
    where = ", ".join(f"{name} ({number:,})" for name, number in held.items() if number)
    return _finding(
        "rows-in-payload",
        count,
        f"What leaves a client holds training rows: {_rows(count)}, in {where}.",
        "What leaves a client holds no training row.",
    )


def row_hashes(rows: Array, precision: type[np.floating] = np.float32) -> Hashes:
    """Return a 64-bit hash of each row's values rounded to ``precision``, shape (n_rows,)."""
    hashes = np.full(len(rows), 0x9E3779B97F4A7C15, dtype=np.uint64)
    unsigned = np.dtype(f"u{np.dtype(precision).itemsize}")
    for column in np.asarray(rows).T:
        with np.errstate(over="ignore"):
            rounded = column.astype(precision) + precision(0)  # + 0 turns -0.0 into 0.0
        hashes ^= rounded.view(unsigned).astype(np.uint64)
        hashes *= np.uint64(0xFF51AFD7ED558CCD)  # the mixing step of MurmurHash3
        hashes ^= hashes >> np.uint64(32)
    return hashes


def _finding(name: str, count: int, leak: str, clean: str, *, found: bool | None = None) -> Finding:
    leaked = count > 0 if found is None else found
    return Finding(name, leaked, count, leak if leaked else clean)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _joined(hashes: Hashes | Sequence[Hashes]) -> Hashes:
    if isinstance(hashes, np.ndarray):
        return hashes
    return np.concatenate([np.empty(0, np.uint64), *hashes])


def _copied(clients: Sequence[Hashes], source: Hashes | None) -> Hashes:
    """Return the distinct hashes held by several clients (more often than ``source`` has them)."""
    held, holders = np.unique(_joined([np.unique(client) for client in clients]), return_counts=True)
    shared = held[holders > 1]
    if source is None or not len(shared):
        return shared
    return shared[_copies(shared, _joined(clients)) > _copies(shared, source)]


def _copies(wanted: Hashes, among: Hashes) -> npt.NDArray[np.intp]:
    """Return how often each of the ascending ``wanted`` hashes occurs in ``among``."""
    return np.bincount(np.searchsorted(wanted, among[np.isin(among, wanted)]), minlength=len(wanted))


def _equal(one: Histogram, other: Histogram) -> bool:
    return np.array_equal(one.keys, other.keys) and np.array_equal(one.counts, other.counts)
