"""A benchmark's figures, arranged for comparison: by table, by partition, against the references."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from fedanomaly.evaluation import Interval, RankComparison, bootstrap_interval, compare_ranks, mean_interval
from fedanomaly.experiment.benchmark import PARTITIONS, REFERENCES

if TYPE_CHECKING:
    import pandas as pd

Method = tuple[str, str]

_KINDS = {partition: kind for kind, partition in PARTITIONS.items()}


def label(method: Method) -> str:
    """Return a method's name in tables and pictures."""
    return f"{method[0]}, {method[1]}"


@dataclass(frozen=True, eq=False)
class Results:
    """A benchmark's frame and the metric that is compared.

    Attributes
    ----------
    frame : pandas.DataFrame
        Of :func:`fedanomaly.experiment.benchmark.run_benchmark`.
    metric : str
        Column that is compared; higher is better.
    """

    frame: pd.DataFrame
    metric: str = "average_precision"

    @cached_property
    def values(self) -> pd.DataFrame:
        """One row a table, partition and seed; one column a method (detector, aggregation); NaN if undefined.

        ``pooled``, which was run on one partition, stands beside all of them.
        """
        frame = self.frame.assign(partition=[_KINDS.get(name, name) for name in self.frame["partition"]])
        wide = frame.pivot(
            index=["data", "partition", "seed"], columns=["detector", "aggregation"], values=self.metric
        )
        wide = wide[list(dict.fromkeys(zip(frame["detector"], frame["aggregation"], strict=True)))]
        wide = wide.astype(float)
        for method in wide.columns:
            if method[1] == "pooled":
                wide[method] = wide[method].groupby(level=["data", "seed"]).transform("first")
        return wide

    @property
    def methods(self) -> list[Method]:
        """All pairs of detector and aggregation."""
        return [(str(method[0]), str(method[1])) for method in self.values.columns]

    @property
    def federated(self) -> list[Method]:
        """Those that are no reference."""
        return [method for method in self.methods if method[1] not in REFERENCES]

    @property
    def partitions(self) -> list[str]:
        """Kinds of skew, the usual ones first."""
        found = sorted(self.values.index.unique("partition"))
        return [*(kind for kind in PARTITIONS if kind in found), *(p for p in found if p not in PARTITIONS)]

    @cached_property
    def by_table(self) -> pd.DataFrame:
        """Mean over partitions and seeds; one row a table."""
        return self.values.groupby(level="data", sort=False).mean()

    @cached_property
    def by_partition(self) -> pd.DataFrame:
        """Mean over tables and seeds; one row a partition."""
        return self.values.groupby(level="partition").mean().loc[self.partitions]

    def under(self, partition: str) -> pd.DataFrame:
        """Mean over seeds under one partition; one row a table."""
        one = self.values[self.values.index.get_level_values("partition") == partition]
        return one.groupby(level="data", sort=False).mean()

    def overall(self, method: Method) -> Interval:
        """Mean over everything, with a t interval over the seeds (the tables are taken as given)."""
        return mean_interval(self.values[method].groupby(level="seed").mean().to_numpy())

    def of_pooled(self, method: Method, values: pd.DataFrame) -> Interval:
        """Ratio of two means over tables, the method's and its detector's pooled one.

        With a bootstrap interval over the tables.
        """
        pairs = values[[method, (method[0], "pooled")]].to_numpy()
        return bootstrap_interval(pairs, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))

    def over_local(self, method: Method, values: pd.DataFrame) -> Interval:
        """Mean difference to the same detector's ``local``, with a bootstrap interval over the tables."""
        return bootstrap_interval((values[method] - values[(method[0], "local")]).to_numpy())

    @cached_property
    def ranks(self) -> RankComparison | None:
        """How the federated methods rank over the tables; None if there is only one."""
        if len(self.federated) < 2:
            return None
        return compare_ranks({label(method): self.by_table[method].to_numpy() for method in self.federated})

    @property
    def best(self) -> Method:
        """The federated method of the best mean rank."""
        if self.ranks is None:
            return self.federated[0]
        return {label(method): method for method in self.federated}[self.ranks.methods[0]]
