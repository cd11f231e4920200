"""One run from start to finish: rounds, model, references, leak check, report. The same for every engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedanomaly.core.arrays import Arrays, with_prefix
from fedanomaly.core.errors import FederationError, InvalidArrays, UserError
from fedanomaly.detectors import Detector
from fedanomaly.experiment.audit import audit
from fedanomaly.experiment.folder import COMPLETED, FAILED, INTERRUPTED, ResultsFolder
from fedanomaly.experiment.model_file import Model
from fedanomaly.experiment.narrator import Narrator
from fedanomaly.experiment.references import NAMES, one_rule, reference
from fedanomaly.experiment.report import write_run_report
from fedanomaly.federation.attacks import check_attack, hostile_clients
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.coordinator import Coordinator
from fedanomaly.federation.defences import Defences
from fedanomaly.federation.layout import layout, load_data
from fedanomaly.federation.observer import ClientInfo, Event, Metrics, Observer, RoundRecord
from fedanomaly.federation.plan import make_plan, scaling_of, try_detector
from fedanomaly.federation.post import Post
from fedanomaly.federation.private import privacy_facts
from fedanomaly.federation.strategies import make_strategy


def preflight(config: RunConfig, *, data_here: bool = False) -> None:
    """Refuse what cannot work before any process starts.

    Reads the data too. Only where clients run elsewhere, references are off and no path was given may
    it be absent.

    Raises
    ------
    UserError
        In one sentence.
    """
    from fedanomaly.evaluation import THRESHOLDS
    from fedanomaly.prepare import BALANCERS

    plan = make_plan(config)
    if plan.detector.supervised and config.train_on == "legitimate":
        raise UserError(f"{plan.detector.name} learns from labelled anomalies: it needs --train-on all")
    check_attack(config, plan)
    Defences(config)
    try_detector(plan.detector)
    THRESHOLDS.get(config.threshold)
    BALANCERS.get(config.balance)
    if plan.strategy:
        make_strategy(plan.strategy, config, config.clients)
    if not (data_here or config.references or config.data_path):
        try:
            load_data(config)
        except UserError:
            return  # the clients, on other machines, have it
    layout(config)


class Job:
    """Runs a configuration over a grid and leaves a results folder.

    Parameters
    ----------
    config : RunConfig
        The run.
    grid : Grid or Post
        The engine's grid, or the local engine's post.
    folder : ResultsFolder
        Where results go.
    narrator : Narrator
        Who watches.
    client_app : ClientApp, optional
        What the clients run; the references run the same.
    allowed : frozenset of int, optional
        Ids of the nodes that may join; None: all.
    workers : int
        Processes that compute the references.
    """

    def __init__(
        self,
        config: RunConfig,
        grid: Grid | Post,
        folder: ResultsFolder,
        narrator: Narrator,
        client_app: ClientApp | None = None,
        allowed: frozenset[int] | None = None,
        workers: int = 1,
    ) -> None:
        self.config = config
        self.workers = workers
        self.client_app = client_app
        self.folder = folder
        self.narrator = narrator
        self.coordinator = Coordinator(config, grid, _Both(self), allowed)

    def run(self) -> None:
        """Do everything; whatever happens, the folder says how it ended.

        Raises
        ------
        FederationError, UserError
            As the rounds did; results so far are kept.
        """
        try:
            self._describe()
            self.coordinator.run()
            self._finish()
        except KeyboardInterrupt:
            self.close(INTERRUPTED, "stopped by the user")
            raise
        except Exception as error:
            self.close(FAILED, f"{error}")
            raise

    def save_model(self) -> None:
        """Write the model that the rounds so far amount to."""
        self.folder.save_model(self.model_arrays())

    def model_arrays(self) -> Arrays:
        """Return the model as the file holds it: one model, or one a client."""
        plan, state = self.coordinator.plan, self.coordinator.state
        if not plan.aggregation.personal:
            return self._model(self.coordinator.model()).to_arrays()
        arrays: Arrays = {}
        for client in self.coordinator.roster.nodes:
            try:
                detector = plan.load(plan.aggregation.personal_model(state, client))
            except InvalidArrays:
                continue  # this client never answered; events say so
            arrays |= with_prefix(self._model(detector).to_arrays(), f"client-{client}")
        return arrays

    def _model(self, detector: Detector) -> Model:
        return Model(detector, scaling_of(self.coordinator.state), self.coordinator.roster.feature_names)

    def _describe(self) -> None:
        plan = self.coordinator.plan
        self.folder.summary |= {
            "detector": plan.detector.name,
            "aggregation": plan.aggregation.name + (f" by {plan.strategy}" if plan.strategy else ""),
        }
        if self.config.attack:
            self.folder.summary["hostile"] = list(hostile_clients(self.config))
        if self.config.references:
            table = layout(self.config).table
            self.folder.summary["data"] = {
                "source": table.source,
                "rows": len(table),
                "frauds": table.n_anomalies,
                "features": len(table.feature_names),
                "synthetic": table.synthetic,
                "fingerprint": table.fingerprint,
                "warnings": list(table.warnings),
            }
            self.folder.summary["warnings"] += layout(self.config).notes

    def _finish(self) -> None:
        if self.config.references:
            for name in NAMES:
                self.narrator.doing(f"computing the {name} reference")
                try:
                    result = reference(self.config, name, self.client_app, self.workers)
                except (FederationError, UserError) as error:
                    self.folder.summary["warnings"].append(f"no {name} reference: {error}")
                    continue
                self.folder.save_reference(name, result.metrics, result.scores)
            if (rule := one_rule(self.config)) is not None:
                self.folder.summary["references"]["one rule"] = rule
            self.narrator.doing("checking for leaks")
            self.folder.summary["leaks"] = self._audit()
        self.narrator.doing("writing the report")
        self.close(COMPLETED)

    def _audit(self) -> list[dict[str, object]]:
        personal = self.coordinator.plan.aggregation.personal
        model = None if personal else self.coordinator.model()
        used = self.folder.last.calibration if self.folder.last and not personal else None
        return audit(self.config, self.coordinator.state, model, used)

    def close(self, status: str, reason: str = "") -> None:
        """Set the status and write the report of whatever there is."""
        if (privacy := self.coordinator.plan.privacy) is not None:
            rounds = self.folder.summary["rounds"] + (status != COMPLETED)  # the one that failed counts too
            releases = self.coordinator.plan.releases(min(rounds, self.config.rounds))
            self.folder.summary["privacy"] = privacy_facts(privacy, releases, self.coordinator.plan.strategy)
        self.folder.summary["warnings"] += self._warnings()
        self.folder.finish(status, reason)
        write_run_report(self.folder.path)

    def _warnings(self) -> list[str]:
        aggregation = self.coordinator.plan.aggregation
        warnings = []
        if hostile := hostile_clients(self.config):
            names = ", ".join(map(str, hostile))
            warnings.append(f"Hostile on purpose (--attack {self.config.attack}): clients {names}.")
        if aggregation.ships_rows:
            warnings.append(f"Training rows leave the clients ({aggregation.name}): {aggregation.leaks}")
        supervised = self.coordinator.plan.detector.supervised
        if supervised:
            warnings.append(
                f"{self.coordinator.plan.detector.name} is supervised: it learned from the labels of the "
                "training rows, which the unsupervised detectors never see; compare it as a reference only."
            )
        if self.config.balance != "none" and self.config.balance_where == "train" and not supervised:
            warnings.append(
                f"The training rows were balanced ({self.config.balance}): what an unsupervised detector "
                "learns as normal then includes synthetic frauds."
            )
        if self.folder.last is not None and self.folder.last.threshold.degenerate:
            warnings.append(f"The threshold is degenerate. {self.folder.last.threshold.degenerate}")
        if self.folder.events:
            warnings.append(f"Clients failed or joined late ({len(self.folder.events)} in events.jsonl).")
        return warnings


class _Both(Observer):
    """Tells the folder and the narrator; after a round also writes the model."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def waiting(self, up: int, expected: int) -> None:
        self.job.narrator.waiting(up, expected)

    def joined(self, clients: dict[int, ClientInfo]) -> None:
        self.job.folder.joined(clients)
        self.job.narrator.joined(clients)

    def setup_done(self, spent: Mapping[str, Metrics]) -> None:
        self.job.folder.setup_done(spent)

    def asked(self, server_round: int, phase: str, clients: tuple[int, ...]) -> None:
        self.job.narrator.asked(server_round, phase, clients)

    def answered(self, server_round: int, phase: str, clients: Sequence[int]) -> None:
        self.job.narrator.answered(server_round, phase, clients)

    def event(self, event: Event) -> None:
        self.job.folder.event(event)
        self.job.narrator.event(event)

    def round_done(self, record: RoundRecord) -> None:
        self.job.folder.round_done(record)
        self.job.save_model()
        self.job.narrator.round_done(record)
