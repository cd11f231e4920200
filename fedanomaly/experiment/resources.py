"""What a piece of work takes of the machine: processor time, wall-clock time, peak resident memory."""

from __future__ import annotations

import ctypes
import gc
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from fedanomaly.federation.client import forget_rows
from fedanomaly.federation.layout import LayoutKey, layout_of

_PROCESS = Path("/proc/self")


class Clock:
    """Processor seconds of this process and seconds on the wall, from when it was made."""

    def __init__(self) -> None:
        self._processor, self._wall = time.process_time(), time.perf_counter()

    def processor(self) -> float:
        """Return the processor seconds spent so far."""
        return time.process_time() - self._processor

    def wall(self) -> float:
        """Return the seconds gone by so far."""
        return time.perf_counter() - self._wall


@lru_cache(maxsize=1)
def memory_before(key: LayoutKey) -> float | None:
    """Forget the rows of all runs and return what this process then holds, in MB; None where nobody tells.

    Asked again for the layout it was asked for last, it returns what it returned then, and forgets
    nothing: whichever run of a group reads the table, all of them are charged for it.
    """
    layout_of.cache_clear()
    forget_rows()
    gc.collect()
    _give_back()
    return _status("VmRSS")


def restart_peak() -> None:
    """Let :func:`peak_memory` forget what was before (Linux; elsewhere it knows nothing anyway)."""
    _give_back()
    with suppress(OSError):
        (_PROCESS / "clear_refs").write_text("5")


def peak_memory() -> float | None:
    """Return the largest resident memory of this process since :func:`restart_peak`, in MB, or None."""
    return _status("VmHWM")


def _give_back() -> None:
    """Return freed memory to the system: else it would be charged to the wrong work, or to none."""
    with suppress(OSError, AttributeError):  # where the C library is not GNU's
        ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> float | None:
    try:
        lines = (_PROCESS / "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:")), None)
