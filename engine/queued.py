"""Runs in queues, as whoever submits and controls them sees them: nobody executes them, so what
happens to them is appended at once, behind the version that was seen."""

from __future__ import annotations

from collections.abc import Iterable

from ..events.errors import PipelineValidationError, RunConflict
from ..events.machines import PipelineStatus
from ..events.retention import not_here
from ..events.sealed_store import new_events
from ..events.store import Batch, Store
from ..events.upcasters import Event
from ..projections.run import Run
from .core import commands as c
from .core.decide import decide, settle
from .findings import Finding
from .requests import Submission, beginning_of, check_same

DEFAULT_QUEUE = "default"


def checked_queue(queue: str) -> str:
    """The name of a queue. Raises ValueError."""
    if not isinstance(queue, str) or not 0 < len(queue) <= 200 or not queue.isprintable():
        raise ValueError(f"the name of a queue is 1 to 200 printable characters, not {queue!r}")
    return queue


def refuse_lost(name: str, warnings: Iterable[Finding]) -> None:
    """Raise PipelineValidationError, if a pipeline needs what only this process has."""
    lost = [one for one in warnings if one.code.startswith(("unrecoverable_", "main_"))]
    if lost:
        raise PipelineValidationError(name, lost)


def enqueue(store: Store, submission: Submission, now: int) -> None:
    """Record a run that nobody executes yet; nothing, if the same one is there.

    Raises:
        RunConflict: Its id exists with another definition or input, or as a step of another run.
        ArchivedRun: It has left the log.
    """
    run = Run(submission.run_id, submission.definition)
    if submission.given and _is_there(store, submission, run.stream):
        return
    events = new_events(store, submission.event.encoding, [submission.event])
    batch = Batch(run.stream, 0, 0, submission.actor, now, events)
    (refusal,) = store.append([batch])
    if refusal is not None and not _is_there(store, submission, run.stream):
        raise refusal


def _is_there(store: Store, submission: Submission, stream: str) -> bool:
    row = store.run(submission.run_id)
    if row is None:
        if store.archived(submission.run_id):
            raise not_here(store, submission.run_id)
        return False
    if row.parent is not None:
        raise RunConflict(f"run {row.run_id} is a step of run {row.parent}; choose another run_id")
    check_same(beginning_of(store, stream), submission)
    return True


def concerns_queue(run: Run, command: c.Command) -> bool:
    """Whether a command for a run that nobody holds is about its place in a queue: no process has
    to take it for that. A resumed run goes on where a worker finds it."""
    state = run.state
    if state.queue is None or run.status.active:
        return False
    if run.status is PipelineStatus.PENDING:
        return True
    resumable = (PipelineStatus.PAUSED, PipelineStatus.STOPPED, PipelineStatus.FAILED)
    if isinstance(command, c.Resume):
        return run.status in resumable
    return not state.started_at


def follow(run: Run, command: c.Command, now: int) -> list[Event]:
    """What a command leads to, and what follows from it, folded into ``run``.

    Raises:
        Refused: The run's state does not admit it.
    """
    resumed = isinstance(command, c.Resume) and run.status is not PipelineStatus.PENDING
    events = decide(run, c.Enqueue() if resumed else command, now)
    made: list[Event] = []
    while events:
        for event in events:
            run.apply(event, version=run.state.version + 1, at=now, epoch=run.state.epoch)
        made += events
        events = settle(run)
    return made


def apply(store: Store, run: Run, command: c.Command, actor: str, now: int) -> bool:
    """Record what a command leads to for a run that nobody holds; whether that is anything.

    Raises:
        Refused: The run's state does not admit it.
        AppendRefused: Somebody was faster; ask again.
    """
    after, epoch = run.state.version, run.state.epoch
    events = follow(run, command, now)
    if events:
        new = new_events(store, run.state.encoding, events)
        batch = Batch(run.stream, after, epoch, actor, now, new)
        (refusal,) = store.append([batch])
        if refusal is not None:
            raise refusal
    return bool(events)
