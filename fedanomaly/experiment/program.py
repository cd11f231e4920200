"""What every script does alike; light, because client processes stay resident."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console

from fedanomaly.core.errors import FedAnomalyError, UserError


def leave_quietly() -> None:
    """Let Ctrl-C end the process at once, without a traceback, until :func:`guarded` takes over."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))


def guarded(work: Callable[[], int], debug: bool) -> int:
    """Run a program's work; turn every expected mistake into one sentence and an exit code."""
    console = Console(stderr=True)

    def stopped(number: int, _: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return work()
    except KeyboardInterrupt:
        console.print("stopped", highlight=False)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UserError as error:
        if debug:
            console.print_exception()
        console.print(f"{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 2
    except FedAnomalyError as error:
        if debug:
            console.print_exception()
        console.print(f"{error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


def state_folder(app_dir: Path, port: int) -> Path:
    """Return where logs and Flower's own files go (``FEDANOMALY_STATE`` overrides)."""
    root = Path(os.environ.get("FEDANOMALY_STATE", app_dir / ".fedanomaly"))
    return (root / f"port-{port}").resolve()
