"""What can be done to runs: the half of the engine that recovers, controls and follows them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from ..events.arguments import fault, flag, whole
from ..events.codec import encode
from ..events.errors import AppendRefused, EngineClosed
from ..events.machines import PipelineStatus
from ..events.pipeline import Origin
from ..events.retention import Vacuumed
from ..events.sealed_store import artifacts_of_run, require_key
from ..events.stub import RunArchived
from ..projections.catchup import load_run
from ..projections.progress import Progress
from . import queued
from .core import commands as c
from .live import Owner, Waiter
from .logger import logger
from .loop import Loop
from .mailbox import Message
from .model import Given, Pipeline, handlers_of
from .notify import Notifier
from .options import Options, checked_origin, deadline_at
from .queries import Queries
from .requests import Submission, beginning_of
from .result import PipelineFuture
from .submission import actor

if TYPE_CHECKING:
    from .encrypting import Erased
    from .importing import Imported

ProgressCallback = Callable[[Progress], Any]
OnFailure = Literal["stop", "continue", "rollback"]


class Controls(Queries):
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
            data, run_id, on_failure, deadline, origin, encrypt: As for :meth:`execute_pipeline`.

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

    def archive(
        self,
        *,
        older_than: float,
        to: str | os.PathLike[str] | None,
        name: str | None = None,
        statuses: Iterable[PipelineStatus | str] | None = None,
        dry_run: bool = False,
    ) -> list[RunArchived]:
        """Move finished runs to another log, and leave a stub of each, with the digest of its
        history. Of those runs nothing can be resumed, forked or taken from the cache here any more;
        their ids are not given again.

        Args:
            older_than: Seconds since they ended, at least.
            to: That log, created if need be; None: they are discarded.
            name: Only runs of this pipeline.
            statuses: Only runs that ended like this; None: all that ended, failed ones too.
            dry_run: Change nothing; only say which they are.

        Returns:
            The stubs, oldest run first. Killed on the way, do it again.

        Raises:
            LogCorrupt: A run is damaged; it stays, and those before it are archived.
            LogError: The other log cannot be used.
            TypeError, ValueError: An argument.
        """
        from . import retention

        self._catch_up()
        shared = self._open()
        return retention.archive(
            shared.store,
            older_than=older_than,
            to=to,
            name=name,
            statuses=statuses,
            dry_run=dry_run,
            actor=actor(),
            now=shared.loop.clock.now(),
        )

    def import_runs(self, path: str | os.PathLike[str], *, allow_pickle: bool = False) -> Imported:
        """Take in the runs of a file that :meth:`export_runs` wrote, unchanged: with the same
        versions and digests. All of it is checked first, and each run appears whole or not at all.
        Doing it again changes nothing; killed on the way, do it again.

        An unfinished run can then be recovered in this log too, where it executes a second time.

        Args:
            path: The file.
            allow_pickle: Take values in that are pickled, or encrypted without their key. Reading
                a pickle runs code of whoever wrote the file.

        Raises:
            LogCorrupt: The file is damaged; nothing was changed.
            LogError: It cannot be read, it has a pickle, or the log has another history of one of
                the runs; nothing was changed.
        """
        from .importing import import_runs

        self._catch_up()
        shared = self._open()
        now = shared.loop.clock.now()
        return import_runs(shared.store, Path(path), allow_pickle=allow_pickle, now=now)

    def vacuum(self, *, grace: float = 24 * 3600.0, dry_run: bool = False) -> Vacuumed:
        """Remove artifacts that nothing names any more, and give the file's free space back.

        Engines may work on the log; they cannot record anything while its file is written anew.

        Args:
            grace: Seconds that an artifact stays at least since it was put, or since a run that
                named it has left.
            dry_run: Change nothing; say what artifacts there are to remove.

        Raises:
            LogCorrupt: An artifact is damaged, so that what it names is unknown; none is removed.
            LogUnavailable: No space for a second copy of the file, or somebody else locks it.
        """
        from . import retention

        self._catch_up()
        return retention.vacuum(self._open().store, grace=grace, dry_run=dry_run)

    def erase(self, pipeline_id: str, *, dry_run: bool = False) -> Erased:
        """Destroy the key of an encrypted run: its contents, and those of the runs within it and
        of its forks, are lost in every copy of the log. Their events stay; who did it is one.

        ``dry_run``: change nothing; only say which runs these are. Killed on the way, do it again.

        Raises:
            RunNotFound, LogError: There is none, it is not encrypted, has no key, or goes on.
        """
        from .encrypting import erase

        row, now = self.find(pipeline_id), self._open().loop.clock.now()
        return erase(self._open().store, row, actor=actor(), now=now, dry_run=dry_run)

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
