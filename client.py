"""One organization: the Flower ClientApp; as a script, one client process.

python client.py --client-id 3
"""

if __name__ == "__main__":  # before the imports below: the process that stays resident needs none of them
    from pathlib import Path

    from fedanomaly.experiment.clients import client_main

    raise SystemExit(client_main(None, Path(__file__).resolve().parent))

import anomaly
from fedanomaly.federation.client_app import make_client_app

app = make_client_app(anomaly)
