"""The Flower ServerApp: a job over whatever grid Flower hands in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedanomaly.experiment.folder import FAILED, RUNNING, ResultsFolder, default_folder
from fedanomaly.experiment.job import Job, preflight
from fedanomaly.experiment.narrator import Narrator, ProgressLog
from fedanomaly.federation.client_app import make_client_app
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.deployment.superlink import allowed_nodes
from fedanomaly.federation.plan import resolved

PROGRESS = ".progress.jsonl"
DONE = "done"


def make_server_app(client_app: Callable[[], ClientApp] = make_client_app) -> ServerApp:
    """Return the app that runs the federation a run configuration describes.

    Parameters
    ----------
    client_app : callable
        Returns the app the clients run, for the references.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        config = resolved(RunConfig.from_mapping(context.run_config, "the run configuration"))
        preflight(config)
        engine = "deployment" if type(grid).__name__ == "HttpGrid" else "ray"
        folder = ResultsFolder(Path(config.out) if config.out else default_folder(config), config, engine)
        tell = ProgressLog(folder.path / PROGRESS)
        try:
            Job(config, grid, folder, Narrator(tell), client_app(), allowed_nodes()).run()
        except BaseException as error:  # whatever ends the app, the folder says so
            if folder.summary["status"] == RUNNING:
                folder.finish(FAILED, f"{type(error).__name__}: {error}")
            raise
        finally:
            tell({"kind": DONE})

    return app
