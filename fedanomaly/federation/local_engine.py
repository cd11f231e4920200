"""Which post carries a run on one machine: function calls, forked workers, or messages to a foreign app."""

from __future__ import annotations

from flwr.clientapp import ClientApp

from fedanomaly.core.errors import UserError
from fedanomaly.federation.client_app import VerbsApp, make_client_app
from fedanomaly.federation.config import RunConfig
from fedanomaly.federation.local_grid import LocalGrid
from fedanomaly.federation.local_post import LocalPost
from fedanomaly.federation.post import FlowerPost, Post


def local_engine(
    config: RunConfig,
    client_app: ClientApp | None = None,
    *,
    workers: int = 1,
    exact_bytes: bool | None = None,
) -> Post:
    """Return the post of the local engine; use it as a context manager.

    Parameters
    ----------
    config : RunConfig
        The run.
    client_app : ClientApp, optional
        What the clients run. One that :func:`~fedanomaly.federation.client_app.make_client_app` did
        not make gets Flower messages, in this process.
    workers : int
        Processes that do the clients' work; 1: this one. No result depends on it.
    exact_bytes : bool, optional
        See :class:`~fedanomaly.federation.local_post.LocalPost`.

    Raises
    ------
    UserError
        If workers are impossible here.
    """
    app = client_app or make_client_app()
    if workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}")
    if not isinstance(app, VerbsApp):
        if workers > 1:
            raise UserError("--workers above 1 needs a ClientApp made by make_client_app")
        return FlowerPost(LocalGrid(app, config.clients, config.to_run_config()), config.timeout)
    if workers == 1:
        return LocalPost(config, app.work, exact_bytes)
    from fedanomaly.federation.workers import ForkedPost

    return ForkedPost(config, app.work, exact_bytes, workers)
