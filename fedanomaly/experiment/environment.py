"""What a run ran on: enough to repeat it elsewhere, nothing that names a person or a machine."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = [
    "fedanomaly",
    "flwr",
    "scikit-learn",
    "imbalanced-learn",
    "numpy",
    "scipy",
    "pandas",
    "numba",
    "pyarrow",
    "matplotlib",
    "ray",
    "torch",
]


def environment(project: Path | None = None) -> dict[str, object]:
    """Return versions, platform and git revision (of ``project``, default the working directory)."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git_revision": _git_revision(project or Path.cwd()),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _git_revision(folder: Path) -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "HEAD")
        changed = revision and git("status", "--porcelain", "--untracked-files=no")
    except OSError:  # no git here
        return ""
    return f"{revision} with uncommitted changes" if changed else revision
