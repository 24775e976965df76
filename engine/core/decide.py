"""The decisions: which events a command leads to, in a given state.

Pure: no clock, no chance, no I/O. ``decide`` answers a command; ``settle`` says what follows from
the state alone once nothing is in flight. Whatever they return is allowed by the law, since every
branch asks the same state that the fold keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from ...events import pipeline as p
from ...events.machines import PipelineStatus
from ...events.upcasters import Event
from ...events.values import ErrorInfo, ErrorSeverity
from ...projections.run import Run
from . import attempting, controlling, failing, nesting, undoing
from . import commands as c
from .admission import is_failing


def decide(run: Run, command: c.Command, now: int) -> list[Event]:
    """The events that ``command`` leads to at ``now`` (ns); none when it comes too late.

    Raises:
        Refused: A control command that the run's state does not admit.
    """
    return _DECISIONS[type(command)](run, command, now)


def settle(run: Run, *, drained: bool = True) -> list[Event]:
    """How the run ends or comes to rest, when nothing is in flight.

    Args:
        drained: Whether the runs of its steps have come to rest, if the run's state asks for that.
    """
    state = run.state
    if state.running or not drained:
        return []
    match state.status:
        case PipelineStatus.CANCELLING:
            return [_given_up(run)]
        case PipelineStatus.ROLLING_BACK:
            return undoing.settle(run)
        case PipelineStatus.STOPPING:
            return [p.PipelineStopped()]
        case PipelineStatus.RUNNING | PipelineStatus.PAUSING:
            if is_failing(run) or not state.unfinished:
                return [_ending(run)]
            if state.status == PipelineStatus.PAUSING:
                return [p.PipelinePaused()]
    return []


def _ending(run: Run) -> Event:
    state = run.state
    if state.failed:
        first = failing.first_failure(run)
        cause = state.steps[first].error
        assert cause is not None  # the fold keeps the error of every failed step
        cause = replace(cause, traceback=None)  # which the step's own event has
        if state.on_failure == "rollback":
            return p.PipelineRollbackStarted(run.graph.name(first), cause)
        return p.PipelineFailed(run.graph.name(first), cause, len(state.failed))
    return p.PipelineCompleted(tuple(state.steps[i].version for i in run.graph.sinks))


def _given_up(run: Run) -> Event:
    """The end of a run that was cancelled, or too late."""
    cause = _too_late(run) if run.state.late else None
    if run.state.on_failure == "rollback":
        return p.PipelineRollbackStarted(cause=cause)
    if cause is None:
        return p.PipelineCancelled()
    return p.PipelineFailed("", cause, len(run.state.failed))


def _too_late(run: Run) -> ErrorInfo:
    left = len(run.state.steps) - run.state.completed - run.state.skipped
    return ErrorInfo(
        type="semantica.pipeline.DeadlineExceeded",
        message=f"the deadline passed with {left} steps unfinished",
        category="timeout",
        severity=ErrorSeverity.HIGH,
    )


_DECISIONS: dict[type[Any], Callable[[Run, Any, int], list[Event]]] = {
    c.Pause: controlling.pause,
    c.Resume: controlling.resume,
    c.Stop: controlling.stop,
    c.Cancel: controlling.cancel,
    c.Signal: controlling.signal,
    c.Enqueue: controlling.enqueue,
    c.Claim: controlling.claim,
    c.Expire: controlling.expire,
    c.Start: attempting.start,
    c.Reuse: attempting.reuse,
    c.Queue: attempting.queue,
    c.Deny: failing.deny,
    c.Skip: attempting.skip,
    c.Complete: attempting.complete,
    c.Fail: failing.fail,
    c.TimeOut: failing.time_out,
    c.Report: attempting.report,
    c.Checkpoint: attempting.checkpoint,
    c.Item: attempting.item,
    c.Yield: attempting.hand_back,
    c.Suspend: attempting.suspend,
    c.Delegate: nesting.delegate,
    c.Rouse: attempting.rouse,
    c.Cancelled: attempting.cancelled,
}
