"""Functions called in processes of their own: what crashes takes only its own call."""

from __future__ import annotations

import pickle
import threading
import traceback
from functools import partial
from typing import Any

from ...events.errors import WorkerLost
from ...events.references import resolve_reference
from .child import Channel, survives_pickling
from .worker_process import WorkerProcess

__all__ = ["CallPool", "WorkerLost"]


class CallPool:
    """Up to ``workers`` processes, started when first needed and used again.

    May be used by several threads at once.
    """

    def __init__(self, workers: int = 1) -> None:
        self._slots = threading.BoundedSemaphore(workers)
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._interrupted = False
        self._lock = threading.Lock()

    def call(self, function: str, *args: Any, timeout: float | None = None) -> Any:
        """Call ``module:qualname`` and wait for its result; both travel as pickles.

        Args:
            timeout: Seconds after which the process is killed.

        Raises:
            WorkerLost: The process died, or none can be started; the message says how.
            TimeoutError: It took too long.
            Exception: What the function raised, or what pickling did.
        """
        request = pickle.dumps(partial(_serve, function, pickle.dumps(args)))
        with self._slots:
            worker = self._take()
            try:
                with self._lock:
                    if self._interrupted:
                        raise WorkerLost("the worker process was interrupted")
                    self._busy.add(worker)
                result, error = _ask(worker, request, timeout)
            except BaseException:
                with self._lock:
                    self._busy.discard(worker)
                worker.close()
                raise
            with self._lock:
                self._busy.discard(worker)
                self._idle.append(worker)
        if error is not None:
            raise error
        return result

    def _take(self) -> WorkerProcess:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return WorkerProcess()
            if worker.alive:
                return worker
            worker.close()  # it died of something while nobody used it

    def interrupt(self) -> None:
        """Kill the processes that are busy, for good: their calls and all later ones are lost.

        Does not wait; may be called by any thread.
        """
        with self._lock:
            self._interrupted = True
            for worker in self._busy:
                worker.kill()

    def close(self) -> None:
        """End the processes that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()

    def __enter__(self) -> CallPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ask(
    worker: WorkerProcess, request: bytes, timeout: float | None
) -> tuple[Any, BaseException | None]:
    late = threading.Event()

    def give_up() -> None:
        late.set()
        worker.kill()

    timer = threading.Timer(timeout, give_up) if timeout is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        worker.send(request)
        answer: tuple[Any, BaseException | None] = worker.receive()
    except WorkerLost:
        if late.is_set():
            raise TimeoutError(f"it took longer than {timeout:g} s and was killed") from None
        raise
    finally:
        if timer is not None:
            timer.cancel()
    return answer


def _serve(function: str, arguments: bytes, channel: Channel) -> None:
    """In the worker process: call, and answer ``(result, error)``."""
    answer: tuple[Any, BaseException | None]
    try:
        answer = resolve_reference(function)(*channel.load(arguments)), None
    except BaseException as error:
        if not survives_pickling(error):
            error = RuntimeError(f"{function} in a worker process: {error!r}")
        error.add_note("".join(traceback.format_exception(error)))  # frames do not travel
        answer = None, error
    try:
        channel.send(answer)
    except Exception as error:  # the result, or the exception, cannot be pickled
        told = f"{answer[1]!r}" if answer[1] is not None else f"its result: {error!r}"
        channel.send((None, RuntimeError(f"{function} in a worker process: {told}")))
