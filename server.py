"""The federation: the Flower ServerApp; as a script, starts the server, runs the rounds, writes results.

python server.py --detector isolation-forest --clients 5 --rounds 10
python server.py --engine local          # the whole job in one process

``python server.py --help`` lists all options.
"""

if __name__ == "__main__":  # before the slow imports below, so that Ctrl-C is quiet from the start
    from fedanomaly.experiment.program import leave_quietly

    leave_quietly()

from pathlib import Path

from flwr.clientapp import ClientApp

from fedanomaly.experiment.server_app import make_server_app


def client_app() -> ClientApp:
    """Return the app of ``client.py``: the local engine and the references run what the clients run."""
    from client import app

    return app


app = make_server_app(client_app)

if __name__ == "__main__":
    from fedanomaly.experiment.launch import serve

    raise SystemExit(serve(None, Path(__file__).resolve().parent, client_app))
