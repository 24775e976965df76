"""Decisions on what is asked of a run as a whole."""

from __future__ import annotations

from ...events import pipeline as p
from ...events import step as s
from ...events.codec import Value
from ...events.machines import PIPELINE_TABLE, PipelineStatus
from ...events.upcasters import Event
from ...projections.run import Run
from . import commands as c
from .admission import goes_on, is_undone_inside
from .failing import interrupted


def pause(run: Run, command: c.Pause, now: int) -> list[Event]:
    """Let what runs finish and start nothing more."""
    status = run.status
    if status in (PipelineStatus.PAUSING, PipelineStatus.PAUSED):
        return []
    if status is PipelineStatus.PENDING:
        return [p.PipelinePaused()]
    return [_allowed(run, p.PipelinePauseRequested(), "paused")]


def resume(run: Run, command: c.Resume, now: int) -> list[Event]:
    """Go on; timers that stood still get new due times."""
    if run.status in (PipelineStatus.RUNNING, PipelineStatus.PENDING, PipelineStatus.ROLLING_BACK):
        return []
    if run.status is PipelineStatus.ROLLBACK_FAILED:
        return [p.PipelineRollbackResumed()]
    return [_allowed(run, _resumed(run, now), "resumed"), *_taken(run)]


def _resumed(run: Run, now: int) -> Event:
    """Its timers go on, with what was left of them."""
    state, due = run.state, {}
    alarms = {i: planned for i, planned in state.suspended.items() if planned}
    for i, planned in (*state.retrying.items(), *alarms.items()):
        # The timer stood still since the run was halted, or since it was set, if that was later.
        frozen = now - max(state.halted_at, state.steps[i].ended_at)
        due[run.graph.name(i)] = planned + max(0, frozen)
    return p.PipelineResumed(due)


def enqueue(run: Run, command: c.Enqueue, now: int) -> list[Event]:
    """Have a worker go on with it."""
    return [_allowed(run, p.PipelineQueued(), "queued")]


def signal(run: Run, command: c.Signal, now: int) -> list[Event]:
    """Keep a signal, or hand it to the step that has waited for it longest."""
    received = p.SignalReceived(command.name, command.value)
    events: list[Event] = [_allowed(run, received, "signalled")]
    if goes_on(run) and command.name not in run.state.signals:
        for i in run.state.awaiting.get(command.name, ())[:1]:
            events.append(_woken(run, i, command.name, command.value))
    return events


def _taken(run: Run) -> list[Event]:
    """Signals that came while the run was halted go to those who wait for them."""
    waiting = run.state.awaiting
    return [
        _woken(run, i, name, value)
        for name, values in run.state.signals.items()
        for i, value in zip(waiting.get(name, ()), values, strict=False)
    ]


def _woken(run: Run, i: int, signal: str, value: Value) -> Event:
    key = run.state.steps[i].awaits
    assert key is not None  # it is suspended
    return s.StepWoken(run.graph.name(i), key, signal, value)


def stop(run: Run, command: c.Stop, now: int) -> list[Event]:
    """Let what runs finish and end."""
    if run.status in (PipelineStatus.STOPPING, PipelineStatus.STOPPED):
        return []
    return [_allowed(run, p.PipelineStopRequested(), "stopped")]


def cancel(run: Run, command: c.Cancel, now: int) -> list[Event]:
    """Interrupt what runs and end for good."""
    if run.status in (PipelineStatus.CANCELLING, PipelineStatus.CANCELLED):
        return []
    return [_allowed(run, p.PipelineCancelRequested(), "cancelled")]


def expire(run: Run, command: c.Expire, now: int) -> list[Event]:
    """The deadline has come."""
    deadline = run.state.deadline
    possible = (run.state.status, "PipelineDeadlineExceeded") in PIPELINE_TABLE
    return [p.PipelineDeadlineExceeded()] if possible and deadline and now >= deadline else []


def _allowed(run: Run, event: Event, done: str) -> Event:
    if (run.state.status, type(event).__name__) not in PIPELINE_TABLE:
        raise c.Refused(
            f"run {run.run_id} ({run.state.name}) is {run.state.status} and cannot be {done}"
        )
    return event


def claim(run: Run, command: c.Claim, now: int) -> list[Event]:
    """Take the run over; what was in flight is interrupted."""
    claimed = p.PipelineClaimed(command.owner, command.host, command.pid, command.code)
    events: list[Event] = [_allowed(run, claimed, "claimed")]
    if run.status is PipelineStatus.PENDING and run.state.halted_at:  # back from its queue
        events = [_resumed(run, now), *events, *_taken(run)]
    skipped: set[int] = set()
    for i in list(run.state.running):
        if not is_undone_inside(run, i):  # else its own run is claimed
            events.extend(interrupted(run, i, now, skipped))
    return events
