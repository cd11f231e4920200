"""What a figure came from besides its configuration and its data: four columns of every table of results."""

from __future__ import annotations

import hashlib
import inspect
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import fedanomaly
from fedanomaly.data import registered as data_sets
from fedanomaly.detectors import registered as detectors
from fedanomaly.experiment import cell
from fedanomaly.experiment.environment import environment
from fedanomaly.partition import registered as partitions

_DECIDE = ("core", "data", "detectors", "evaluation", "federation", "partition", "prepare", "privacy")


@dataclass(frozen=True)
class Provenance:
    """What ran, and on what.

    Attributes
    ----------
    version : str
        Of this package.
    git_revision : str
        Of the working directory; empty where there is none.
    environment : str
        Digest of Python, platform and packages.
    code : str
        Digest of all source files that decide figures, other people's registered components included.
    details : str
        The environment itself, as JSON.
    """

    version: str
    git_revision: str
    environment: str
    code: str
    details: str = field(default="", compare=False)

    def columns(self) -> dict[str, str]:
        """Return the four columns."""
        return {name: value for name, value in asdict(self).items() if name != "details"}


def provenance() -> Provenance:
    """Return what is running here."""
    found = environment()
    revision = str(found.pop("git_revision"))
    details = json.dumps(found, sort_keys=True)
    surroundings = hashlib.sha256(details.encode()).hexdigest()[:16]
    return Provenance(fedanomaly.__version__, revision, surroundings, _code_digest(), details)


def _code_digest() -> str:
    root = Path(fedanomaly.__file__).parent
    files = {path for room in _DECIDE for kind in ("py", "json") for path in (root / room).rglob(f"*.{kind}")}
    files -= set((root / "evaluation" / "plots").iterdir())
    files.add(Path(cell.__file__))
    for component in [*data_sets().values(), *detectors().values(), *partitions().values()]:
        with suppress(TypeError, OSError):  # made at a prompt
            files.add(Path(inspect.getfile(component)))
    return _digest(tuple(sorted(files)))


@cache
def _digest(files: tuple[Path, ...]) -> str:
    """Return a digest of source files, read once: a process runs the code it began with."""
    sha = hashlib.sha256()
    for path in files:
        sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:16]
