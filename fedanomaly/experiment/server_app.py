"""The Flower ServerApp: a job over whatever grid Flower hands in."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedanomaly.experiment.folder import ResultsFolder, default_folder
from fedanomaly.experiment.job import Job, preflight
from fedanomaly.experiment.narrator import Narrator, ProgressLog
from fedanomaly.federation.config import RunConfig

PROGRESS = ".progress.jsonl"
DONE = "done"


def make_server_app() -> ServerApp:
    """Return the app that runs the federation a run configuration describes."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        config = RunConfig.from_mapping(context.run_config, "the run configuration")
        preflight(config)
        engine = "deployment" if type(grid).__name__ == "HttpGrid" else "ray"
        folder = ResultsFolder(Path(config.out) if config.out else default_folder(config), config, engine)
        tell = ProgressLog(folder.path / PROGRESS)
        try:
            Job(config, grid, folder, Narrator(tell)).run()
        finally:
            tell({"kind": DONE})

    return app
