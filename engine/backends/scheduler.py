"""Tasks on workers: which one starts next, and what becomes of those that are given up.

Idle workers are woken when tasks arrive; each of them takes the task that comes first just then,
as long as there is one. A task that makes a call of its own waits for it in its worker, which is
lent to that call meanwhile: it carries out those of its tasks that nobody else has taken, so there
is always somebody to do so, however deep the calls are nested. It takes no others, under which
what waits could be buried. (After Wagner and Calder, Leapfrogging: A Portable Technique for
Implementing Efficient Futures, 1993.)

Everything is decided under one lock, which is never held while a handler runs, or anything else
that may wait.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from itertools import count

from ...events.errors import EngineClosed
from ..tasks import ParallelExecutionResult, Task, TaskCancelled, call
from .alarm import after
from .task_calls import Call, Calls, Entry
from .workers import GetProcess, Workers


class _Here(threading.local):
    """What this thread is doing, if it is a worker's."""

    entry: Entry | None = None
    process: GetProcess


class Scheduler:
    """Carries out calls, each of several tasks, on shared workers. For any thread.

    Args:
        max_workers: Tasks that run at once.
    """

    def __init__(self, max_workers: int) -> None:
        self.workers = Workers(max_workers)
        self._calls = Calls()
        self._serials = count()
        self._lock = threading.Lock()
        self._here = _Here()
        self._closed = False

    # -- the callers' side -------------------------------------------------------------------

    def execute(
        self, tasks: list[Task], *, in_process: bool, timeout: float | None
    ) -> list[ParallelExecutionResult]:
        """Carry out the tasks and wait for all results, which are in the tasks' order.

        Raises:
            EngineClosed: After :meth:`close`.
            TaskCancelled: Called from a task that was given up meanwhile.
            RuntimeError: The system starts no more threads.
        """
        lender = self._here.entry
        wanted = Call(next(self._serials), tasks, in_process)
        call_off = None
        try:
            self._begin(wanted, lender)
            if timeout is not None:
                reason = f"had not ended after the {timeout:g} s of its call: it was cancelled"
                over = partial(self._cancel_call, wanted, reason, TimeoutError)
                call_off = after(timeout, over)
            if lender is not None:
                self._lend(wanted, lender)
            wanted.done.wait()
        except BaseException:  # Ctrl-C, most likely: nobody is left to take the results
            self._cancel_call(wanted, "was cancelled with its call")
            raise
        finally:
            if call_off is not None:
                call_off()
            with self._lock:
                self._calls.remove(wanted)
                if lender is not None and wanted in lender.nested:
                    lender.nested.remove(wanted)
        return [result for result in wanted.results if result is not None]

    def _begin(self, wanted: Call, lender: Entry | None) -> None:
        with self._lock:
            if lender is not None:
                if lender.ended:
                    raise TaskCancelled(
                        f"task {lender.task.task_id!r} was given up: it can begin nothing more"
                    )
                lender.nested.append(wanted)
            else:
                self._check_open()
            self._calls.add(wanted)
            self._wake(len(wanted.entries))

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosed("this parallelism manager is closed; make another one")

    def _wake(self, wanted: int) -> None:
        """Have up to so many idle workers look for tasks."""
        for _ in range(min(wanted, len(self.workers))):
            worker = self.workers.acquire()
            if worker is None:
                return
            try:
                self.workers.give(worker, partial(self._work, worker))
            except RuntimeError:
                self.workers.release(worker)
                raise

    def cancel(self, task_id: str) -> bool:
        """Give up the tasks of that id in all calls. Whether there was one."""
        with self._lock:
            found = [one.entries[task_id] for one in self._calls if task_id in one.entries]
            waited_for = [entry for entry in found if not entry.ended]
            for entry in waited_for:
                self._give_up(entry, "was cancelled", TaskCancelled)
            self._wake(len(waited_for))
        return bool(waited_for)

    def resize(self, max_workers: int) -> None:
        """See :meth:`Workers.resize`; new workers take what waits. Raises EngineClosed."""
        with self._lock:
            self._check_open()
            self.workers.resize(max_workers)
            self._wake(max_workers)

    def close(self, *, wait: bool) -> None:
        """Begin no call any more, and end the workers once the calls under way have ended, which
        is at once unless ``wait``.

        Raises:
            RuntimeError: A task would wait for itself.
        """
        if wait and self._here.entry is not None:
            raise RuntimeError(
                "this call waits for the tasks under way and was made by one of them; "
                "use close(wait=False) there"
            )
        with self._lock:
            self._closed = True
            under_way = [*self._calls]
        for one in under_way:
            if not wait:
                self._cancel_call(one, "was cancelled when its manager was closed")
            one.done.wait()
        with self._lock:
            self.workers.close()

    # -- the workers' side -------------------------------------------------------------------

    def _work(self, worker: str, process: GetProcess) -> None:
        """Carry out what comes first, until nothing waits or the worker is wanted no more."""
        self._here.process = process
        while (entry := self._take_first(worker)) is not None:
            self._carry_out(entry)

    def _take_first(self, worker: str) -> Entry | None:
        with self._lock:
            entry = self._calls.first() if self.workers.keeps(worker) else None
            if entry is None:
                self.workers.release(worker)
            else:
                entry.call.take(entry, worker)
            return entry

    def _lend(self, wanted: Call, lender: Entry) -> None:
        """Carry out, in this thread, what nobody else takes."""
        while (entry := self._take_nested(wanted, lender)) is not None:
            self._carry_out(entry)

    def _take_nested(self, wanted: Call, lender: Entry) -> Entry | None:
        with self._lock:
            entry = wanted.first()
            if entry is not None:
                assert lender.worker is not None  # it runs
                wanted.take(entry, lender.worker, lent=True)
            return entry

    def _carry_out(self, entry: Entry) -> None:
        outer, self._here.entry = self._here.entry, entry
        try:
            result = self._in_process(entry) if entry.call.in_process else self._in_thread(entry)
        except BaseException as error:  # of WorkerLost, or what else keeps it from being called
            result = _failed(entry, error, _elapsed(entry))
        finally:
            self._here.entry = outer
        with self._lock:
            entry.call.end(entry, result)

    def _in_thread(self, entry: Entry) -> ParallelExecutionResult:
        task = entry.task
        self._began(entry)
        at = time.perf_counter()
        try:
            value = call(task.handler, task.args, task.kwargs)
        except BaseException as error:  # also SystemExit: a task cannot take its worker down
            return _failed(entry, error, time.perf_counter() - at)
        return _succeeded(entry, value, time.perf_counter() - at)

    def _in_process(self, entry: Entry) -> ParallelExecutionResult:
        from .calls import ask, request  # they bring subprocess and more, for who needs it

        task = entry.task
        wanted = request(f"task {task.task_id!r}", task.handler, task.args, task.kwargs)
        worker = self._here.process()
        with self._lock:
            if entry.ended:  # while its process was being started, which nobody could kill
                raise TaskCancelled
        outcome = ask(worker, wanted, partial(self._began, entry))
        if outcome.error is not None:
            return _failed(entry, outcome.error, outcome.seconds)
        return _succeeded(entry, outcome.result, outcome.seconds)

    def _began(self, entry: Entry) -> None:
        """Its time runs from now on."""
        timeout = entry.task.timeout
        with self._lock:
            entry.since = time.perf_counter()
            if timeout is not None and not entry.ended:
                entry.call_off = after(timeout, partial(self._out_of_time, entry, timeout))

    # -- giving up ---------------------------------------------------------------------------

    def _out_of_time(self, entry: Entry, timeout: float) -> None:
        with self._lock:
            reason = f"took longer than {timeout:g} s"
            self._give_up(entry, reason, TimeoutError, cancelled=False)
            self._wake(1)

    def _cancel_call(
        self, wanted: Call, reason: str, kind: type[Exception] = TaskCancelled
    ) -> None:
        with self._lock:
            self._give_call_up(wanted, reason, kind)
            self._wake(len(wanted.entries))

    def _give_call_up(self, wanted: Call, reason: str, kind: type[Exception]) -> None:
        for entry in wanted.entries.values():
            self._give_up(entry, reason, kind)

    def _give_up(
        self, entry: Entry, reason: str, kind: type[Exception], *, cancelled: bool = True
    ) -> None:
        """End a task, with what it waits for: here and now, whatever it is doing."""
        if entry.ended:
            return
        fate, abandoned = self._stop(entry)
        result = ParallelExecutionResult(
            task_id=entry.task.task_id,
            success=False,
            error=kind(f"task {entry.task.task_id!r} {reason}{fate}"),
            duration=_elapsed(entry),
            cancelled=cancelled,
            abandoned=abandoned,
            worker=entry.worker,
        )
        entry.call.end(entry, result)
        for one in entry.nested:
            self._give_call_up(one, "was cancelled with the task that waited for it", TaskCancelled)

    def _stop(self, entry: Entry) -> tuple[str, bool]:
        """End what it does, if that is possible: how, and whether it goes on nevertheless."""
        if entry.worker is None:
            return " before it started", False
        if not entry.lent:
            self.workers.abandon(entry.worker)
        elif entry.call.in_process:
            self.workers.kill(entry.worker)
        if entry.call.in_process:
            return " and its process was killed", False
        return "; its thread cannot be killed and was abandoned: it may go on for a while", True


def _elapsed(entry: Entry) -> float | None:
    return None if entry.since is None else time.perf_counter() - entry.since


def _succeeded(entry: Entry, value: object, seconds: float | None) -> ParallelExecutionResult:
    return ParallelExecutionResult(
        task_id=entry.task.task_id,
        success=True,
        result=value,
        duration=seconds,
        worker=entry.worker,
    )


def _failed(entry: Entry, error: BaseException, seconds: float | None) -> ParallelExecutionResult:
    return ParallelExecutionResult(
        task_id=entry.task.task_id,
        success=False,
        error=error,
        duration=seconds,
        worker=entry.worker,
    )
