"""Workers: threads of this process, each with a process beside it for the jobs that want one.

Not ``ThreadPoolExecutor``: a thread cannot be killed, so a job that ignores its cancellation must
be left behind, replaced, and not waited for when the interpreter exits.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..attempt import Attempt, Report, carry_out

if TYPE_CHECKING:
    from .worker_process import WorkerProcess

GetProcess = Callable[..., "WorkerProcess"]
"""Gives the living process beside a worker, in the worker's own thread, which sees only the GPUs of
these indices, if any are given. Raises WorkerLost."""

Job = Callable[[GetProcess], None]
"""What a worker does, in its thread; must not raise."""


def default_workers() -> int:
    """The number of CPUs, at most 32, and 4 at least, since what workers do often waits."""
    return min(32, max(4, os.cpu_count() or 1))


_here = threading.local()


class _Worker:
    def __init__(self, name: str, token: object, between: Callable[[], None]) -> None:
        self.name = name
        self._token, self._between = token, between
        self.abandoned = False
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process: WorkerProcess | None = None
        self._killable = False

    def give(self, job: Job, killable: bool) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=f"semantica-{self.name}", daemon=True)
            thread.start()
            self._thread = thread
        self._killable = killable
        self._jobs.put(job)

    def end(self) -> None:
        """Once idle. May be called while garbage is collected: nothing here takes a lock."""
        self._jobs.put(None)

    def _work(self) -> None:
        _here.token = self._token
        while not self.abandoned and self._take_job():
            pass
        if self._process is not None:
            self._process.close()

    def _take_job(self) -> bool:
        """Do the next job; False: there will be no more. It is not held on to when it is done."""
        job = self._jobs.get()
        if job is None:
            return False
        job(self._living_process)
        del job
        self._between()
        return True

    def _living_process(self, gpus: tuple[int, ...] = ()) -> WorkerProcess:
        """The process beside this worker: the one it had before, if that lives and sees these."""
        before = self._process
        if before is not None and not (before.alive and before.gpus == gpus):
            before.close()  # it is idle: nothing is lost
            self._process = None
        if self._process is None:
            from .worker_process import WorkerProcess

            self._process = WorkerProcess(gpus)
            if self.abandoned:
                self._process.kill()
        return self._process

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def abandon(self) -> str:
        self.abandoned = True
        self.kill()
        return "killed" if self._killable else "abandoned"


class Workers:
    """Up to ``max_workers`` workers, started when first needed.

    The engine's side is :class:`~semantica.pipeline.engine.backends.backend.Backend`. Every
    method is for one thread at a time.
    """

    def __init__(self, max_workers: int, between: Callable[[], None] = lambda: None) -> None:
        self._between = between
        self._workers: dict[str, _Worker] = {}
        self._free: deque[str] = deque()  # the last one released is the first one used: few threads
        self._count = 0
        self._token = object()
        """Tells these workers from those of others."""
        self.resize(max_workers)

    @property
    def here(self) -> bool:
        """Whether the caller runs in one of these workers."""
        return getattr(_here, "token", None) is self._token

    def __len__(self) -> int:
        """How many there are: the maximum, and those that are to go when their job is over."""
        return len(self._workers)

    def resize(self, max_workers: int) -> None:
        """Change the maximum: new workers can be acquired at once; of those that are too many, idle
        ones end now, and busy ones when they are released or abandoned."""
        self.max_workers = max_workers
        while len(self._workers) < max_workers:
            self._add()
        while self._free and len(self._workers) > max_workers:
            self._workers.pop(self._free.popleft()).end()

    def acquire(self) -> str | None:
        return self._free.pop() if self._free else None

    def submit(
        self, worker: str, attempt: Attempt, report: Report, release: Callable[[], None]
    ) -> None:
        job = partial(_carry_out, attempt, report, release)
        self.give(worker, job, killable=attempt.executor == "process")

    def give(self, worker: str, job: Job, *, killable: bool = False) -> None:
        """Have an acquired worker do ``job``.

        Args:
            killable: Killing the process beside the worker ends the job.

        Raises:
            RuntimeError: The system starts no more threads.
        """
        self._workers[worker].give(job, killable)

    def keeps(self, worker: str) -> bool:
        """Whether a busy worker may take more work, rather than be released."""
        return worker in self._workers and len(self._workers) <= self.max_workers

    def release(self, worker: str) -> None:
        if self.keeps(worker):
            self._free.append(worker)
        elif worker in self._workers:
            self._workers.pop(worker).end()

    def kill(self, worker: str) -> None:
        """Kill the process beside a worker, which goes on without, unless it was abandoned."""
        if worker in self._workers:
            self._workers[worker].kill()

    def abandon(self, worker: str) -> str:
        how = self._workers.pop(worker).abandon()
        if len(self._workers) < self.max_workers:
            self._add()
        return how

    def close(self) -> None:
        """See the protocol. May also be called while garbage is collected."""
        for worker in list(self._workers.values()):
            worker.end()
        self._workers.clear()
        self._free.clear()

    def _add(self) -> None:
        self._count += 1
        name = f"worker-{self._count}"
        self._workers[name] = _Worker(name, self._token, self._between)
        self._free.appendleft(name)


def _carry_out(
    attempt: Attempt, report: Report, release: Callable[[], None], process: GetProcess
) -> None:
    if attempt.executor == "process":
        from .remote import carry_out_in  # brings subprocess and more, for who needs it

        carry_out_in(process, attempt, report)
    else:
        carry_out(attempt, report, release)
