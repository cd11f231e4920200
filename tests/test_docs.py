"""The pages tell the truth: tables as generated, links that lead somewhere, commands that parse, examples."""

import contextlib
import importlib.util
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedanomaly.__main__ import main as other_commands
from fedanomaly.data import DATASETS
from fedanomaly.evaluation import THRESHOLDS
from fedanomaly.experiment.clients import client_main, clients_main
from fedanomaly.experiment.launch import serve
from fedanomaly.experiment.options import read_options
from fedanomaly.federation.plan import make_plan
from fedanomaly.partition import PARTITIONERS
from fedanomaly.prepare import BALANCERS

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, *sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("[a-z]*/README.md"))]
COMMANDS = (
    *("partition", "runs", "compare", "score", "explain", "report", "study", "benchmark", "thesis"),
    *("attack-study", "privacy-study", "credentials"),
)
FOREIGN = {  # options of other programs that the pages mention
    *("--insecure", "--superlink", "--node-config", "--run-config", "--stream"),
    *("--strict", "--hardness", "--memory", "--help", "--repeats", "--csv", "--inplace"),
}

FENCE = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^```python file=(\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]*))?\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
COMMAND = re.compile(
    r"^(?:[A-Z_]+=\S+ )*(python (?:server|run_clients|client|-m fedanomaly)[^#\n`]*)", re.MULTILINE
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_what_the_registries_say(generate):
    named = set()
    for page in DOCS:
        text = page.read_text(encoding="utf-8")
        assert generate.rewritten(text) == text, f"{page.name} is out of date: python docs/generate.py"
        named |= {match[1] for match in generate.BLOCK.finditer(text)}
    assert named == set(generate.TABLES), "every table has a place"


def test_a_table_follows_its_registry(generate):
    page = "before\n<!-- generated: partitions -->\nout of date\n<!-- end -->\nafter"
    fresh = generate.rewritten(page)
    assert "out of date" not in fresh and fresh.startswith("before\n") and fresh.endswith("\nafter")
    assert "| `iid` | rows spread at random" in fresh


def anchors(page):
    """Return the anchors of a page's headings, as GitHub names them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        assert not anchor or path.suffix != ".md" or anchor in anchors(path), (
            f"{page.name}: {target}#{anchor}"
        )


def help_of(program, *arguments):
    """Return a program's help, run here: it leaves before it does anything."""
    said = io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as left:
            program(*arguments)
    finally:
        signal.signal(signal.SIGTERM, handler)  # the scripts set one of their own
    assert left.value.code == 0
    return said.getvalue()


@pytest.fixture(scope="module")
def options():
    """Every program's options."""
    helps = {
        "python server.py": help_of(serve, ["--help"], ROOT),
        "python run_clients.py": help_of(clients_main, ["--help"], ROOT),
        "python client.py": help_of(client_main, ["--help"], ROOT),
    }
    for command in COMMANDS:
        helps[f"python -m fedanomaly {command}"] = help_of(other_commands, [command, "--help"])
    return {program: set(OPTION.findall(text)) for program, text in helps.items()}


@every_page
def test_options_that_are_mentioned_exist(page, options):
    known = FOREIGN.union(*options.values())
    text = re.sub(r"pip install.*|flower-superlink.*|\.\.\.", "", page.read_text(encoding="utf-8"))
    mentioned = {option.rstrip("-") for option in OPTION.findall(text)} - {"--no"}
    assert mentioned <= known, f"{page.name}: {sorted(mentioned - known)}"


def commands():
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8")).replace("`python", "\npython")
        for match in COMMAND.finditer(text):
            command = match[1].replace("...", "").strip()
            yield pytest.param(command, id=f"{page.name}: {command}")


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command, options):
    words = shlex.split(command)
    programs = [program for program in options if words[: program.count(" ") + 1] == program.split()]
    if words[:3] == ["python", "-m", "fedanomaly"] and not programs:
        assert words[3:] in ([], ["--help"]) or words[3:4] == ["COMMAND"], command
        return
    (program,) = programs
    given = words[program.count(" ") + 1 :]
    assert {word for word in given if word.startswith("--")} <= options[program] | {"--help"}
    if program == "python server.py" and "--help" not in given:
        if "--config" in given:
            at = given.index("--config")
            del given[at : at + 2]
        config, _ = read_options(given)
        make_plan(config)
        for registry, name in (
            (DATASETS, config.data.split(":")[0]),
            (PARTITIONERS, config.partition),
            (THRESHOLDS, config.threshold),
            (BALANCERS, config.balance),
        ):
            registry.get(name)


def run(arguments, folder):
    """Run Python in a process of its own: examples register components that other tests must not see."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("half", [0, 1])
def test_examples_of_the_pages_run(half, tmp_path):
    done = run([ROOT / "tests" / "page_examples.py", *DOCS[half::2]], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_example_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```pycon\n>>> x + 1\n3\n```\n")
    done = run([ROOT / "tests" / "page_examples.py", page], tmp_path)
    assert done.returncode == 1 and "Expected" in done.stdout


def test_components_of_the_contributing_page_keep_their_contracts(tmp_path):
    files = dict(FILE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    for name, code in files.items():
        (tmp_path / name).write_text(code)
    script = "\n".join(f"import {Path(name).stem}" for name in sorted(files))
    for check in (
        "check_detector(mean_z.MeanZ)",
        "check_partitioner(round_robin.",
        "check_dataset(ring.Ring)",
    ):
        assert any(check in code for code in files.values()), f"the page no longer shows {check}"
    done = run(["-c", script], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nystrom-hinge by plain-mean" in done.stdout


def test_every_benchmark_is_described():
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if not path.stem.startswith("_")}
    assert {name for name in scripts if name not in page} == set()


def test_every_committed_result_has_the_command_that_makes_it():
    lines = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|") and "`python -m " in line]
    for folder in sorted(path for path in (ROOT / "results" / "reference").iterdir() if path.is_dir()):
        assert any(re.search(rf"results/reference/{folder.name}\b", row) for row in rows), folder.name
    for study in sorted((ROOT / "studies").glob("*.toml")):
        assert any(f"study studies/{study.name} " in row for row in rows), study.name
