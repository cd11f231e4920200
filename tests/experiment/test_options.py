import pytest

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.options import read_options, server_parser
from fedanomaly.federation.config import RunConfig, dashed


def test_every_field_is_an_option_and_has_help():
    known = {option for action in server_parser()._actions for option in action.option_strings}
    assert {dashed(name) for name in RunConfig.__dataclass_fields__} <= known
    assert all(action.help for action in server_parser()._actions)


def test_nothing_given_is_the_default():
    config, launch = read_options([])
    assert config == RunConfig()
    assert (launch.engine, launch.host, launch.port) == ("deployment", "127.0.0.1", 8080)


def test_the_command_line_wins_over_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        'detector = "lof"\nclients = 7\nfraud-ratios = [0.5, 0.5]\nport = 9000\nreferences = false\n'
    )
    config, launch = read_options(["--config", str(file), "--clients", "3", "--references"])
    assert (config.detector, config.clients, config.references) == ("lof", 3, True)
    assert config.ratios == (0.5, 0.5)
    assert launch.port == 9000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("clinets = 3", "unknown option 'clinets'"),
        ("clients = ", "is no TOML file"),
        ("[run]\nclients = 3", r"has a table \[run\]"),
        ('clients = "3"', "must be a whole number"),
        ("port = 99999", "from 1 to 65535"),
        ('engine = "cloud"', "--engine must be"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path, content, sentence):
    file = tmp_path / "run.toml"
    file.write_text(content)
    with pytest.raises(UserError, match=sentence):
        read_options(["--config", str(file)])


@pytest.mark.parametrize("arguments", [["--clients", "x"], ["--nonsense"], ["--train-on", "frauds"]])
def test_argparse_complains_in_one_line_with_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        read_options(arguments)
    assert left.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
