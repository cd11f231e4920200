"""Tasks over processes: each process keeps to one group of tasks as long as there is work for all."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

Task = TypeVar("Task")
Work = Callable[[Task], Any]
"""Does one task; must not raise. Task and result are what JSON can say: no pickle crosses a border."""


class Died:
    """In place of a result: the process that worked on the task is gone (killed, or out of memory)."""


class Executor(Protocol):
    """Who does the tasks: processes on this machine, or a cluster."""

    forks: ClassVar[bool]
    """Whether tasks are done in this process or forks of it, and so find what it has loaded."""

    def each(self, groups: Sequence[Sequence[Task]], work: Work[Task]) -> Iterator[tuple[Task, Any | Died]]:
        """Do every task and yield it with its result, in the order in which they finish.

        Parameters
        ----------
        groups : sequence of sequences
            Tasks that are best done by one process, one after the other, for the caches it then has.
        work : callable
            Does one task; must not raise, and must be picklable where processes are not forked.

        Notes
        -----
        One thread a task, so that results do not depend on who does it.
        """


@dataclass(frozen=True)
class Processes:
    """Processes on this machine.

    Attributes
    ----------
    workers : int
        How many; with 1 the work is done in this one.

    Notes
    -----
    Workers are forked on Linux: compiled kernels and data that the caller has loaded are shared, not
    loaded again. A process that is ahead takes tasks from the longest group.
    """

    forks: ClassVar[bool] = True
    workers: int = 1

    def each(self, groups: Sequence[Sequence[Task]], work: Work[Task]) -> Iterator[tuple[Task, Any | Died]]:
        """See :class:`Executor`."""
        if self.workers <= 1:
            with threadpool_limits(limits=1):
                for group in groups:
                    for task in group:
                        yield task, work(task)
            return
        team = _Team(groups, work, self.workers)
        try:
            yield from team.results()
        finally:
            team.dismiss()


def available_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(eq=False)
class _Worker(Generic[Task]):
    process: BaseProcess
    line: Connection
    group: deque[Task] = field(default_factory=deque)
    task: Task | None = None


class _Team(Generic[Task]):
    def __init__(self, groups: Sequence[Sequence[Task]], work: Work[Task], workers: int) -> None:
        self.context: Any = get_context("fork" if sys.platform == "linux" else "spawn")
        self.waiting = deque(deque(group) for group in groups if group)
        self.work = work
        self.members: list[_Worker[Task]] = []
        for _ in range(min(workers, sum(map(len, self.waiting)))):
            self._hire(deque())

    def results(self) -> Iterator[tuple[Task, Any | Died]]:
        for worker in list(self.members):
            self._give(worker)
        while busy := {worker.line: worker for worker in self.members if worker.task is not None}:
            for line in wait(list(busy)):
                worker = busy[line]  # type: ignore[index]
                task = worker.task
                assert task is not None
                result: Any | Died
                try:
                    result = json.loads(worker.line.recv_bytes())
                except (EOFError, OSError):
                    result = Died()
                    self._dismiss(worker)
                    worker = self._hire(worker.group)
                self._give(worker)
                yield task, result

    def dismiss(self) -> None:
        for worker in list(self.members):
            self._dismiss(worker)

    def _hire(self, group: deque[Task]) -> _Worker[Task]:
        ours, theirs = self.context.Pipe()
        others = [worker.line for worker in self.members] + [ours]
        # a forked process holds copies of all these ends: closed there, or nobody would see the other end go
        inherited = others if self.context.get_start_method() == "fork" else []
        process = self.context.Process(target=_serve, args=(theirs, inherited, self.work), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker[Task](process, ours, group)
        self.members.append(worker)
        return worker

    def _dismiss(self, worker: _Worker[Task]) -> None:
        self.members.remove(worker)
        worker.line.close()
        worker.process.kill()
        worker.process.join()

    def _give(self, worker: _Worker[Task]) -> None:
        """Hand out the next task of the worker's group, of a new group, or of a busy colleague's."""
        worker.task = None
        if not worker.group and self.waiting:
            worker.group = self.waiting.popleft()
        if worker.group:
            worker.task = worker.group.popleft()
        elif longest := max((other.group for other in self.members), key=len, default=None):
            worker.task = longest.pop()
        if worker.task is not None:
            try:
                worker.line.send_bytes(json.dumps(worker.task).encode())
            except OSError:  # it died between two tasks: seen when its result is read
                return


def _serve(line: Connection, inherited: list[Connection], work: Work[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:
        other.close()
    parent = os.getppid()
    with threadpool_limits(limits=1):
        while True:
            while not line.poll(1.0):
                if os.getppid() != parent:  # killed, so that nobody closed the line
                    return
            try:
                line.send_bytes(json.dumps(work(json.loads(line.recv_bytes()))).encode())
            except (EOFError, ConnectionError):  # the parent is gone, or needs no more
                return
