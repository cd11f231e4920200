"""Starts N client.py processes and looks after them.

python run_clients.py --clients 5
"""

from pathlib import Path

if __name__ == "__main__":
    from fedanomaly.experiment.clients import clients_main

    raise SystemExit(clients_main(None, Path(__file__).resolve().parent))
