"""Functions in parallel, in threads or processes, without a pipeline and without a log."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable

from ..events.arguments import flag, whole
from ..events.errors import PipelineError
from . import process
from .backends.scheduler import Scheduler
from .backends.workers import default_workers
from .configuration import MAX_WORKERS, PipelineConfig, given_config
from .logger import logger
from .tasks import ParallelExecutionResult, Task, TaskCancelled, checked_tasks, checked_timeout

__all__ = ["ParallelExecutionResult", "ParallelismManager", "Task", "TaskCancelled"]

Listener = Callable[[int], object]


class ParallelismManager:
    """Executes tasks on workers that its calls share, from as many threads as call it.

    A worker is a thread, with a process beside it once a task needs one; workers are started when
    first needed and used again. An idle worker takes, of all tasks that wait, the one with the
    highest priority, and among equals the one that was given first. Each task fails alone, whatever
    it raises and whatever becomes of its process. A task may itself call the manager that executes
    it: its worker carries out tasks of that call meanwhile, so that even one worker is enough. (Not
    so for a call from a thread that the task has started itself: that needs a worker more. And a
    task that is given up in a thread lent in this way has to return nevertheless before the one
    that waits for it can go on.)

    Args:
        max_workers: Tasks that run at once, at most 10,000.
        use_processes: Whether :meth:`execute_parallel` uses processes (for what computes), or
            threads (for what waits).
        config: Where what is None comes from; None: the environment, and the file that it names.
            Who says nothing anywhere gets as many workers as an engine does, and threads.

    Raises:
        TypeError, ValueError: ``max_workers`` is not a whole number from 1 to 10,000,
            ``use_processes`` neither True nor False, or ``config`` no configuration.
        ConfigurationError: The configuration is at fault.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        use_processes: bool | None = None,
        *,
        config: PipelineConfig | None = None,
    ) -> None:
        config = given_config(config)
        if max_workers is None:
            max_workers = config.max_workers or default_workers()
        count = whole("max_workers", max_workers, 1, MAX_WORKERS)
        if use_processes is None:
            use_processes = config.use_processes
        self.use_processes = flag("use_processes", use_processes)
        self._scheduler = Scheduler(count)
        self._listeners: list[Listener] = []
        self._news: deque[int] = deque()
        """Maxima that the listeners have not been told."""
        self._telling = False
        self._lock = threading.Lock()
        """Never held while a listener is called, which may do anything."""
        self._pid = os.getpid()
        # A manager that is forgotten ends its workers. At exit they end by themselves.
        weakref.finalize(self, self._scheduler.workers.close).atexit = False

    # -- executing ---------------------------------------------------------------------------

    def execute_parallel(
        self, tasks: Iterable[Task], *, timeout: float | None = None
    ) -> list[ParallelExecutionResult]:
        """Execute tasks and wait for all of them.

        Args:
            tasks: Their ids must differ.
            timeout: Seconds after which those that have not ended are cancelled: what waits never
                starts, a process is killed with what it has started, and a thread, which cannot
                be killed, is abandoned and replaced.

        Returns:
            The results, in the order of the tasks.

        Raises:
            TypeError, ValueError: Something that is no task, or an id that is there twice.
            EngineClosed: The manager is closed.
            TaskCancelled: The task that makes this call was given up meanwhile.
            PipelineError: The manager was made before a fork; or the main script calls this while
                a worker process imports it.
        """
        return self._execute(tasks, self.use_processes, timeout)

    def execute_with_threads(
        self, tasks: Iterable[Task], *, timeout: float | None = None
    ) -> list[ParallelExecutionResult]:
        """:meth:`execute_parallel` in threads, whatever ``use_processes`` says."""
        return self._execute(tasks, False, timeout)

    def execute_with_processes(
        self, tasks: Iterable[Task], *, timeout: float | None = None
    ) -> list[ParallelExecutionResult]:
        """:meth:`execute_parallel` in processes, whatever ``use_processes`` says."""
        return self._execute(tasks, True, timeout)

    def _execute(
        self, tasks: Iterable[Task], in_process: bool, timeout: float | None
    ) -> list[ParallelExecutionResult]:
        self._check_process()
        if process.importing_main:
            raise PipelineError(
                "this script executes tasks when a worker process imports it; put what executes "
                "them under: if __name__ == '__main__':"
            )
        given = checked_tasks(tasks)
        timeout = checked_timeout("this call", timeout)
        return self._scheduler.execute(given, in_process=in_process, timeout=timeout)

    def cancel(self, task_id: str) -> bool:
        """Cancel the tasks of that id, in every call under way.

        One that waits never starts; the process of one that runs is killed, with what it has
        started; a thread is abandoned and replaced. Its call returns as soon as its other tasks
        have ended.

        Returns:
            Whether there was one that had not ended.
        """
        self._check_process()
        return self._scheduler.cancel(task_id)

    # -- workers -----------------------------------------------------------------------------

    @property
    def max_workers(self) -> int:
        """Tasks that may run at once."""
        return self._scheduler.workers.max_workers

    def get_worker_count(self) -> int:
        """How many workers there are: ``max_workers``, and, after that was lowered, those that
        are still busy with their last task. None once the manager is closed."""
        return len(self._scheduler.workers)

    def set_max_workers(self, count: int) -> None:
        """Change how many tasks may run at once, at any time.

        More workers take waiting tasks at once; fewer: idle ones end now, busy ones after the task
        they have. Raises TypeError or ValueError for what is not a whole number from 1 to 10,000.
        """
        self._check_process()
        count = whole("max_workers", count, 1, MAX_WORKERS)
        with self._lock:
            self._scheduler.resize(count)
            self._news.append(count)
            if self._telling:
                return  # who tells the news before will tell this
            self._telling = True
        self._tell()

    def _tell(self) -> None:
        try:
            while (news := self._next_news()) is not None:
                count, listeners = news
                for listener in listeners:
                    _call(listener, count)
        except BaseException:  # Ctrl-C: the next one tells the rest
            with self._lock:
                self._telling = False
            raise

    def _next_news(self) -> tuple[int, list[Listener]] | None:
        with self._lock:
            if self._news:
                return self._news.popleft(), [*self._listeners]
            self._telling = False
            return None

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have ``listener`` called with every new maximum: one after the other, the newest last, in
        a thread that sets one. What it raises is logged.

        Returns:
            What ends the subscription.
        """
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    # -- the end -----------------------------------------------------------------------------

    def close(self, *, wait: bool = True) -> None:
        """End the workers. Closing twice does nothing.

        Args:
            wait: Wait for the calls under way in other threads. False: cancel them.

        Raises:
            RuntimeError: A task of this manager would wait for itself.
        """
        if os.getpid() == self._pid:
            self._scheduler.close(wait=wait)

    def __enter__(self) -> ParallelismManager:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error, or Ctrl-C, nobody wants to wait for the rest.
        self.close(wait=kind is None)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise PipelineError(
                "this parallelism manager was made before a fork; make one in the child process"
            )


def _call(listener: Listener, count: int) -> None:
    try:
        listener(count)
    except Exception:  # the others are told nevertheless
        logger().exception("a listener of a parallelism manager raised", max_workers=count)
