from pathlib import Path

import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.data import DataRequest
from fedanomaly.data.creditcard import CreditCard
from fedanomaly.data.fraud_handbook import FraudHandbook
from fedanomaly.data.kddcup99 import KDDCup99
from fedanomaly.data.paysim import PaySim


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def located(dataset=CreditCard, **options) -> str:
    return dataset().locate(DataRequest(**{"download": False, **options})).as_posix()


def test_order_of_places(monkeypatch):
    touch("given/any.csv", "data/creditcard.csv", "elsewhere/creditcard/any_name.csv")
    monkeypatch.setenv("FEDANOMALY_DATA", "elsewhere")
    assert located(path=Path("given/any.csv")) == "given/any.csv"
    assert located(path=Path("given")) == "given/any.csv"
    assert located() == "data/creditcard.csv"
    Path("data/creditcard.csv").rename("data/any_name.csv")  # among other data only known names count
    assert located() == "elsewhere/creditcard/any_name.csv"
    touch("elsewhere/creditcard/creditcard.csv")
    assert located() == "elsewhere/creditcard/creditcard.csv"
    Path("elsewhere/creditcard").rename("elsewhere/other")
    with pytest.raises(UserError):
        located()


def test_quickest_format_first():
    touch("data/creditcard.zip", "data/creditcard.csv.gz", "data/creditcard.csv", "data/creditcard.txt")
    assert located() == "data/creditcard.csv"
    touch("data/creditcard.parquet")
    assert located() == "data/creditcard.parquet"


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        (PaySim, "data/PS_20174392719_1491204439457_log.csv"),
        (PaySim, "data/paysim/PS_20174392719_1491204439457_log.csv.zip"),
        (KDDCup99, "data/kddcup.data_10_percent.gz"),
        (FraudHandbook, "data/simulated_data_raw.parquet"),
        (CreditCard, "data/creditcardfraud.zip"),
    ],
)
def test_names_in_circulation(dataset, name):
    touch(name)
    assert located(dataset) == name


def test_the_ten_percent_file_before_the_whole():
    touch("data/kddcup.data.gz", "data/kddcup.data_10_percent.gz")
    assert located(KDDCup99) == "data/kddcup.data_10_percent.gz"


def test_no_such_path():
    with pytest.raises(UserError, match="nowhere does not exist"):
        located(path=Path("nowhere"))


def test_a_folder_without_data():
    touch("empty/notes.txt")
    with pytest.raises(UserError, match="folder empty holds no file of the data set 'creditcard'"):
        located(path=Path("empty"))


@pytest.mark.parametrize("dataset", [CreditCard, PaySim, KDDCup99, FraudHandbook])
@pytest.mark.parametrize("download", [False, True])
def test_nothing_there_says_what_to_put_where(dataset, download):
    with pytest.raises(UserError) as error:
        located(dataset, download=download)
    sentence = str(error.value)
    assert dataset.put in sentence and dataset.homepage in sentence and "data/" in sentence
    assert ("could not be downloaded" in sentence) == (download and dataset.official is not None)
    assert "\n" not in sentence


def test_cache_key_follows_the_file_and_the_options():
    touch("data/paysim.csv")
    key = PaySim().cache_key(DataRequest())
    assert key == PaySim().cache_key(DataRequest(seed=7))
    assert key != PaySim().cache_key(DataRequest(rows=5))
    assert key != PaySim().cache_key(DataRequest(accept_variant=True))
    Path("data/paysim.csv").write_bytes(b"xx")
    assert key != PaySim().cache_key(DataRequest())
