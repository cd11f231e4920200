"""Compute the figures of the credit-card data that the synthetic set carries (figures, never rows).

    python benchmarks/creditcard_figures.py SAMPLE.parquet STATISTICS_FOLDER [OUT.json]

SAMPLE is a genuine uniform sample with Kaggle's columns; STATISTICS_FOLDER holds ``feature_stats.csv``,
``corr_legit.csv`` and ``profile.md``, computed on more rows. Everything is an aggregate, but for the
published extremes of each feature.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

Floats = npt.NDArray[np.float64]

FEATURES = [f"V{i}" for i in range(1, 29)] + ["Amount"]
LEGITIMATE = [2e-5, 2e-4, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4]
FRAUD = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4]
SPIKES = (0.0, 1.0, 99.99)  # amounts that very many payments have
EXTREMES = {  # of the whole file, as every description of it prints them
    "V1": (-56.40751, 2.45493), "V2": (-72.71573, 22.05773), "V3": (-48.32559, 9.382558),
    "V4": (-5.683171, 16.87534), "V5": (-113.7433, 34.80167), "V6": (-26.16051, 73.30163),
    "V7": (-43.55724, 120.5895), "V8": (-73.21672, 20.00721), "V9": (-13.43407, 15.595),
    "V10": (-24.58826, 23.74514), "V11": (-4.797473, 12.01891), "V12": (-18.68371, 7.848392),
    "V13": (-5.791881, 7.126883), "V14": (-19.21433, 10.52677), "V15": (-4.498945, 8.877742),
    "V16": (-14.12985, 17.31511), "V17": (-25.1628, 9.253526), "V18": (-9.498746, 5.041069),
    "V19": (-7.213527, 5.591971), "V20": (-54.49772, 39.4209), "V21": (-34.83038, 27.20284),
    "V22": (-10.93314, 10.50309), "V23": (-44.80774, 22.52841), "V24": (-2.836627, 4.584549),
    "V25": (-10.2954, 7.519589), "V26": (-2.604551, 3.517346), "V27": (-22.56568, 31.6122),
    "V28": (-15.43008, 33.84781), "Amount": (0.0, 25691.16),
}  # fmt: skip


def both_sides(lower: list[float]) -> Floats:
    return np.array([*lower, 0.5, *(1 - p for p in reversed(lower))])


def scores(values: Floats) -> Floats:
    """Normal scores of each column."""
    return np.asarray(ndtri((rankdata(values, axis=0) - 0.5) / len(values)))


def with_spikes(probabilities: Floats, amounts: Floats) -> tuple[Floats, Floats]:
    """Quantiles of the amount, with a knot on either side of every spike."""
    knots = {float(p): float(np.quantile(amounts, p, method="hazen")) for p in probabilities}
    for value in SPIKES:
        below, up_to = float((amounts < value).mean()), float((amounts <= value).mean())
        knots = {p: a for p, a in knots.items() if not below <= p <= up_to}
        knots |= {max(below, 1e-6): value, min(up_to, 1 - 1e-6): value}
    p = np.array(sorted(knots))
    return p, np.array([knots[key] for key in p])


def main(sample: Path, statistics: Path, out: Path) -> None:
    frame = pd.read_parquet(sample)
    legitimate, fraud = frame[frame.Class == 0], frame[frame.Class == 1]
    L, F = legitimate[FEATURES].to_numpy(), fraud[FEATURES].to_numpy()
    mean, sd = L.mean(axis=0), L.std(axis=0)

    # A fraud is hidden if a legitimate row is as near as legitimate rows are to one another.
    index = NearestNeighbors(n_neighbors=2).fit((L - mean) / sd)
    among = index.kneighbors((L[:5000] - mean) / sd)[0][:, 1]
    hidden = index.kneighbors((F - mean) / sd, 1)[0][:, 0] < np.quantile(among, 0.95)
    overt = F[~hidden]

    published = pd.read_csv(statistics / "feature_stats.csv").set_index("feature").loc[FEATURES]
    in_time = scores(legitimate[["Time"]].to_numpy())[:, 0]
    features = pd.DataFrame(
        {
            "feature": FEATURES,
            "low": [EXTREMES[name][0] for name in FEATURES],
            "high": [EXTREMES[name][1] for name in FEATURES],
            "sd": published["n_std"].to_numpy(),
            "time_correlation": [np.corrcoef(column, in_time)[0, 1] for column in scores(L).T],
            "hidden_shift": F[hidden].mean(axis=0) - mean,
            "hidden_scale": F[hidden].std(axis=0) / sd,
        }
    )

    p = both_sides(LEGITIMATE)
    table = np.quantile(L, p, axis=0)
    ends = np.empty((2, len(FEATURES)))
    for j, name in enumerate(FEATURES):
        for side, of in enumerate((np.min, np.max)):
            extreme = EXTREMES[name][side]
            is_fraud = abs(of(F[:, j]) - extreme) < 1e-4
            ends[side, j] = of(L[:, j]) * 1.25 if is_fraud else extreme
    p = np.array([2e-7, *p, 1 - 2e-7])  # rarer than any row of the whole file: few tables reach them
    legitimate_quantiles = pd.DataFrame(np.vstack([ends[0], table, ends[1]])[:, :-1], columns=FEATURES[:-1])
    legitimate_quantiles.insert(0, "probability", p)

    p = both_sides(FRAUD)
    fraud_quantiles = pd.DataFrame(np.quantile(overt[:, :-1], p, axis=0), columns=FEATURES[:-1])
    fraud_quantiles.insert(0, "probability", p)

    fine = np.r_[1e-5, 1e-4, 0.001, np.arange(0.01, 0.995, 0.02), 0.995, 0.999, 0.9998]
    amounts = [
        pd.DataFrame({"kind": kind, "probability": q, "amount": a})
        for kind, (q, a) in {
            "legitimate": with_spikes(fine, L[:, -1]),
            "fraud": with_spikes(np.arange(0.01, 1, 0.02), F[:, -1]),
        }.items()
    ]
    top = pd.DataFrame(  # of the whole file
        {"kind": ["legitimate", "fraud"], "probability": [1 - 2e-6, 0.999], "amount": [25691.16, 2125.87]}
    )

    correlation = np.corrcoef(scores(L).T)
    correlation[:-1, :-1] = pd.read_csv(statistics / "corr_legit.csv", index_col=0).to_numpy()
    hour_line = re.compile(r" *(\d+) +([\d.]+) +([\d.]+) +\d+ +[\d.]+")  # hour, legitimate %, fraud %, ...
    matches = map(hour_line.fullmatch, (statistics / "profile.md").read_text().splitlines())
    hours = pd.DataFrame(
        [(int(m[1]), float(m[2]) / 100, float(m[3]) / 100) for m in matches if m],
        columns=["hour", "legitimate", "fraud"],
    )

    tables = {
        "features": features,
        "quantiles_legitimate": legitimate_quantiles,
        "quantiles_fraud": fraud_quantiles,
        "quantiles_amount": pd.concat([*amounts, top]),
        "correlation_legitimate": pd.DataFrame(correlation, columns=FEATURES),
        "correlation_fraud": pd.DataFrame(np.corrcoef(scores(overt).T), columns=FEATURES),
        "hours": hours,
    }
    out.write_text(_json({name: _rounded(name, figures) for name, figures in tables.items()}))


def _rounded(name: str, figures: pd.DataFrame) -> dict[str, list[object]]:
    digits = 5 if name.startswith("corr") else 8
    rows = [[float(f"{v:.{digits}g}") if isinstance(v, float) else v for v in row] for row in figures.values]
    return {"columns": list(figures.columns), "rows": rows}


def _json(tables: dict[str, dict[str, list[object]]]) -> str:
    """Return the tables as JSON with one line a row."""
    blocks = []
    for name, table in tables.items():
        rows = ",\n".join("   " + json.dumps(row) for row in table["rows"])
        columns = json.dumps(table["columns"])
        blocks.append(f' {json.dumps(name)}: {{\n  "columns": {columns},\n  "rows": [\n{rows}\n  ]\n }}')
    return "{\n" + ",\n".join(blocks) + "\n}\n"


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "fedanomaly" / "data" / "creditcard_figures.json"
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else default)
