"""Tasks on Ray: this machine, or every machine of a cluster."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from fedanomaly.core.errors import UserError
from fedanomaly.experiment.provenance import provenance
from fedanomaly.experiment.workers import Died, Task, Work, available_processors


@dataclass(frozen=True)
class RayTasks:
    """A Ray cluster: each group of tasks is a Ray task on one processor, which yields result by result.

    Attributes
    ----------
    address : str
        Where the cluster is: ``auto``, ``HOST:PORT``; empty: a cluster of this machine alone, which
        ends with the work.

    Notes
    -----
    Workers must run the same code on the same packages: anything else is refused, since its figures
    could differ. Data sets are read by every worker from where it runs.
    """

    forks: ClassVar[bool] = False
    address: str = ""

    def each(self, groups: Sequence[Sequence[Task]], work: Work[Task]) -> Iterator[tuple[Task, Any | Died]]:
        """See :class:`~fedanomaly.experiment.workers.Executor`."""
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            _connect(ray, self.address)
        remote = ray.remote(_each_of_group).options(num_cpus=1, num_returns="streaming", max_retries=0)
        here = _running()

        def start(group: Sequence[Task]) -> Any:
            return remote.remote(work, list(group), here)

        streams = {start(group): deque(group) for group in groups if group}
        try:
            while streams:
                for stream in ray.wait(list(streams), num_returns=1)[0]:
                    group = streams[stream]
                    try:
                        result = ray.get(next(stream))
                    except StopIteration:
                        del streams[stream]
                        continue
                    except ray.exceptions.RayTaskError as error:
                        raise UserError(f"a Ray worker cannot do the work: {_last_line(error)}") from None
                    except (
                        ray.exceptions.RayError
                    ):  # the worker or its machine is gone: the rest goes elsewhere
                        result = Died()
                        del streams[stream]
                        if len(group) > 1:
                            streams[start(list(group)[1:])] = group
                    yield group.popleft(), result
        finally:
            for stream in streams:
                ray.cancel(stream, force=True)
            if started:
                ray.shutdown()


def _each_of_group(work: Work[Any], group: Sequence[Any], wanted: tuple[str, str]) -> Generator[Any]:
    """Run on a Ray worker: do the tasks one after the other."""
    if _running() != wanted:
        raise UserError(
            "it runs other code or other packages than this process, so its figures could differ; install "
            "the same on every machine"
        )
    with threadpool_limits(limits=1):
        for task in group:
            yield work(task)


@cache
def _running() -> tuple[str, str]:
    """Return the digests of code and packages."""
    found = provenance()
    return found.code, found.environment


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent that nobody asked for
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray; install it with: pip install 'fedanomaly[ray]'") from None
    return ray


def _connect(ray: Any, address: str) -> None:
    own = {} if address else {"include_dashboard": False, "num_cpus": available_processors()}
    try:
        ray.init(address=address or None, log_to_driver=False, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"there is no Ray cluster at {address or 'this machine'}: {_last_line(error)}"
        ) from None


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
