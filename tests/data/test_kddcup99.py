import gzip
from pathlib import Path

import numpy as np
import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest, check_dataset
from fedanomaly.data.kddcup99 import COLUMNS, FLAGS, NUMERIC, PROTOCOLS, KDDCup99, service_bucket

LINE = (
    "0,tcp,http,SF,181,5450" + ",0" * 16 + ",8,8" + ",0.00" * 5 + ",0.5,0.00,9,9" + ",0.25" * 8 + ",normal."
)


def load(*lines, **options):
    path = Path("kddcup.data_10_percent.gz")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return KDDCup99().load(DataRequest(path=path, **options))


def changed(**values):
    cells = LINE.split(",")
    for column, value in values.items():
        cells[COLUMNS.index(column)] = str(value)
    return ",".join(cells)


def test_encoding():
    assert len(COLUMNS) == 42 and LINE.count(",") == 41
    table = load(LINE, changed(protocol_type="udp", service="private", flag="S0", labels="smurf."))
    check_dataset("kddcup99", DataRequest(path=Path("kddcup.data_10_percent.gz")))
    assert table.X.shape == (2, 68) and list(table.y) == [0, 1]
    names = table.feature_names
    assert names[: len(NUMERIC)] == NUMERIC
    for row, protocol, flag, service in ((0, "tcp", "SF", "http"), (1, "udp", "S0", "private")):
        on = {names[j] for j in np.flatnonzero(table.X[row, len(NUMERIC) :]) + len(NUMERIC)}
        assert on == {f"protocol_type={protocol}", f"flag={flag}", f"service#{service_bucket(service)}"}
    assert table.X[0, names.index("src_bytes")] == 181


def test_services_spread_over_the_columns():
    services = [
        "http",
        "smtp",
        "ftp",
        "ftp_data",
        "private",
        "ecr_i",
        "eco_i",
        "domain_u",
        "telnet",
        "finger",
    ]
    assert len({service_bucket(service) for service in services}) >= 7
    assert service_bucket("http") == 0 and service_bucket("smtp") == 10  # the same on every machine


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (changed(labels="neptune"), "end with a dot"),
        (changed(protocol_type="xtp"), "'protocol_type', row 2 holds xtp"),
        (changed(flag="ZZ"), f"one of {', '.join(FLAGS)}"),
        (changed(serror_rate=1.5), "rates are at most 1"),
        (changed(src_bytes=-1), "no negative values"),
    ],
)
def test_broken_rules_are_refused_or_said(line, said):
    attack = changed(labels="smurf.")
    with pytest.raises(UserError) as error:
        load(LINE, line, attack)
    assert said in str(error.value)
    assert any(said in warning for warning in load(LINE, line, attack, accept_variant=True).warnings)


def test_wrong_width_is_refused():
    with pytest.raises(UserError, match="cannot be read"):
        load(LINE, LINE + ",21")


def test_unknown_variant():
    with pytest.raises(UserError, match="kddcup99:SA"):
        load(LINE, variant="SF")


def test_protocols_are_all_there():
    assert set(PROTOCOLS) == {"tcp", "udp", "icmp"}


def test_official_file(real_data):
    path = real_data / "kddcup99"
    table = KDDCup99().load(DataRequest(path=path))
    assert table.X.shape == (494_021, 68) and (table.y == 0).sum() == 97_278
    one_hot = table.X[:, len(NUMERIC) :]
    assert (one_hot.sum(axis=1) == 3).all()
    few = KDDCup99().load(DataRequest(path=path, variant="SA"))
    assert few.name == "kddcup99:SA" and few.n_anomalies == 3_377 and len(few) == 100_655
