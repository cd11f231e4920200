"""What a run is: one flat, hashable record that travels to every client as Flower's run configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cached_property
from typing import Any, Self

from fedanomaly.core.errors import UserError

Value = bool | int | float | str


def option(default: Value, help_: str, choices: tuple[str, ...] = ()) -> Any:
    """Return a dataclass field that is also an option of the command line."""
    return field(default=default, metadata={"help": help_, "choices": choices})


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers. The same names are command-line options and TOML keys.

    Empty strings and zeros mean "the default of the chosen data set, detector or partition".
    """

    data: str = option("synthetic", "data set: synthetic, creditcard, paysim, wdbc, adbench:NAME, ...")
    data_path: str = option("", "file or folder that holds the data set")
    rows: int = option(0, "rows to generate (synthetic) or to keep; 0: all")
    accept_variant: bool = option(False, "accept a file that breaks the data set's published facts")
    download: bool = option(True, "try the official download if no file is found")

    detector: str = option("isolation-forest", "isolation-forest, one-class-svm, lof, ...")
    aggregation: str = option("", "how clients build it together: union, local, pooled, fedavg, ...")
    params: str = option("", "detector parameters, e.g. n_estimators=500,max_samples=256")

    partition: str = option("even", "who holds which rows: even, uneven, thesis, iid, dirichlet, ...")
    alpha: float = option(0.5, "Dirichlet concentration; small means skewed")
    fraud_ratios: str = option("", "share of the frauds each client gets, e.g. 0.2,0.3,0.1,0.4")
    partition_column: str = option("", "column that owns the rows (natural partition)")
    classes_per_client: int = option(2, "shards a client draws from (pathological partition)")

    clients: int = option(5, "number of clients")
    rounds: int = option(10, "number of rounds")
    min_clients: int = option(0, "end the run when fewer clients answer; 0: a majority")
    timeout: float = option(120.0, "seconds a client may take to answer one message")
    join_timeout: float = option(120.0, "seconds to wait for all clients before the first round")
    fraction_train: float = option(1.0, "share of the clients asked to train in a round")
    fraction_evaluate: float = option(1.0, "share of the clients asked to evaluate after a round")

    train_on: str = option("all", "training rows: all (unlabelled) or legitimate", ("all", "legitimate"))
    scaling: str = option(
        "", "standard, robust, minmax, grid or none", ("", "standard", "robust", "minmax", "grid", "none")
    )
    balance: str = option("none", "balancing: none, smote, borderline-smote, adasyn, under")
    balance_where: str = option(
        "calibration", "rows that are balanced: calibration or train", ("calibration", "train")
    )
    balance_ratio: float = option(1.0, "frauds a legitimate row after balancing")
    calibration_share: float = option(0.2, "share of the rows that calibrate the threshold")
    test_share: float = option(0.2, "share of the rows that test")

    threshold: str = option("contamination", "contamination, best-f1, recall, budget or conformal")
    contamination: str = option("auto", "share of rows to flag; auto: the labelled share on calibration rows")
    target_recall: float = option(0.8, "recall to reach (threshold recall)")
    alert_budget: float = option(0.01, "alerts a row (threshold budget)")
    conformal_alpha: float = option(0.01, "false alarms a legitimate row (threshold conformal)")
    alert_cost: float = option(1.0, "cost of looking at one alert, in the data's money")

    server_learning_rate: float = option(0.1, "FedAdam, FedYogi, FedAdagrad, FedAvgM")
    server_momentum: float = option(0.9, "FedAvgM")
    proximal_mu: float = option(0.1, "FedProx")
    malicious_clients: int = option(0, "clients Krum, MultiKrum and Bulyan defend against; 0: as many as fit")
    trim: float = option(0.2, "share of the clients FedTrimmedAvg cuts on each side")

    attack: str = option(
        "", "what hostile clients do: noise, flood, inverted-trees, ...; NAME:STRENGTH, joined by +"
    )
    attackers: float = option(0.2, "share of the clients that are hostile (with --attack)")
    defence: str = option("", "what the server does about them: bound, screen; NAME:STRENGTH, joined by +")

    dp_epsilon: float = option(0.0, "differential privacy: loss over all steps and rounds; 0: off")
    dp_delta: float = option(1e-5, "differential privacy: chance of a larger loss; 0: Laplace noise")
    dp_row_norm: float = option(
        0.0, "differential privacy: longest row, scaled, where rows are clipped; 0: root of the features"
    )
    dp_update_norm: float = option(0.1, "differential privacy: longest update of weights")
    dp_clipping: str = option(
        "fixed", "differential privacy: norm of weight updates is fixed or adaptive", ("fixed", "adaptive")
    )

    references: bool = option(True, "also compute the local and pooled references")
    seed: int = option(42, "one seed, one result")
    out: str = option("", "the run's own folder; empty: results/<time>-<name>")
    name: str = option("", "name of the run")

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:  # engines look things up by it for every answer
        return hash(tuple(getattr(self, item.name) for item in fields(self)))

    def __post_init__(self) -> None:
        checks: dict[str, tuple[bool, str]] = {
            "clients": (self.clients >= 1, "at least 1"),
            "rounds": (self.rounds >= 1, "at least 1"),
            "rows": (self.rows >= 0, "0 or more"),
            "min_clients": (0 <= self.min_clients <= self.clients, f"0 to --clients ({self.clients})"),
            "timeout": (self.timeout > 0, "more than 0 seconds"),
            "join_timeout": (self.join_timeout > 0, "more than 0 seconds"),
            "alpha": (self.alpha > 0, "more than 0"),
            "fraction_train": (0 < self.fraction_train <= 1, "above 0, at most 1"),
            "fraction_evaluate": (0 < self.fraction_evaluate <= 1, "above 0, at most 1"),
            "balance_ratio": (0 < self.balance_ratio <= 1, "above 0, at most 1"),
            "calibration_share": (0 < self.calibration_share < 1, "between 0 and 1"),
            "test_share": (0 < self.test_share < 1, "between 0 and 1"),
            "target_recall": (0 < self.target_recall <= 1, "above 0, at most 1"),
            "alert_budget": (0 < self.alert_budget <= 1, "above 0, at most 1"),
            "conformal_alpha": (0 < self.conformal_alpha < 1, "between 0 and 1"),
            "trim": (0 <= self.trim < 0.5, "from 0 to below 0.5"),
            "malicious_clients": (self.malicious_clients >= 0, "0 or more"),
            "attackers": (0 <= self.attackers <= 1, "from 0 to 1"),
            "dp_epsilon": (0 <= self.dp_epsilon < 1e6, "0 (off) or more"),
            "dp_delta": (0 <= self.dp_delta < 1, "from 0 to below 1"),
            "dp_row_norm": (self.dp_row_norm >= 0, "0 (automatic) or more"),
            "dp_update_norm": (self.dp_update_norm > 0, "more than 0"),
            "seed": (0 <= self.seed < 2**63, "a whole number from 0 to 2**63 - 1"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise UserError(f"{dashed(name)} must be {expected}, got {getattr(self, name)}")
        if self.calibration_share + self.test_share >= 1:
            raise UserError(
                "--calibration-share and --test-share leave no rows to train on; lower one of them"
            )
        for item in fields(self):
            choices = item.metadata["choices"]
            if choices and getattr(self, item.name) not in choices:
                raise UserError(
                    f"{dashed(item.name)} must be one of {', '.join(filter(None, choices))}, "
                    f"got {getattr(self, item.name)!r}"
                )
        _ = self.contamination_share, self.ratios, self.detector_params

    @property
    def majority(self) -> int:
        """How many clients must answer for the run to go on."""
        return self.min_clients or self.clients // 2 + 1

    @property
    def contamination_share(self) -> float | None:
        """Share of the rows to flag, or None for ``auto``."""
        if self.contamination == "auto":
            return None
        try:
            share = float(self.contamination)
        except ValueError:
            share = -1.0
        if not 0 < share <= 0.5:
            raise UserError(
                f"--contamination must be auto or a number in (0, 0.5], got {self.contamination!r}"
            )
        return share

    @property
    def ratios(self) -> tuple[float, ...]:
        """``fraud_ratios`` as numbers."""
        try:
            return tuple(
                float(part) for part in self.fraud_ratios.replace("/", ",").split(",") if part.strip()
            )
        except ValueError:
            raise UserError(
                "--fraud-ratios must be numbers with commas between, e.g. 0.2,0.3,0.5, "
                f"got {self.fraud_ratios!r}"
            ) from None

    @property
    def detector_params(self) -> dict[str, Any]:
        """``params`` as keyword arguments: numbers, true/false, none and plain words."""
        parsed: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in self.params.split(","))):
            name, equals, text = part.partition("=")
            if not equals or not name.strip().isidentifier():
                raise UserError(f"--params takes name=value,name=value; cannot read {part!r}")
            parsed[name.strip()] = parse_value(text.strip())
        return parsed

    def to_run_config(self) -> dict[str, Value]:
        """Return the flat dictionary Flower carries: dashes for underscores, plain values."""
        return {item.name.replace("_", "-"): getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_mapping(cls, values: Mapping[str, object], origin: str = "the configuration") -> Self:
        """Build a configuration from names with dashes or underscores, converting types.

        Raises
        ------
        UserError
            If a name is unknown or a value has the wrong type.
        """
        known = {item.name: item for item in fields(cls)}
        given: dict[str, Any] = {}
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in known:
                raise UserError(
                    f"unknown option {key!r} in {origin}; `python server.py --help` lists them all"
                )
            given[name] = _convert(known[name], value, origin)
        return cls(**given)


def dashed(name: str) -> str:
    """Return the command-line spelling of a field's name."""
    return "--" + name.replace("_", "-")


def parse_value(text: str) -> Any:
    """Return an int, float, bool, None or the text itself."""
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if text.lower() == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _convert(item: Field[Any], value: object, origin: str) -> Value:
    kind = type(item.default)
    if kind is str and isinstance(value, (list, tuple)):
        return ",".join(str(part) for part in value)
    if kind is str and value is None:
        return ""
    if kind is str and not isinstance(value, bool):
        return str(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    raise UserError(f"{dashed(item.name)} in {origin} must be {_WORDS[kind]}, got {value!r}")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
