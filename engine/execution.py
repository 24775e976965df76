"""The engine: what a user executes, asks and controls pipelines with."""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal

from ..events.arguments import flag, number, whole
from ..events.envelope import CLEAR
from ..events.errors import EngineClosed, LogError, PipelineError, PipelineValidationError
from ..events.pipeline import Origin
from ..events.sealed_store import artifacts_under
from ..events.store import Durability, Store
from . import process, queued
from .backends.workers import Workers
from .clock import Clock
from .configuration import PipelineConfig
from .controls import Controls, ProgressCallback
from .encrypting import encoding_for
from .failure import FailureHandler
from .findings import Finding
from .live import Owner
from .logger import logger
from .logs import SharedLoop, open_log, retire
from .model import Pipeline, define, handlers_of, steps_within
from .options import (
    OnFailure,
    checked_on_failure,
    checked_origin,
    checked_scheduler,
    deadline_at,
    resolve,
)
from .ownership import ACTIVE
from .requests import Submission, Unfinished
from .result import ExecutionResult, PipelineFuture
from .submission import actor, checked_id, new_id, submitted
from .supply import Supply, follow

if TYPE_CHECKING:
    from .parallelism import ParallelismManager
    from .resources import ResourceScheduler

Executor = Literal["thread", "process"]


class ExecutionEngine(Controls):
    """Executes pipelines, and answers for every run in its log.

    Args:
        log: A path, ``sqlite:///path``, ``":memory:"`` or a store; by default ``$PIPELINE_LOG``,
            else ``.semantica/pipeline.db`` in the current directory.
        max_workers: Steps in flight at once, over all runs of this engine, at most 10,000; by
            default the number of CPUs, at most 32 (and 4 at least, since steps often wait).
            ``async def`` handlers do not count while they wait: thousands share one thread.
        executor: Where steps run that do not say it themselves: ``"thread"`` (the default), or
            ``"process"``: each worker has a process beside it, which a timeout or cancel kills, and
            whose crash fails only the attempt.
        strict: A step whose type has no handler is an error; otherwise it passes its input on.
        durability: What a recorded event survives: ``"full"`` power loss, ``"normal"`` a killed
            process (power loss may take the newest events), ``"off"`` a killed process only.
        retry_on_failure: Whether steps are retried that have no retry policy of their own, nor one
            of their type.
        default_max_retries: How often those are; None: as ``failure_handler`` says.
        failure_handler: Policies, kinds of errors and fallbacks; None: a plain one, with 3 retries
            after 1, 2 and 4 seconds.
        resource_scheduler: What there is of resources, and who goes first when they, or workers,
            are scarce; None: what the machine has, and higher priorities.
        parallelism_manager: Says ``max_workers``, also later, and ``executor``, if they are not
            given here.
        config: Where what is not given comes from; None: the environment, and the file that it
            names.
        allow_pickle: Whether values of other than the known types may be recorded as pickles.
        cancel_grace: Seconds that a cancelled attempt gets to end before its process is killed,
            or its thread abandoned.
        clock: For tests.

    Raises:
        LogError: The log cannot be used; the message says why and what to do.
        TypeError, ValueError: An option of a wrong type, or out of its range.
        ConfigurationError: The configuration is at fault.
    """

    def __init__(
        self,
        log: str | os.PathLike[str] | Store | None = None,
        *,
        max_workers: int | None = None,
        executor: Executor | None = None,
        strict: bool = False,
        durability: Durability = "full",
        retry_on_failure: bool | None = None,
        default_max_retries: int | None = None,
        failure_handler: FailureHandler | None = None,
        resource_scheduler: ResourceScheduler | None = None,
        parallelism_manager: ParallelismManager | None = None,
        config: PipelineConfig | None = None,
        allow_pickle: bool = True,
        cancel_grace: float = 2.0,
        clock: Clock | None = None,
    ) -> None:
        options = resolve(
            max_workers=max_workers,
            executor=executor,
            retry_on_failure=retry_on_failure,
            default_max_retries=default_max_retries,
            failure_handler=failure_handler,
            parallelism_manager=parallelism_manager,
            config=config,
        )
        checked_scheduler(resource_scheduler)
        if process.importing_main:
            raise PipelineError(
                "this script makes an engine when a worker process imports it; put what starts "
                "pipelines under: if __name__ == '__main__':"
            )
        self.id = token_hex(6)
        self.strict = flag("strict", strict)
        self.allow_pickle = flag("allow_pickle", allow_pickle)
        cancel_grace = number("cancel_grace", cancel_grace)
        self.failure_handler = options.failure_handler
        self.retry = options.retry
        self._options = options
        self._pid = os.getpid()
        self._closing = threading.Lock()
        self._shared: SharedLoop | None = open_log(log, durability, clock)
        self._owner = Owner(
            self.id,
            Workers(options.max_workers, self._shared.loop.turns.take_one),
            self.failure_handler,
            Supply(self._shared.loop, resource_scheduler, options.config),
            executor=options.executor,
            strict=strict,
            cancel_grace=cancel_grace,
            log_level=options.config.log_level,
        )
        loop = self._shared.loop
        loop.post(partial(loop.owners.__setitem__, self.id, self._owner))
        # An engine that is forgotten lets its runs end, then its workers.
        self._finalizer = weakref.finalize(self, retire, self._shared, self._owner)
        self._finalizer.atexit = False  # the loops drain by themselves at exit
        if resource_scheduler is not None:
            self._owner.scheduler()
        if parallelism_manager is not None and max_workers is None:
            follow(parallelism_manager, loop, self._owner)
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
        deadline: float | datetime | None = None,
        origin: Origin | None = None,
        encrypt: bool = False,
    ) -> ExecutionResult:
        """Execute a pipeline and wait for its end (also of a pause).

        Args:
            pipeline: What to execute.
            data: The input of its root steps.
            run_id: Chosen by you, it makes this call repeatable: a run of that id is joined,
                resumed or, when it has ended, its recorded result returned; it never runs twice.
                What it was begun with holds: another ``deadline``, ``on_failure``, ``priority`` or
                ``origin`` changes nothing.
            progress_callback: Called with every :class:`Progress`, in a thread of its own.
            priority: Among the runs of this engine, higher ones get free workers first.
            on_failure: ``"stop"``: nothing new starts after a failure; ``"continue"``: branches
                that do not depend on the failed step go on; ``"rollback"``: as ``"stop"``, and what
                completed steps did is undone by their ``compensate``, the last one first; also
                after a cancel, or when the deadline has passed.
            deadline: Seconds from now, or a moment with its time zone, at which an unfinished run
                fails, whatever it does then, paused or not.
            origin: Where the pipeline can be loaded from again, for whoever recovers the run.
            encrypt: Record nothing in clear but names, times and states, until :meth:`erase`.

        Raises:
            PipelineValidationError: The pipeline cannot be executed; nothing was recorded.
            RunConflict: ``run_id`` exists with another definition, input, or without ``encrypt``.
            MissingKey: The library for ``encrypt``, or the key of this run, is missing.
            UnencodableValue: ``data`` cannot be recorded.
            TypeError, ValueError: Another argument is of a wrong type, or out of its range.
            LogError: The log cannot be used.
        """
        self._check_thread()
        future = self.execute_pipeline_async(
            pipeline,
            data,
            run_id=run_id,
            progress_callback=progress_callback,
            priority=priority,
            on_failure=on_failure,
            deadline=deadline,
            origin=origin,
            encrypt=encrypt,
        )
        if not self._owner.backend.here:
            return future.result()
        # A handler waits for a run of its own engine: meanwhile another worker takes its place.
        self._lend(1)
        try:
            return future.result()
        finally:
            self._lend(-1)

    def _lend(self, workers: int) -> None:
        loop, owner = self._open().loop, self._owner
        loop.post(partial(loop.lend, owner, workers))

    def execute_pipeline_async(
        self,
        pipeline: Pipeline,
        data: Any = None,
        *,
        run_id: str | None = None,
        progress_callback: ProgressCallback | None = None,
        priority: int = 0,
        on_failure: OnFailure = "stop",
        deadline: float | datetime | None = None,
        origin: Origin | None = None,
        encrypt: bool = False,
    ) -> PipelineFuture:
        """Begin a run; its future is for ``.result()`` and for ``await`` alike.

        Returns at once; the run is recorded with the loop's next commit, and every later call on
        this engine finds it. Arguments and errors are those of :meth:`execute_pipeline`.
        """
        submission = self._prepared(
            pipeline,
            data,
            run_id,
            priority=whole("priority", priority),
            on_failure=on_failure,
            deadline=deadline_at(deadline, self._open().loop.clock.now()),
            parallelism=self._options.parallelism,
            origin=checked_origin(origin),
            encrypt=flag("encrypt", encrypt),
        )
        self._mention_unfinished(pipeline.name)
        return self._submit(submission, progress_callback)

    def _prepared(
        self,
        pipeline: Pipeline,
        data: Any,
        run_id: str | None,
        *,
        on_failure: str,
        encrypt: bool = False,
        encoding: str = CLEAR,
        **fields: Any,
    ) -> Submission:
        warnings = self._validate(pipeline)
        if fields.get("queue") is not None and fields["origin"] is None:
            queued.refuse_lost(pipeline.name, warnings)
        definition = define(pipeline, allow_pickle=self.allow_pickle)
        answers = self.failure_handler.answers()
        chosen = checked_id(run_id) if run_id is not None else new_id()
        store = self._open().store
        if encoding == CLEAR and (encrypt or run_id is not None):
            encoding = encoding_for(store, chosen, given=run_id is not None, encrypt=encrypt)
        event = submitted(
            definition,
            data,
            artifacts_under(store, encoding),
            engine=self.id,
            on_failure=checked_on_failure(on_failure),
            retry=self.retry,
            answers=answers,
            allow_pickle=self.allow_pickle,
            warnings=warnings,
            encoding=encoding,
            **fields,
        )
        return Submission(
            run_id=chosen,
            given=run_id is not None,
            event=event,
            definition=definition,
            handlers=handlers_of(pipeline),
            answers=answers,
            actor=actor(),
        )

    def _submit(
        self, submission: Submission, progress_callback: ProgressCallback | None
    ) -> PipelineFuture:
        loop = self._open().loop
        waiter = self._waiter(submission.run_id, progress_callback)
        self._post(loop, partial(loop.ownership.submit, self._owner, submission, waiter))
        self._unrecorded = True
        return waiter.future

    def _catch_up(self) -> None:
        if self._unrecorded:
            self._unrecorded = False
            loop = self._open().loop
            recorded: Future[None] = Future()
            self._check_thread()
            self._post(loop, partial(loop.reply, recorded, None))  # after its turn's commit
            recorded.result()

    def _validate(self, pipeline: Pipeline) -> list[Finding]:
        from .validator import (  # what only asks for a status does not need it
            PipelineValidator,
            mention_idle_steps,
        )

        result = PipelineValidator().validate_pipeline(
            pipeline, strict=self.strict, executor=self._owner.executor
        )
        errors: list[Finding] = result.errors
        if not errors and any(step.resources for _, step in steps_within(pipeline)):
            from .needs import unsatisfiable  # few pipelines need something

            errors = list(unsatisfiable(pipeline, self.resource_scheduler))
        if errors:
            raise PipelineValidationError(pipeline.name, errors)
        mention_idle_steps(pipeline, result.warnings)
        return list(result.warnings)

    @property
    def max_workers(self) -> int:
        """Steps in flight at once, ``async def`` handlers that wait aside."""
        return self._owner.backend.max_workers - self._owner.lent

    @property
    def resource_scheduler(self) -> ResourceScheduler:
        """What there is of resources, and who has it."""
        return self._owner.scheduler()

    def _mention_unfinished(self, name: str) -> None:
        """An older run of the same name that nobody works on is worth a word, once."""
        if name in self._mentioned or len(self._mentioned) > 1000:
            return
        self._mentioned.add(name)
        store = self._open().store
        for row in store.runs(name=name, statuses=ACTIVE, roots=True, limit=1):
            if row.owner is None or not store.alive(row.owner, self._open().loop.clock.now()):
                logger().warning(
                    "an older run of this pipeline is unfinished",
                    run=row.run_id,
                    go_on=f"semantica-pipeline recover {row.run_id} --log {store.location}",
                )

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
            if self._owner.backend.here:
                raise RuntimeError(
                    "a handler cannot close the engine that executes it, since that waits for it"
                )
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
