"""The engine: what a user executes, asks and controls pipelines with."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal

from ..events.definition import RetryPolicy
from ..events.errors import (
    AppendRefused,
    EngineClosed,
    LogError,
    PipelineError,
    PipelineValidationError,
)
from ..events.pipeline import Origin
from ..events.store import Store
from ..projections.progress import Progress
from . import process
from .backends.workers import Workers
from .clock import Clock
from .core import commands as c
from .live import Owner, Waiter
from .logger import logger
from .logs import SharedLoop, open_log, retire
from .loop import Loop
from .mailbox import Message
from .model import EXECUTORS, Handler, Pipeline, define
from .notify import Notifier
from .ownership import ACTIVE
from .queries import Queries
from .requests import Submission, Unfinished
from .result import ExecutionResult, PipelineFuture
from .submission import actor, checked_id, handlers_of, new_id, submitted

if TYPE_CHECKING:
    from ..events.sqlite import Durability

ProgressCallback = Callable[[Progress], Any]
OnFailure = Literal["stop", "continue"]
Executor = Literal["thread", "process"]


class ExecutionEngine(Queries):
    """Executes pipelines, and answers for every run in its log.

    Args:
        log: A path, ``sqlite:///path``, ``":memory:"`` or a store; by default ``$PIPELINE_LOG``,
            else ``.semantica/pipeline.db`` in the current directory.
        max_workers: Steps in flight at once, over all runs of this engine; by default the number
            of CPUs, at most 32 (and 4 at least, since steps often wait). ``async def`` handlers
            do not count while they wait: thousands of them share one thread.
        executor: Where steps run that do not say it themselves: ``"thread"``, or ``"process"``:
            each worker has a process beside it, which a timeout or cancel kills, and whose crash
            fails only the attempt.
        strict: A step whose type has no handler is an error; otherwise it passes its input on.
        durability: What a recorded event survives: ``"full"`` power loss, ``"normal"`` a killed
            process (power loss may take the newest events), ``"off"`` a killed process only.
        retry_on_failure: Whether steps without a retry policy of their own are retried.
        default_max_retries: How often those are retried, with delays of 1, 2, 4... seconds.
        allow_pickle: Whether values of other than the known types may be recorded as pickles.
        cancel_grace: Seconds that a cancelled attempt gets to end before its process is killed,
            or its thread abandoned.
        clock: For tests.

    Raises:
        LogError: The log cannot be used; the message says why and what to do.
        ValueError: An option out of its range.
    """

    def __init__(
        self,
        log: str | os.PathLike[str] | Store | None = None,
        *,
        max_workers: int | None = None,
        executor: Executor = "thread",
        strict: bool = False,
        durability: Durability = "full",
        retry_on_failure: bool = True,
        default_max_retries: int = 3,
        allow_pickle: bool = True,
        cancel_grace: float = 2.0,
        clock: Clock | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = min(32, max(4, os.cpu_count() or 1))
        if max_workers < 1:
            raise ValueError(f"max_workers must be at least 1, not {max_workers}")
        if executor not in EXECUTORS:
            raise ValueError(f"executor must be 'thread' or 'process', not {executor!r}")
        if process.importing_main:
            raise PipelineError(
                "this script makes an engine when a worker process imports it; put what starts "
                "pipelines under: if __name__ == '__main__':"
            )
        self.id = token_hex(6)
        self.max_workers = max_workers
        self.strict = strict
        self.allow_pickle = allow_pickle
        self.retry = RetryPolicy(max_retries=default_max_retries) if retry_on_failure else None
        self._pid = os.getpid()
        self._closing = threading.Lock()
        self._shared: SharedLoop | None = open_log(log, durability, clock)
        self._owner = Owner(
            self.id,
            Workers(max_workers),
            executor=executor,
            strict=strict,
            cancel_grace=cancel_grace,
        )
        loop = self._shared.loop
        loop.post(partial(loop.owners.__setitem__, self.id, self._owner))
        # An engine that is forgotten lets its runs end, then its workers.
        self._finalizer = weakref.finalize(self, retire, self._shared, self._owner)
        self._finalizer.atexit = False  # the loops drain by themselves at exit
        self._mentioned: set[str] = set()
        self._unrecorded = False

    # -- executing ---------------------------------------------------------------------------

    def execute_pipeline(
        self,
        pipeline: Pipeline,
        data: Any = None,
        *,
        run_id: str | None = None,
        progress_callback: ProgressCallback | None = None,
        priority: int = 0,
        on_failure: OnFailure = "stop",
        origin: Origin | None = None,
    ) -> ExecutionResult:
        """Execute a pipeline and wait for its end (also of a pause).

        Args:
            pipeline: What to execute.
            data: The input of its root steps.
            run_id: Chosen by you, it makes this call repeatable: a run of that id is joined,
                resumed or, when it has ended, its recorded result returned; it never runs twice.
            progress_callback: Called with every :class:`Progress`, in a thread of its own.
            priority: Among the runs of this engine, higher ones get free workers first.
            on_failure: ``"stop"``: nothing new starts after a failure; ``"continue"``: branches
                that do not depend on the failed step go on.
            origin: Where the pipeline can be loaded from again, for whoever recovers the run.

        Raises:
            PipelineValidationError: The pipeline cannot be executed; nothing was recorded.
            RunConflict: ``run_id`` exists with another definition or input.
            UnencodableValue: ``data`` cannot be recorded.
            LogError: The log cannot be used.
        """
        self._check_thread()
        return self.execute_pipeline_async(
            pipeline,
            data,
            run_id=run_id,
            progress_callback=progress_callback,
            priority=priority,
            on_failure=on_failure,
            origin=origin,
        ).result()

    def execute_pipeline_async(
        self,
        pipeline: Pipeline,
        data: Any = None,
        *,
        run_id: str | None = None,
        progress_callback: ProgressCallback | None = None,
        priority: int = 0,
        on_failure: OnFailure = "stop",
        origin: Origin | None = None,
    ) -> PipelineFuture:
        """Begin a run; its future is for ``.result()`` and for ``await`` alike.

        Returns at once; the run is recorded with the loop's next commit, and every later call on
        this engine finds it. Arguments and errors are those of :meth:`execute_pipeline`.
        """
        loop = self._open().loop
        if on_failure not in ("stop", "continue"):
            raise ValueError(f"on_failure must be 'stop' or 'continue', not {on_failure!r}")
        warnings = self._validate(pipeline)
        definition = define(pipeline, allow_pickle=self.allow_pickle)
        self._mention_unfinished(pipeline.name)
        event = submitted(
            definition,
            data,
            self._open().store.artifacts,
            engine=self.id,
            priority=priority,
            on_failure=on_failure,
            retry=self.retry,
            allow_pickle=self.allow_pickle,
            origin=origin,
        )
        submission = Submission(
            run_id=checked_id(run_id) if run_id is not None else new_id(),
            given=run_id is not None,
            event=event,
            definition=definition,
            handlers=handlers_of(pipeline),
            actor=actor(),
            warnings=warnings,
        )
        waiter = self._waiter(submission.run_id, progress_callback)
        self._post(loop, partial(loop.ownership.submit, self._owner, submission, waiter))
        self._unrecorded = True
        return waiter.future

    def _post(self, loop: Loop, message: Message) -> None:
        if not loop.post(message):
            raise EngineClosed("this engine was closed meanwhile; make another one")

    def _check_thread(self) -> None:
        """A callback of a future runs in the loop's thread, which cannot wait for itself."""
        if self._open().loop.here:
            raise RuntimeError(
                "this call waits for the engine and was made from a future's callback, which the "
                "engine calls; use execute_pipeline_async there, or another thread"
            )

    def _catch_up(self) -> None:
        if self._unrecorded:
            self._unrecorded = False
            loop = self._open().loop
            recorded: Future[None] = Future()
            self._check_thread()
            self._post(loop, partial(loop.reply, recorded, None))  # after its turn's commit
            recorded.result()

    def _validate(self, pipeline: Pipeline) -> list[str]:
        from .validator import PipelineValidator  # what only asks for a status does not need it

        result = PipelineValidator().validate_pipeline(pipeline, strict=self.strict)
        if not result.valid:
            raise PipelineValidationError(pipeline.name, result.errors)
        return list(result.warnings)

    def _waiter(self, run_id: str, callback: ProgressCallback | None = None) -> Waiter:
        future = PipelineFuture(run_id)
        future.keep = self
        return Waiter(future, Notifier(callback) if callback else None)

    def _mention_unfinished(self, name: str) -> None:
        """An older run of the same name that nobody works on is worth a word, once."""
        if name in self._mentioned or len(self._mentioned) > 1000:
            return
        self._mentioned.add(name)
        store = self._open().store
        for row in store.runs(name=name, statuses=ACTIVE, limit=1):
            if row.owner is None or not store.alive(row.owner, self._open().loop.clock.now()):
                logger().warning(
                    "an older run of this pipeline is unfinished",
                    run=row.run_id,
                    go_on=f"semantica-pipeline recover {row.run_id} --log {store.location}",
                )

    # -- recovering and control --------------------------------------------------------------

    def recover(
        self, *, pipeline: Pipeline | Iterable[Pipeline] | None = None
    ) -> list[PipelineFuture]:
        """Take over every unfinished run that nobody owns, and go on with it.

        Completed steps are not executed again; attempts that were in flight are, unless their step
        is ``at_most_once``. Paused runs stay paused.

        Args:
            pipeline: Pipelines whose handlers cannot be imported by name, found by their name.

        Returns:
            The runs' futures.
        """
        pipelines = [pipeline] if isinstance(pipeline, Pipeline) else list(pipeline or ())
        handlers = {one.name: handlers_of(one) for one in pipelines}
        loop = self._open().loop
        reply: Future[list[PipelineFuture]] = Future()
        self._check_thread()
        self._post(loop, partial(loop.ownership.recover, self._owner, handlers, reply))
        futures = reply.result()
        for future in futures:
            future.keep = self
        return futures

    def pause_pipeline(self, pipeline_id: str) -> bool:
        """Let what runs finish and start nothing more, until resumed; outlives the process.

        Returns:
            Whether the run admits it; False, with a message in the log, for a finished run.

        Raises:
            RunNotFound, AmbiguousRun: No run, or several, are meant by this name.
        """
        return self._control(pipeline_id, c.Pause())

    def resume_pipeline(self, pipeline_id: str, *, pipeline: Pipeline | None = None) -> bool:
        """Go on with a paused, stopped or failed run, here if nobody owns it.

        Args:
            pipeline: Supplies handlers that cannot be imported by name.

        Returns, Raises: as :meth:`pause_pipeline`.
        """
        return self._control(pipeline_id, c.Resume(), handlers_of(pipeline) if pipeline else {})

    def stop_pipeline(self, pipeline_id: str) -> bool:
        """Let what runs finish and end the run; it may be resumed. As :meth:`pause_pipeline`."""
        return self._control(pipeline_id, c.Stop())

    def cancel_pipeline(self, pipeline_id: str) -> bool:
        """Interrupt what runs and end the run for good. As :meth:`pause_pipeline`."""
        return self._control(pipeline_id, c.Cancel())

    def _control(
        self, pipeline_id: str, command: c.Control, handlers: Mapping[str, Handler] | None = None
    ) -> bool:
        try:
            self.control(pipeline_id, command, handlers or {})
        except c.Refused as refusal:
            logger().warning("refused", reason=str(refusal))
            return False
        return True

    def control(
        self, pipeline_id: str, command: c.Control, handlers: Mapping[str, Handler] | None = None
    ) -> str:
        """Apply a control command and return the id of the run it went to.

        Raises:
            Refused: The run's state does not admit it; the message says why.
            RunNotFound, AmbiguousRun: No run, or several, are meant.
        """
        self._check_thread()
        row = self.find(pipeline_id, for_control=True)
        loop = self._open().loop
        for _ in range(3):
            reply: Future[None] = Future()
            args = (self._owner, row.run_id, command, actor(), handlers or {}, reply)
            self._post(loop, partial(loop.ownership.control, *args))
            try:
                reply.result()
            except AppendRefused as refusal:  # it changed hands just then: ask the new owner
                refused = refusal
            else:
                return row.run_id
        raise refused

    def attach(
        self, pipeline_id: str, *, progress_callback: ProgressCallback | None = None
    ) -> PipelineFuture:
        """A future of any run of the log, whoever executes it. Raises RunNotFound."""
        row = self.find(pipeline_id)
        waiter = self._waiter(row.run_id, progress_callback)
        loop = self._open().loop
        self._post(loop, partial(loop.ownership.attach, self._owner, row.run_id, {}, waiter))
        return waiter.future

    # -- the end -----------------------------------------------------------------------------

    def close(self, *, wait: bool = True) -> list[Unfinished]:
        """Let go of the log. Closing twice does nothing.

        Args:
            wait: Wait for all runs to end (paused ones aside). False: only for the attempts in
                flight; unfinished runs can be recovered.

        Returns:
            The runs that are left unfinished.
        """
        with self._closing:
            if self._shared is None or os.getpid() != self._pid:
                return []
            self._check_thread()
            self._finalizer.detach()
            shared, loop = self._shared, self._shared.loop
            done: Future[list[Unfinished]] = Future()
            loop.post(partial(loop.ownership.close, self._owner, not wait, done.set_result))
            left = done.result()
            self._shared = None
            shared.leave()
            return left

    def __enter__(self) -> ExecutionEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error, or Ctrl-C, nobody wants to wait for the rest.
        self.close(wait=kind is None)

    def _open(self) -> SharedLoop:
        if os.getpid() != self._pid:
            raise LogError("this engine was made before a fork; make one in the child process")
        if self._shared is None:
            raise EngineClosed("this engine is closed; make another one")
        return self._shared
