"""What can be done to runs: the half of the engine that recovers, controls and follows them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Any

from msgspec.structs import replace

from ..events.arguments import fault, flag, whole
from ..events.codec import encode
from ..events.errors import AppendRefused, EngineClosed
from ..events.pipeline import Origin
from ..events.sealed_store import artifacts_of_run, require_key
from ..projections.catchup import load_run
from ..projections.progress import Progress
from . import queued
from .core import commands as c
from .keeping import Keeping
from .live import Owner, Waiter
from .logger import logger
from .loop import Loop
from .mailbox import Message
from .model import Given, Pipeline, handlers_of
from .notify import Notifier
from .options import OnFailure, Options, checked_origin, deadline_at
from .requests import Submission, beginning_of
from .result import PipelineFuture
from .submission import actor

ProgressCallback = Callable[[Progress], Any]


class Controls(Keeping):
    """Commands that an engine gives to runs, its own and those of others."""

    _owner: Owner
    _options: Options
    allow_pickle: bool

    @abstractmethod
    def _prepared(
        self,
        pipeline: Pipeline,
        data: Any,
        run_id: str | None,
        *,
        on_failure: str,
        **fields: Any,
    ) -> Submission:
        """A run that is asked for; it has been validated."""

    @abstractmethod
    def _submit(
        self, submission: Submission, progress_callback: ProgressCallback | None
    ) -> PipelineFuture:
        """Begin it."""

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

    def submit(
        self,
        pipeline: Pipeline,
        data: Any = None,
        *,
        queue: str = queued.DEFAULT_QUEUE,
        run_id: str | None = None,
        priority: int = 0,
        on_failure: OnFailure = "stop",
        deadline: float | datetime | None = None,
        origin: Origin | None = None,
        encrypt: bool = False,
    ) -> str:
        """Put a run into a queue, from which a worker (``semantica-pipeline worker``) takes it, in
        this or any other process; it is recorded on return, and not executed here.

        Args:
            pipeline: Its handlers must be found by name, or in ``origin``.
            queue: The queue, which needs no making.
            priority: Among the runs of a queue, higher ones go first.
            data, run_id, on_failure, deadline, origin, encrypt: As for :meth:`execute_pipeline`;
                workers that do not have the key of an encrypted run leave it to others.

        Returns:
            The run's id.

        Raises:
            PipelineValidationError: The pipeline cannot be executed, or not by another process.
            Otherwise as :meth:`execute_pipeline`.
        """
        shared = self._open()
        submission = self._prepared(
            pipeline,
            data,
            run_id,
            queue=queued.checked_queue(queue),
            priority=whole("priority", priority),
            on_failure=on_failure,
            deadline=deadline_at(deadline, shared.loop.clock.now()),
            parallelism=self._options.parallelism,
            origin=checked_origin(origin),
            encrypt=flag("encrypt", encrypt),
        )
        queued.enqueue(shared.store, submission, shared.loop.clock.now())
        shared.loop.post(shared.loop.ownership.announce)
        return submission.run_id

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

    def fork(
        self,
        pipeline_id: str,
        *,
        from_step: str | Iterable[str] = (),
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        pipeline: Pipeline | None = None,
        run_id: str | None = None,
        progress_callback: ProgressCallback | None = None,
    ) -> PipelineFuture:
        """Begin a new run that starts with the outputs which another one has produced.

        Args:
            pipeline_id: The other run, whatever became of it, by its id or its pipeline's name.
            from_step: Executed again, with all that follows; also executed are steps that are
                overridden, were not completed there, or follow from such.
            overrides: By step, other configuration, or other options such as ``timeout``.
            pipeline: Supplies handlers that cannot be imported by name.
            run_id, progress_callback: As for :meth:`execute_pipeline`.

        Raises:
            RunNotFound: There is no such run.
            PipelineError: A step that it does not have, or a handler that is not to be had.
            PipelineValidationError: What is different makes it invalid.
        """
        from .forking import fork  # few runs are forks

        store = self._open().store
        run = load_run(store, self.find(pipeline_id).run_id)
        given = {
            **self._owner.given.get(run.state.name, {}),
            **(handlers_of(pipeline) if pipeline else {}),
        }
        require_key(store, run.run_id, run.state.encoding)
        names = [from_step] if isinstance(from_step, str) else list(from_step)
        forked = fork(store, run, names, overrides or {}, given)
        submission = self._prepared(
            forked.pipeline,
            None,
            run_id,
            priority=run.state.priority,
            on_failure=run.state.on_failure,
            deadline=None,
            parallelism=run.state.parallelism,
            origin=beginning_of(store, run.stream).origin,
            encoding=run.state.encoding,
        )
        event = replace(submission.event, data=run.state.data, forked_from=run.run_id)
        submission = replace(submission, event=event, reused=forked.reused)
        return self._submit(submission, progress_callback)

    def signal(self, pipeline_id: str, name: str, payload: Any = None) -> bool:
        """Hand ``payload`` to a step that waits for this signal, now or later in the run.

        Returns, Raises: as :meth:`pause_pipeline`.
            UnencodableValue: The payload cannot be recorded.
        """
        if not isinstance(name, str) or not name.isprintable() or not name:
            raise ValueError(f"the name of a signal must be printable text, not {name!r}")
        row = self.find(pipeline_id, for_control=True)
        artifacts = artifacts_of_run(self._open().store, row.stream)
        value = encode(payload, artifacts, allow_pickle=self.allow_pickle)
        return self._control(row.run_id, c.Signal(name, value))

    def _control(
        self, pipeline_id: str, command: c.Control, handlers: Mapping[str, Given] | None = None
    ) -> bool:
        try:
            self.control(pipeline_id, command, handlers or {})
        except c.Refused as refusal:
            logger().warning("refused", reason=str(refusal))
            return False
        return True

    def control(
        self, pipeline_id: str, command: c.Control, handlers: Mapping[str, Given] | None = None
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

    def _post(self, loop: Loop, message: Message) -> None:
        if not loop.post(message):
            raise EngineClosed("this engine was closed meanwhile; make another one")

    def _check_thread(self) -> None:
        """A callback of a future runs in a turn of the loop, which cannot wait for itself."""
        if self._open().loop.turns.here:
            raise RuntimeError(
                "this call waits for the engine and was made from a future's callback, which the "
                "engine calls; use execute_pipeline_async there, or another thread"
            )

    def _waiter(self, run_id: str, callback: ProgressCallback | None = None) -> Waiter:
        if callback is not None and not callable(callback):
            raise fault(TypeError, "progress_callback", "a function of a Progress", callback)
        future = PipelineFuture(run_id)
        future.keep = self
        return Waiter(future, Notifier(callback) if callback else None)
