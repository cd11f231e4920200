"""Bytes of a forest on the wire against the files scikit-learn users send: pickle, compressed pickle, skops.

    python -m benchmarks.payload [--rows 20000] [--features 30] [--trees 100]

All hold a forest of as many trees of 256 rows each, fitted on the same Gaussian rows. Ours is what a
client sends; reading it runs no code of the sender, as with skops and unlike pickle.
"""

from __future__ import annotations

import argparse
import pickle
import zlib

import numpy as np
from sklearn.ensemble import IsolationForest as Reference

from fedanomaly.detectors import IsolationForest
from fedanomaly.federation.wire import pack

Row = tuple[str, float, str, float, str]


def measure(n_rows: int = 20_000, n_features: int = 30, n_trees: int = 100) -> list[Row]:
    """Return (what, our bytes, peer, its bytes, "B"); NaN for a peer that is not installed."""
    X = np.random.default_rng(0).standard_normal((n_rows, n_features))
    ours = float(len(pack(IsolationForest(n_estimators=n_trees, random_state=0).fit(X).to_arrays())))
    theirs = Reference(n_estimators=n_trees, random_state=0).fit(X)
    pickled = pickle.dumps(theirs, protocol=pickle.HIGHEST_PROTOCOL)
    what = f"forest of {n_trees} trees on the wire"
    found: list[Row] = [
        (what, ours, "pickle", len(pickled), "B"),
        (what, ours, "pickle and zlib", len(zlib.compress(pickled, 9)), "B"),
    ]
    try:
        from skops.io import dumps
    except ImportError:
        return [*found, (what, ours, "skops is not installed", np.nan, "B")]
    return [*found, (what, ours, "skops", len(dumps(theirs)), "B")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--trees", type=int, default=100)
    args = parser.parse_args()
    for what, mine, peer, other, _ in measure(args.rows, args.features, args.trees):
        print(f"{what}: {mine:,.0f} B, {peer} {other:,.0f} B, {other / mine:.1f} x")


if __name__ == "__main__":
    main()
