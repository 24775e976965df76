"""Attempts in threads of this process.

Not ``ThreadPoolExecutor``: a thread cannot be killed, so an attempt that ignores its cancellation
must be left behind, replaced, and not waited for when the interpreter exits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

Job = Callable[[], None]


class _Worker:
    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: SimpleQueue[Job | None] = SimpleQueue()
        self.abandoned = False
        self.thread: threading.Thread | None = None

    def give(self, job: Job | None) -> None:
        self.jobs.put(job)
        if self.thread is None and job is not None:
            self.thread = threading.Thread(
                target=self._work, name=f"semantica-{self.name}", daemon=True
            )
            self.thread.start()

    def _work(self) -> None:
        while not self.abandoned:
            job = self.jobs.get()
            if job is None:
                return
            job()


class ThreadBackend:
    """``max_workers`` daemon threads, started when first needed.

    See :class:`~semantica.pipeline.engine.backends.backend.Backend`.
    """

    name = "thread"

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers
        self._workers: dict[str, _Worker] = {}
        self._free: list[str] = []  # the last one released is the first one used: few threads
        self._count = 0
        for _ in range(max_workers):
            self._add()
        self._free.reverse()

    def acquire(self) -> str | None:
        return self._free.pop() if self._free else None

    def submit(self, worker: str, job: Job) -> None:
        self._workers[worker].give(job)

    def release(self, worker: str) -> None:
        if worker in self._workers:
            self._free.append(worker)

    def abandon(self, worker: str) -> None:
        self._workers.pop(worker).abandoned = True
        self._add()

    def close(self) -> None:
        for worker in self._workers.values():
            worker.give(None)
        self._workers.clear()
        self._free.clear()

    def _add(self) -> None:
        self._count += 1
        name = f"{self.name}-{self._count}"
        self._workers[name] = _Worker(name)
        self._free.append(name)
