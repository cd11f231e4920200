"""Where data lies on a machine: the cache folder, and a lock so that one process at a time fills it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cache_folder(cache_dir: Path | None = None) -> Path:
    """Return the cache folder: the one given, ``$FEDANOMALY_CACHE``, or the user's cache.

    The user's cache is ``$XDG_CACHE_HOME/fedanomaly`` (default ``~/.cache``), ``~/Library/Caches``
    on macOS and ``%LOCALAPPDATA%`` on Windows. The folder is not created here.
    """
    if cache_dir is not None:
        return cache_dir
    if named := os.environ.get("FEDANOMALY_CACHE"):
        return Path(named)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "fedanomaly"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fedanomaly"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "fedanomaly"
    return Path.home() / ".cache" / "fedanomaly"


def data_folder() -> Path | None:
    """Return the folder of data files named by ``$FEDANOMALY_DATA``, if any."""
    named = os.environ.get("FEDANOMALY_DATA")
    return Path(named) if named else None


def file_identity(path: Path) -> str:
    """Return text that changes when the file does: place, size and time of change (not content)."""
    stat = path.stat()
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return f"{place}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"


@contextmanager
def one_process_at_a_time(lock: Path) -> Iterator[None]:
    """Hold an advisory lock that the system releases even if the process dies.

    Where the platform or the file system has no such lock, the block simply runs: whatever is
    done inside stays correct when done twice, it is only slower.
    """
    try:
        import fcntl

        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("wb")
    except (ImportError, OSError):
        yield
        return
    with file:
        with suppress(OSError):  # no locks on this file system
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
