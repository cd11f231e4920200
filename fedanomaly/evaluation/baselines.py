"""What a detector must beat: flagging nothing, and one line of arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.evaluation.metrics import Metrics, from_counts

Flags = npt.NDArray[np.bool_]

_OUTWARD = ["CASH_OUT", "TRANSFER"]
_OUTWARD_CODES = [1, 4]  # among CASH_IN, CASH_OUT, DEBIT, PAYMENT, TRANSFER


def flag_nothing(y: npt.ArrayLike) -> Metrics:
    """Return the metrics of a detector that flags no row: its recall is 0, its accuracy is not."""
    return metrics_of(np.zeros(np.shape(y), dtype=bool), y)


def metrics_of(flagged: npt.ArrayLike, y: npt.ArrayLike) -> Metrics:
    """Return the metrics of plain predictions.

    Parameters
    ----------
    flagged : array-like of bool, shape (n_rows,)
        Which rows are flagged.
    y : array-like of shape (n_rows,)
        Labels, 1 = fraud.
    """
    flags, fraud = np.asarray(flagged, dtype=bool), np.asarray(y) == 1
    tp, fp = np.count_nonzero(flags & fraud), np.count_nonzero(flags & ~fraud)
    fn = np.count_nonzero(fraud) - tp
    return from_counts(float(tp), float(fp), float(len(fraud) - tp - fp - fn), float(fn))


def paysim_rule(columns: Mapping[str, npt.ArrayLike], *, tolerance: float = 1e-6) -> Flags:
    """Flag transfers and cash-outs that empty an account to the last cent.

    PaySim's simulator makes almost all its frauds this way, so that this one rule finds most of
    them with hardly a false alarm. A detector that does no better on PaySim has learned nothing.

    Parameters
    ----------
    columns : mapping of str to array-like of shape (n_rows,)
        Unscaled columns by PaySim's names: ``amount``, ``oldbalanceOrg`` (or ``oldbalanceOrig``),
        ``newbalanceOrig``, and either ``type`` (names, or their codes in alphabetical order) or
        ``type_TRANSFER`` and ``type_CASH_OUT`` (1 = yes).
    tolerance : float
        Relative difference up to which an amount equals a balance; float32 copies need 1e-6.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
        Which rows the rule flags.

    Raises
    ------
    UserError
        If a column is missing.
    """
    old_name = "oldbalanceOrig" if "oldbalanceOrig" in columns else "oldbalanceOrg"
    needed = {"amount", old_name, "newbalanceOrig"}
    if "type" not in columns:
        needed |= {"type_TRANSFER", "type_CASH_OUT"}
    if missing := sorted(needed - set(columns)):
        raise UserError(f"the PaySim rule needs the columns {missing}; there are {sorted(columns)}")
    if "type" in columns:
        kinds = np.asarray(columns["type"])
        codes = kinds.dtype.kind in "iuf"
        moves_out = np.isin(kinds if codes else kinds.astype(str), _OUTWARD_CODES if codes else _OUTWARD)
    else:
        moves_out = (np.asarray(columns["type_TRANSFER"]) == 1) | (np.asarray(columns["type_CASH_OUT"]) == 1)
    amount = np.asarray(columns["amount"], dtype=np.float64)
    old = np.asarray(columns[old_name], dtype=np.float64)
    emptied = np.asarray(columns["newbalanceOrig"], dtype=np.float64) == 0
    return np.asarray(moves_out & emptied & (np.abs(amount - old) <= tolerance * old))
