"""An engine for the tests of its users: time is leapt over, and processes die when they are told.

See :mod:`semantica.pipeline.testing`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, cast

from ..events.errors import PipelineError, nearest
from ..events.memory import MemoryStore
from ..events.store import Store
from ..events.upcasters import EVENT_TYPES
from .clock import SystemClock
from .execution import ExecutionEngine
from .logs import SharedLoop
from .loop import Loop
from .mortal import MortalStore, SimulatedCrash
from .requests import Unfinished
from .result import ExecutionResult, PipelineFuture

PATIENCE = 10.0
"""Seconds."""
_POLL = 0.001


class SimulatedClock(SystemClock):
    """The machine's clock, plus what was leapt over."""

    def __init__(self) -> None:
        self.leapt = 0
        """Nanoseconds."""

    def now(self) -> int:
        return super().now() + self.leapt

    def monotonic(self) -> int:
        return super().monotonic() + self.leapt


class SimulatedEngine(ExecutionEngine):
    """An :class:`ExecutionEngine` whose time and death are in the hands of a test.

    Handlers are really executed, in the time that they take. Whenever none is, the clock leaps to
    the next moment at which something is due: the end of a retry's delay, of a wait, a deadline.
    So :meth:`execute_pipeline` takes milliseconds for a run of weeks. Time which passes inside a
    handler (``time.sleep``, the delays between the tries of one item of a map) is not leapt over.

    After a crash the next call begins another life of the process, on the same log; nothing goes
    on by itself there until :meth:`recover`, or until the run is executed again by its id.

    Args:
        log: A path, for a log in a SQLite file; None: in memory.
        patience: Real seconds that handlers may take before a call gives up on waiting for them.
        options: Those of :class:`ExecutionEngine`, such as ``failure_handler``.
    """

    def __init__(
        self,
        log: str | os.PathLike[str] | None = None,
        *,
        patience: float = PATIENCE,
        **options: Any,
    ) -> None:
        self.clock = SimulatedClock()
        self._log = _log_at(log)
        self._patience = patience
        self._settings = options
        self._mortal = MortalStore(self._log)
        self._begin()

    def _begin(self) -> None:
        store = cast(Store, self._mortal)
        super().__init__(store, clock=self.clock, **self._settings)
        loop = self._open().loop
        # Whoever has something in the loop's hands learns of the death by a commit that fails.
        self._mortal.on_death = partial(loop.post, partial(loop.taken.append, 0))

    def _open(self) -> SharedLoop:
        if self._mortal.dead:
            self._mortal = MortalStore(self._log)
            super().close(wait=False)
            self._begin()
        return super()._open()

    # -- executing ---------------------------------------------------------------------------

    def execute_pipeline(
        self, *args: Any, hanging: str | Collection[str] = (), **options: Any
    ) -> ExecutionResult:
        """As :meth:`ExecutionEngine.execute_pipeline`, leaping over all that takes time.

        Args:
            hanging: Names of steps whose handlers do not return: while only these execute, time
                is leapt over as well, so that their timeouts come. (Also to an attempt that would
                return, but not at once.)

        Raises:
            SimulatedCrash: The process was killed on the way.
            TimeoutError: Handlers take longer than the engine has patience.
            PipelineError: The run waits for a signal, or is paused; the message says for what.
        """
        if self._owner.backend.here:  # a handler's own run: the one outside leaps
            return super().execute_pipeline(*args, **options)
        future = self.execute_pipeline_async(*args, **options)
        return self._finish(future, hanging)

    def finish(self, pipeline_id: str, *, hanging: str | Collection[str] = ()) -> ExecutionResult:
        """The result of a run that goes on, by its id or name; as :meth:`execute_pipeline`."""
        return self._finish(self.attach(pipeline_id), hanging)

    def _finish(self, future: PipelineFuture, hanging: str | Collection[str]) -> ExecutionResult:
        while not future.done():
            wait = self._settle(hanging)
            if future.done() or self._is_over(future.run_id):
                break
            if wait is None:
                raise PipelineError(
                    f"run {future.run_id} waits for what does not come with time: "
                    f"{self._waits(future.run_id)}"
                )
            self._leap(wait)
        return future.result(self._patience)

    def _is_over(self, run_id: str) -> bool:
        status = self.get_status(run_id)
        return status.finished or status == "stopped"

    def _waits(self, run_id: str) -> str:
        told = self.report(run_id)
        waits = [f"step {one.name!r} for {one.waits_for}" for one in told.steps if one.waits_for]
        return "; ".join([f"it is {told.status}", *waits])

    # -- time --------------------------------------------------------------------------------

    def advance(self, seconds: float, *, hanging: str | Collection[str] = ()) -> None:
        """Let so much time pass, with everything that is due within it, each at its moment.

        Returns when nothing executes any more; ``advance(0)`` waits only for that.

        Args:
            hanging: As for :meth:`execute_pipeline`.

        Raises:
            SimulatedCrash, TimeoutError: As :meth:`execute_pipeline`.
        """
        end = self.clock.leapt + int(seconds * 1e9)
        wait = self._settle(hanging)
        while wait is not None and self.clock.leapt + wait <= end:
            self._leap(wait)
            wait = self._settle(hanging)
        self._leap(end - self.clock.leapt)
        self._settle(hanging)

    @property
    def leapt(self) -> float:
        """Seconds that were leapt over so far, in all lives."""
        return self.clock.leapt / 1e9

    def _leap(self, nanoseconds: int) -> None:
        self.clock.leapt += max(0, nanoseconds)
        self._open().loop.wake()

    def _settle(self, hanging: str | Collection[str]) -> int | None:
        """Wait until nothing can happen without time; how long that takes (ns), None: for ever."""
        loop, mortal = self._open().loop, self._mortal
        ignored = {hanging} if isinstance(hanging, str) else set(hanging)
        give_up = time.monotonic() + self._patience
        calm = 0
        while True:
            found: Future[_Sight] = Future()
            self._post(loop, partial(_look, loop, ignored, found))
            sight = found.result()
            if mortal.dead:
                raise SimulatedCrash("the process was killed; go on with recover()")
            calm = calm + 1 if sight.is_calm else 0
            if calm == 2:  # what was done in the turn of the first look has been seen
                return sight.next_due
            if time.monotonic() > give_up:
                raise TimeoutError(
                    f"still executing after {self._patience:g} s: {', '.join(sight.executing)}; "
                    "if a step is to hang, name it with hanging="
                )
            threading.Event().wait(_POLL)

    # -- death -------------------------------------------------------------------------------

    def crash(self) -> None:
        """End the process as ``kill -9`` does, for all that the log can tell.

        Nothing of what is in flight is recorded any more, and futures raise SimulatedCrash. (The
        threads of handlers cannot be killed; they are told that they are cancelled.)
        """
        loop = super()._open().loop
        self._mortal.die()
        died: Future[None] = Future()
        self._post(loop, lambda: loop.reply(died, None))
        died.exception()

    def crash_after(self, event: str, times: int = 1) -> None:
        """Have the process killed as soon as an event of this type is recorded (``times``: so many,
        from now on), with what is in the same commit, and before anything follows from it.

        Args:
            event: Such as ``"StepStarted"`` or ``"StepCompleted"``; ``history()`` shows more.

        Raises:
            ValueError: There is no such event, or ``times`` is less than 1.
        """
        if event not in EVENT_TYPES:
            raise ValueError(f"there is no event {event!r}{nearest(event, EVENT_TYPES)}")
        if times < 1:
            raise ValueError(f"times must be 1 or more, not {times!r}")
        self._open()
        self._mortal.die_after(event, times)

    def close(self, *, wait: bool = False) -> list[Unfinished]:
        """Let go of the log, without waiting for anything; what is in flight is given up."""
        if self._shared is None:
            return []
        self.crash()
        self._open()
        left = super().close(wait=wait)
        self._log.close()
        return left

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- asking ------------------------------------------------------------------------------

    def attempts(self, pipeline_id: str) -> dict[str, int]:
        """How many attempts each step of a run has had. Raises RunNotFound."""
        return {step.name: step.attempt for step in self.report(pipeline_id).steps}


class _Sight:
    """What a loop is doing, as seen in its thread."""

    def __init__(self, loop: Loop, ignored: Iterable[str]) -> None:
        self.executing: list[str] = []
        pending = bool(loop.hungry)
        for live in loop.runs.values():
            names = map(live.run.graph.name, live.in_flight)
            self.executing += [name for name in names if name not in ignored]
            pending = pending or bool(live.pending or live.touched or live.all_touched)
        wait = loop.timers.next_in()
        self.next_due = None if wait is None else int(wait * 1e9) + 1
        self.is_calm = not (self.executing or pending or wait == 0)


def _look(loop: Loop, ignored: Iterable[str], found: Future[_Sight]) -> None:
    loop.reply(found, _Sight(loop, ignored))  # after what else has arrived for this turn


def _log_at(log: str | os.PathLike[str] | None) -> Store:
    if log is None:
        return MemoryStore()
    from ..events.sqlite import SqliteStore

    return SqliteStore(Path(log), durability="off")
