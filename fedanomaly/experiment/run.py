"""``fedanomaly.run``: a whole federation in one call, on the local engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.clientapp import ClientApp

from fedanomaly.core.arrays import Arrays, load_arrays
from fedanomaly.core.errors import UserError
from fedanomaly.data import register_memory_table
from fedanomaly.detectors import Detector
from fedanomaly.experiment.folder import ResultsFolder, default_folder
from fedanomaly.experiment.job import Job, preflight
from fedanomaly.experiment.model_file import Model, common_model
from fedanomaly.experiment.narrator import Narrator, Sink
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.local_engine import local_engine
from fedanomaly.federation.plan import resolved

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    path : Path
        Its folder.
    """

    path: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Status, metrics over all clients, references, leaks and warnings (``summary.json``)."""
        return dict(json.loads((self.path / "summary.json").read_text(encoding="utf-8")))

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """Tidy metrics: round, phase, client, metric, value."""
        import pandas as pd

        return pd.read_parquet(self.path / "rounds.parquet")

    @cached_property
    def model(self) -> Arrays:
        """The model as named arrays (``model.npz``)."""
        return load_arrays(self.path / "model.npz")

    @cached_property
    def pipeline(self) -> Model:
        """Scaling and detector: takes raw rows."""
        return common_model(self.model, self.path / "model.npz")

    @cached_property
    def detector(self) -> Detector:
        """The fitted scikit-learn estimator, its threshold set; takes scaled rows (see ``pipeline``)."""
        return self.pipeline.detector

    @cached_property
    def report(self) -> str:
        """The text of ``report.md``."""
        return (self.path / "report.md").read_text(encoding="utf-8")


def run(
    data: Any = "synthetic",
    *,
    progress: Sink | None = None,
    workers: int = 1,
    exact_bytes: bool | None = None,
    **options: Any,
) -> Run:
    """Run a federation in this process and return its results.

    Parameters
    ----------
    data : str or (X, y)
        Name of a data set, or a pair of arrays or frames: rows of shape (n, d) and labels
        (1 = anomaly).
    progress : callable, optional
        Takes a dictionary for everything that happens; default: silence.
    workers : int
        Processes that do the clients' work; 1: this one. No result depends on it.
    exact_bytes : bool, optional
        Whether the reported bytes are those on the wire, compressed, or those of the arrays; default:
        on the wire for up to 100 clients.
    **options
        The options of ``server.py`` with underscores for dashes, e.g. ``detector="lof"``,
        ``clients=5``, ``rounds=3``, ``partition="dirichlet"``, ``alpha=0.3``, ``out="folder"``.

    Returns
    -------
    Run
        With ``summary``, ``rounds``, ``model``, ``detector`` and ``path``.

    Raises
    ------
    UserError
        If what was asked for cannot be done.
    FederationError
        If too few clients answered.

    Examples
    --------
    >>> import fedanomaly, tempfile
    >>> result = fedanomaly.run("wdbc", clients=3, rounds=2, partition="iid", out=tempfile.mkdtemp())
    >>> result.summary["status"]
    'completed'
    """
    if not isinstance(data, str):
        try:
            X, y = data
        except (TypeError, ValueError):
            raise UserError("data must be the name of a data set or a pair (X, y)") from None
        data = register_memory_table(X, y)
    config = RunConfig.from_mapping({"data": data, **_plain(options)}, "the arguments of run()")
    return run_config(config, progress or (lambda _: None), workers=workers, exact_bytes=exact_bytes)


def run_config(
    config: RunConfig,
    progress: Sink,
    client_app: ClientApp | None = None,
    *,
    workers: int = 1,
    exact_bytes: bool | None = None,
) -> Run:
    """Run a configuration on the local engine, with the clients' app where it is not the package's own."""
    config = resolved(config)
    preflight(config, data_here=True)
    with local_engine(config, client_app, workers=workers, exact_bytes=exact_bytes) as post:
        folder = ResultsFolder(Path(config.out) if config.out else default_folder(config), config, "local")
        Job(config, post, folder, Narrator(progress), client_app, workers=workers).run()
    return Run(folder.path.resolve())


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Accept paths, and dictionaries for ``params``."""
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    if isinstance(params := plain.get("params"), dict):
        plain["params"] = ",".join(f"{name}={value}" for name, value in params.items())
    return plain
