"""The same apps on Flower's own simulation engine, where Ray is installed."""

from importlib.util import find_spec

import pytest
from deployment_kit import Federation

QUICK = ("--rounds", 2, "--clients", 3, "--partition", "dirichlet", "--seed", 7, "--timeout", 300)


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (optional extra)")
def test_ray_gives_what_the_local_engine_gives(tmp_path):
    with Federation(tmp_path) as federation:
        server = federation.server("--engine", "ray", *QUICK)
        assert federation.ended(server, 400) == 0, federation.logs()
        assert federation.summary["engine"] == "ray"
        assert federation.events == []
        federation.assert_equals_local_engine(rounds=2, clients=3, partition="dirichlet", seed=7)
        federation.assert_all_gone()


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_one_sentence_says_how_to_get_it(tmp_path):
    with Federation(tmp_path) as federation:
        server = federation.server("--engine", "ray")
        assert federation.ended(server) == 2
        assert "pip install" in server.log.read_text()
