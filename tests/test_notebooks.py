"""Every notebook runs from top to bottom, and what is stored of it names no machine."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|work|home|Users|tmp|private|var|opt|mnt)/")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def texts(output):
    """Return what a person can read of an output (a picture's base64 may hold any letters)."""
    yield output.get("text", "")
    yield "\n".join(output.get("traceback", ()))
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            yield content


def test_there_are_notebooks():
    assert NOTEBOOKS


@every_notebook
def test_runs_from_top_to_bottom(path):
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder).execute()


@every_notebook
@pytest.mark.parametrize("start", [".", "notebooks"])
def test_finds_the_project_wherever_jupyter_starts(path, start):
    notebook = nbformat.read(path, as_version=4)
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    search, found, _ = first.partition("sys.path.insert(0, str(project))\n")
    assert found, "the first cell finds the project before it imports anything of it"
    look = "from importlib.util import find_spec\nprint(find_spec('anomaly').origin)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{search}{found}{look}"],  # nothing that is installed helps
        cwd=ROOT / start,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == str(ROOT / "anomaly.py"), done.stderr


@every_notebook
def test_stored_outputs_are_whole_and_name_no_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.get("id") for cell in notebook.cells)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), (
        "run it in order, then save"
    )
    assert outputs(notebook), "the outputs were not saved"
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    for output in outputs(notebook):
        for text in texts(output):
            assert not MACHINE_PATH.search(text), text
