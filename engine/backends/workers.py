"""Workers: threads of this process, each with a process beside it for the steps that want one.

Not ``ThreadPoolExecutor``: a thread cannot be killed, so an attempt that ignores its cancellation
must be left behind, replaced, and not waited for when the interpreter exits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..attempt import Attempt, Report, carry_out

if TYPE_CHECKING:
    from .worker_process import WorkerProcess

Job = Callable[[], None]


class _Worker:
    def __init__(self, name: str) -> None:
        self.name = name
        self.abandoned = False
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process: WorkerProcess | None = None
        self._killable = False

    def submit(self, attempt: Attempt, report: Report, release: Job) -> None:
        self._killable = attempt.executor == "process"
        self.give(partial(self._carry_out, attempt, report, release))

    def give(self, job: Job | None) -> None:
        """None: end once idle."""
        self._jobs.put(job)
        if self._thread is None and job is not None:
            self._thread = threading.Thread(
                target=self._work, name=f"semantica-{self.name}", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        while not self.abandoned:
            job = self._jobs.get()
            if job is None:
                break
            job()
        if self._process is not None:
            self._process.close()

    def _carry_out(self, attempt: Attempt, report: Report, release: Job) -> None:
        if attempt.executor == "process":
            from .remote import carry_out_in  # brings subprocess and more, for who needs it

            carry_out_in(self._living_process, attempt, report)
        else:
            carry_out(attempt, report, release)

    def _living_process(self) -> WorkerProcess:
        """The process beside this worker: the one it had before, if that lives."""
        if self._process is not None and not self._process.alive:
            self._process.close()  # killed by somebody while it was idle: nothing is lost
            self._process = None
        if self._process is None:
            from .worker_process import WorkerProcess

            self._process = WorkerProcess()
            if self.abandoned:
                self._process.kill()
        return self._process

    def abandon(self) -> str:
        self.abandoned = True
        if not self._killable:
            return "abandoned"
        if self._process is not None:
            self._process.kill()
        return "killed"


class Workers:
    """``max_workers`` workers, started when first needed.

    See :class:`~semantica.pipeline.engine.backends.backend.Backend`.
    """

    def __init__(self, max_workers: int) -> None:
        self._workers: dict[str, _Worker] = {}
        self._free: list[str] = []  # the last one released is the first one used: few threads
        self._count = 0
        for _ in range(max_workers):
            self._add()
        self._free.reverse()

    def acquire(self) -> str | None:
        return self._free.pop() if self._free else None

    def submit(self, worker: str, attempt: Attempt, report: Report, release: Job) -> None:
        self._workers[worker].submit(attempt, report, release)

    def release(self, worker: str) -> None:
        if worker in self._workers:
            self._free.append(worker)

    def abandon(self, worker: str) -> str:
        how = self._workers.pop(worker).abandon()
        self._add()
        return how

    def close(self) -> None:
        for worker in self._workers.values():
            worker.give(None)
        self._workers.clear()
        self._free.clear()

    def _add(self) -> None:
        self._count += 1
        name = f"worker-{self._count}"
        self._workers[name] = _Worker(name)
        self._free.append(name)
