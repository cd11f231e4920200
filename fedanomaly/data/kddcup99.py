"""KDD Cup 1999: network connections, the official 10 % file (Stolfo et al. 2000)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedanomaly.core.errors import UserError
from fedanomaly.core.keyed import keyed_generator
from fedanomaly.data.base import DATASETS, DataRequest, Table
from fedanomaly.data.build import build_table
from fedanomaly.data.columns import Columns, read_columns
from fedanomaly.data.download import OfficialFile
from fedanomaly.data.files import FileDataset
from fedanomaly.data.invariants import Invariants

ROWS = 494_021
NORMAL = 97_278
SA_ATTACKS = 3_377
PROTOCOLS = ("icmp", "tcp", "udp")
FLAGS = ("OTH", "REJ", "RSTO", "RSTOS0", "RSTR", "S0", "S1", "S2", "S3", "SF", "SH")
SERVICE_BUCKETS = 16
COLUMNS = (
    "duration",
    "protocol_type",
    "service",
    "flag",
    "src_bytes",
    "dst_bytes",
    "land",
    "wrong_fragment",
    "urgent",
    "hot",
    "num_failed_logins",
    "logged_in",
    "num_compromised",
    "root_shell",
    "su_attempted",
    "num_root",
    "num_file_creations",
    "num_shells",
    "num_access_files",
    "num_outbound_cmds",
    "is_host_login",
    "is_guest_login",
    "count",
    "srv_count",
    "serror_rate",
    "srv_serror_rate",
    "rerror_rate",
    "srv_rerror_rate",
    "same_srv_rate",
    "diff_srv_rate",
    "srv_diff_host_rate",
    "dst_host_count",
    "dst_host_srv_count",
    "dst_host_same_srv_rate",
    "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate",
    "dst_host_srv_diff_host_rate",
    "dst_host_serror_rate",
    "dst_host_srv_serror_rate",
    "dst_host_rerror_rate",
    "dst_host_srv_rerror_rate",
    "labels",
)
CATEGORICAL = ("protocol_type", "service", "flag")
NUMERIC = tuple(column for column in COLUMNS if column not in (*CATEGORICAL, "labels"))


@DATASETS.register("kddcup99")
class KDDCup99(FileDataset):
    """Network connections; every label but ``normal.`` is an anomaly.

    68 features: 38 numbers, one column each for the 3 protocols and the 11 flags, and the service
    (70 names) hashed into 16 columns (Weinberger et al. 2009, without signs). Both encodings are
    fixed beforehand, so no client has to tell another which services it has seen.

    In the whole file 80 % of the rows are attacks. ``kddcup99:SA`` keeps all normal rows and 3,377
    attacks (3.4 %), the set-up usual in anomaly detection; always the same ones.
    """

    name: ClassVar[str] = "kddcup99"
    title: ClassVar[str] = (
        "KDD Cup 99 connections, official 10 % file, 494,021 x 68; kddcup99:SA has 3.4 % attacks"
    )
    takes_variant: ClassVar[bool] = True
    patterns: ClassVar[tuple[str, ...]] = ("kddcup*10_percent*", "kddcup*")
    homepage: ClassVar[str] = "https://archive.ics.uci.edu/dataset/130/kdd+cup+1999+data"
    put: ClassVar[str] = "kddcup.data_10_percent.gz"
    official: ClassVar[OfficialFile | None] = OfficialFile(  # as in scikit-learn's fetch_kddcup99
        url="https://ndownloader.figshare.com/files/5976042",
        filename="kddcup.data_10_percent.gz",
        sha256="8045aca0d84e70e622d1148d7df782496f6333bf6eb979a1b0837c42a9fd9561",
        size=2_144_903,
    )

    def locate(self, request: DataRequest) -> Path:
        """Return the file, after checking that the variant exists."""
        if request.variant not in ("", "SA"):
            raise UserError(
                f"kddcup99 has no variant {request.variant!r}; there are kddcup99 and kddcup99:SA"
            )
        return super().locate(request)

    def read(self, path: Path, request: DataRequest) -> Table:
        """Return the rows of one file."""
        facts = Invariants(path.name, request.accept_variant)
        columns = read_columns(path, COLUMNS, header=COLUMNS, text=(*CATEGORICAL, "labels"))
        y = _labels(columns, facts)
        X, names = _features(columns, facts)
        if len(y) != ROWS or int((y == 0).sum()) != NORMAL:
            facts.note(
                f"not the official 10 % file: {len(y):,} rows, {int((y == 0).sum()):,} of them normal "
                f"(official: {ROWS:,} and {NORMAL:,})"
            )
        name = self.name
        if request.variant == "SA":
            name = f"{self.name}:SA"
            kept = _subset_sa(y)
            X, y = X[kept], y[kept]
        else:
            facts.note(f"{float(y.mean()):.0%} of the rows are attacks: anomalies are not rare here")
        return build_table(name, X, y, names, source=path.name, rows=request.rows, warnings=facts.warnings)


def _labels(columns: Columns, facts: Invariants) -> npt.NDArray[np.int8]:
    codes, labels = columns.codes("labels")
    dotted = np.array([label.endswith(".") for label in labels])
    facts.require_rows(
        ~dotted[codes],
        "labels",
        "labels end with a dot (NSL-KDD's do not)",
        value=lambda row: labels[codes[row]],
    )
    normal = np.array([label.rstrip(".") == "normal" for label in labels])
    return (~normal[codes]).astype(np.int8)


def _features(columns: Columns, facts: Invariants) -> tuple[npt.NDArray[np.float64], list[str]]:
    names = [
        *NUMERIC,
        *(f"protocol_type={protocol}" for protocol in PROTOCOLS),
        *(f"flag={flag}" for flag in FLAGS),
        *(f"service#{bucket}" for bucket in range(SERVICE_BUCKETS)),
    ]
    X = np.zeros((len(columns), len(names)))
    for j, name in enumerate(NUMERIC):
        values = columns.numbers(name)
        facts.require_rows(values < 0, name, "no negative values", value=lambda row, v=values: v[row])  # type: ignore[misc]
        if name.endswith("_rate"):
            facts.require_rows(values > 1, name, "rates are at most 1", value=lambda row, v=values: v[row])  # type: ignore[misc]
        X[:, j] = values
    start = len(NUMERIC)
    for column, known in (("protocol_type", PROTOCOLS), ("flag", FLAGS)):
        codes, found = columns.codes(column)
        place = np.array([known.index(name) if name in known else -1 for name in found])[codes]
        facts.require_rows(
            place < 0,
            column,
            f"one of {', '.join(known)}",
            value=lambda row, f=found, c=codes: f[c[row]],  # type: ignore[misc]
        )
        rows = np.flatnonzero(place >= 0)
        X[rows, start + place[rows]] = 1.0
        start += len(known)
    codes, services = columns.codes("service")
    bucket = np.array([service_bucket(service) for service in services])
    X[np.arange(len(X)), start + bucket[codes]] = 1.0
    return X, names


def service_bucket(service: str) -> int:
    """Return which of the 16 columns a service's name falls into; the same on every machine."""
    return hashlib.sha256(service.encode()).digest()[0] % SERVICE_BUCKETS


def _subset_sa(y: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
    attacks = np.flatnonzero(y == 1)
    chosen = keyed_generator(0, "kddcup99", "SA").permutation(attacks)[:SA_ATTACKS]
    return np.sort(np.concatenate([np.flatnonzero(y == 0), chosen]))
