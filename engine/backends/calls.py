"""Functions called in processes of their own: what crashes takes only its own call."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from ...events.errors import HandlerNotFound, UnencodableValue, WorkerLost
from ...events.references import resolve_reference
from ..classify import describe, text_of
from ..tasks import call
from .alarm import after
from .child import Channel, survives_pickling
from .worker_process import WorkerProcess

__all__ = ["CallPool", "Outcome", "WorkerLost", "ask", "request"]


class Outcome(msgspec.Struct, frozen=True):
    """How a call ended.

    Args:
        error: What the function raised, or why it could not be called, or its result not be sent.
        seconds: That the function took; None: it was not called.
    """

    result: Any = None
    error: BaseException | None = None
    seconds: float | None = None


class Answer(msgspec.Struct, frozen=True):
    """An outcome as it is sent: ``(result, error)`` as a pickle of its own, so that an error in
    loading it is the call's."""

    outcome: bytes
    seconds: float | None


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
            UnencodableValue: The arguments or the result cannot be sent.
            Exception: What the function raised.
        """
        wanted = request(function, partial(_call_reference, function), args, {})
        with self._slots:
            worker = self._take()
            try:
                with self._lock:
                    if self._interrupted:
                        raise WorkerLost("the worker process was interrupted")
                    self._busy.add(worker)
                outcome = _ask_in_time(worker, wanted, timeout)
            except BaseException:
                with self._lock:
                    self._busy.discard(worker)
                worker.close()
                raise
            with self._lock:
                self._busy.discard(worker)
                self._idle.append(worker)
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

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


def _call_reference(function: str, *args: Any) -> Any:
    return resolve_reference(function)(*args)


def _ask_in_time(worker: WorkerProcess, wanted: bytes, timeout: float | None) -> Outcome:
    if timeout is None:
        return ask(worker, wanted)
    late = threading.Event()

    def give_up() -> None:
        late.set()
        worker.kill()

    call_off = after(timeout, give_up)
    try:
        return ask(worker, wanted)
    except WorkerLost:
        if late.is_set():
            raise TimeoutError(f"it took longer than {timeout:g} s and was killed") from None
        raise
    finally:
        call_off()


# This process's side


def request(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> bytes:
    """What :func:`ask` sends to have ``function`` called; ``name`` is for messages.

    Raises:
        HandlerNotFound: The function cannot be found by other processes.
        UnencodableValue: The arguments cannot be pickled.
    """
    try:
        handler = pickle.dumps(function)
    except Exception as error:  # pickling may raise anything
        called = getattr(function, "__qualname__", repr(function))
        raise HandlerNotFound(
            f"{name} runs in a process, where its handler {called} cannot be found ({error}); "
            "define it at the top level of a module, or have it run in a thread"
        ) from error
    try:
        arguments = pickle.dumps((args, kwargs))
    except Exception as error:
        raise UnencodableValue(
            f"{name}: its arguments cannot be sent to a process ({error}); "
            "give what can be pickled, or have it run in a thread"
        ) from error
    return pickle.dumps(partial(_serve, name, handler, arguments))


def ask(worker: WorkerProcess, wanted: bytes, began: Callable[[], None] = lambda: None) -> Outcome:
    """Have a :func:`request` carried out and wait for its outcome.

    Args:
        began: Called once the process has begun to work on it.

    Raises:
        WorkerLost: The process died.
    """
    try:
        worker.send(wanted)
        worker.receive()
        began()
        answer: Answer = worker.receive()
    except BaseException:
        worker.kill()  # it may be in the middle of the call
        raise
    try:
        result, error = pickle.loads(answer.outcome)
        return Outcome(result, error, answer.seconds)
    except BaseException as error:  # unpickling may raise anything
        problem = UnencodableValue(
            f"what came back from the process cannot be loaded here: {error!r}"
        )
        problem.__cause__ = error
        return Outcome(None, problem, answer.seconds)


# The process's side


def _serve(name: str, handler: bytes, arguments: bytes, channel: Channel) -> None:
    """Say that the call begins, call, and send how it ended."""
    channel.send(None)
    result, error, seconds = None, None, None
    try:
        function = _load(channel, handler, HandlerNotFound, f"{name}: its handler")
        args, kwargs = _load(channel, arguments, UnencodableValue, f"{name}: its arguments")
        at = time.perf_counter()
        try:
            result = call(function, args, kwargs)
        finally:
            seconds = time.perf_counter() - at
    except BaseException as raised:  # also SystemExit: the process is used again
        error = raised
    channel.send(Answer(_pickled(name, result, error), seconds))


def _load(channel: Channel, pickled: bytes, kind: type[Exception], what: str) -> Any:
    try:
        return channel.load(pickled)
    except BaseException as error:  # importing a module may raise anything
        raise kind(
            f"{what} cannot be loaded in the worker process: "
            f"{type(error).__name__}: {text_of(error)}"
        ) from error


def _pickled(name: str, result: Any, error: BaseException | None) -> bytes:
    if error is None:
        try:
            return pickle.dumps((result, None))
        except Exception as refused:  # pickling may raise anything
            error = UnencodableValue(
                f"{name}: its result, of type {type(result).__name__}, cannot be sent back from "
                f"the process ({refused}); return what can be pickled, or have it run in a thread"
            )
            error.__cause__ = refused
    told = describe(error)
    frames = told.traceback or ""  # they do not travel by themselves
    try:
        error.add_note(frames)
        sendable = survives_pickling(error)
    except BaseException:  # an exception may be anything when it is looked at
        sendable = False
    if not sendable:
        error = RuntimeError(f"{name} raised in its worker process: {told}")
        error.add_note(frames)
    return pickle.dumps((None, error))
