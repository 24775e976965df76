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
from ...events import step as s
from ...events.definition import RetryPolicy
from ...events.errors import WorkerLost
from ...events.machines import PIPELINE_TABLE, PipelineStatus, StepStatus
from ...events.upcasters import Event
from ...events.values import ErrorInfo, ErrorSeverity
from ...projections.run import Run, StepState
from . import commands as c
from .retry import retry_in

MAX_INTERRUPTIONS = 3
"""An attempt lost this often in a row fails its step: it may be what kills its owners."""


def decide(run: Run, command: c.Command, now: int) -> list[Event]:
    """The events that ``command`` leads to at ``now`` (ns); none when it comes too late.

    Raises:
        Refused: A control command that the run's state does not admit.
    """
    return _DECISIONS[type(command)](run, command, now)


def settle(run: Run, memory: float | None = None) -> list[Event]:
    """How the run ends or comes to rest, when nothing is in flight. ``memory`` as in the events."""
    state = run.state
    if state.running:
        return []
    match state.status:
        case PipelineStatus.CANCELLING:
            return [_too_late(run, memory)] if state.late else [p.PipelineCancelled()]
        case PipelineStatus.STOPPING:
            return [p.PipelineStopped()]
        case PipelineStatus.RUNNING | PipelineStatus.PAUSING:
            if failing(run) or not state.unfinished:
                return [_ending(run, memory)]
            if state.status == PipelineStatus.PAUSING:
                return [p.PipelinePaused()]
    return []


def _ending(run: Run, memory: float | None) -> Event:
    state = run.state
    if state.failed:
        first = min(state.failed, key=lambda i: state.failed[i])
        cause = state.steps[first].error
        assert cause is not None  # the fold keeps the error of every failed step
        cause = replace(cause, traceback=None)  # which the step's own event has
        return p.PipelineFailed(run.graph.name(first), cause, len(state.failed), memory)
    return p.PipelineCompleted(tuple(state.steps[i].version for i in run.graph.sinks), memory)


def _too_late(run: Run, memory: float | None) -> Event:
    cause = ErrorInfo(
        type="semantica.pipeline.DeadlineExceeded",
        message=f"the deadline passed with {run.state.unfinished} steps unfinished",
        category="timeout",
        severity=ErrorSeverity.HIGH,
    )
    return p.PipelineFailed("", cause, len(run.state.failed), memory)


def failing(run: Run) -> bool:
    """Whether a failure forbids starting anything more."""
    return bool(run.state.failed) and run.state.on_failure == "stop"


def may_start(run: Run) -> bool:
    """Whether the run admits another step in flight."""
    state = run.state
    if not goes_on(run):
        return False
    # Who has got resources starts at once, so that those who wait for some count as well.
    cap = state.parallelism
    return cap is None or len(state.running) + len(state.waiting) < cap


def goes_on(run: Run) -> bool:
    """Whether the run is neither halted nor failing."""
    return run.state.status == PipelineStatus.RUNNING and not failing(run)


def retry_policy(run: Run, i: int) -> RetryPolicy | None:
    """The policy of a step: its own, else that of its type, else the run's."""
    step = run.graph.definition.steps[i]
    return step.retry or run.state.policies.get(step.type) or run.state.retry


# -- control ---------------------------------------------------------------------------------


def _pause(run: Run, command: c.Pause, now: int) -> list[Event]:
    status = run.status
    if status in (PipelineStatus.PAUSING, PipelineStatus.PAUSED):
        return []
    if status is PipelineStatus.PENDING:
        return [p.PipelinePaused()]
    return [_control(run, p.PipelinePauseRequested(), "paused")]


def _resume(run: Run, command: c.Resume, now: int) -> list[Event]:
    state = run.state
    if run.status in (PipelineStatus.RUNNING, PipelineStatus.PENDING):
        return []
    due = {}
    for i, planned in state.retrying.items():
        # The timer stood still since the run was halted, or since it was set, if that was later.
        frozen = now - max(state.halted_at, state.steps[i].ended_at)
        due[run.graph.name(i)] = planned + max(0, frozen)
    return [_control(run, p.PipelineResumed(due), "resumed")]


def _stop(run: Run, command: c.Stop, now: int) -> list[Event]:
    if run.status in (PipelineStatus.STOPPING, PipelineStatus.STOPPED):
        return []
    return [_control(run, p.PipelineStopRequested(), "stopped")]


def _cancel(run: Run, command: c.Cancel, now: int) -> list[Event]:
    if run.status in (PipelineStatus.CANCELLING, PipelineStatus.CANCELLED):
        return []
    return [_control(run, p.PipelineCancelRequested(), "cancelled")]


def _expire(run: Run, command: c.Expire, now: int) -> list[Event]:
    deadline = run.state.deadline
    possible = (run.state.status, "PipelineDeadlineExceeded") in PIPELINE_TABLE
    return [p.PipelineDeadlineExceeded()] if possible and deadline and now >= deadline else []


def _control(run: Run, event: Event, done: str) -> Event:
    if (run.state.status, type(event).__name__) not in PIPELINE_TABLE:
        raise c.Refused(
            f"run {run.run_id} ({run.state.name}) is {run.state.status} and cannot be {done}"
        )
    return event


def _claim(run: Run, command: c.Claim, now: int) -> list[Event]:
    claimed = p.PipelineClaimed(command.owner, command.host, command.pid, command.code)
    events: list[Event] = [_control(run, claimed, "claimed")]
    skipped: set[int] = set()
    for i in list(run.state.running):
        events.extend(_interrupt(run, i, now, skipped))
    return events


def _interrupt(run: Run, i: int, now: int, skipped: set[int]) -> list[Event]:
    definition, step = run.graph.definition.steps[i], run.state.steps[i]
    if not definition.at_most_once and step.interruptions + 1 < MAX_INTERRUPTIONS:
        return [s.StepInterrupted(definition.name, step.attempt)]
    if definition.at_most_once:
        told = _ONCE
    else:
        told = f"this was the {MAX_INTERRUPTIONS}rd time in a row: it may be what kills its process"
    error = ErrorInfo(
        type="semantica.pipeline.StepInterrupted",
        message=f"attempt {step.attempt} was lost with its process; {told}",
        category="worker_lost",
        severity=ErrorSeverity.HIGH,
    )
    error = _answering(run, i, error)
    failed = s.StepFailed(definition.name, step.attempt, error)
    return [failed, *_after_failure(run, i, error, 0.0, now, skipped)]


# -- attempts --------------------------------------------------------------------------------


def _start(run: Run, command: c.Start, now: int) -> list[Event]:
    step = run.state.steps[command.step]
    waits = step.status is StepStatus.WAITING
    admitted = goes_on(run) if waits else may_start(run)
    if step.status not in _STARTABLE or step.remaining or not admitted:
        return []
    graph, steps = run.graph, run.state.steps
    return [
        s.StepStarted(
            graph.name(command.step),
            step.attempt + 1,
            command.worker,
            tuple([steps[j].version for j in graph.dependencies[command.step]]),
            command.backend,
            command.grants,
            command.gpus,
            step.fallback,
        )
    ]


_STARTABLE = (StepStatus.PENDING, StepStatus.RETRYING, StepStatus.WAITING)


def _queue(run: Run, command: c.Queue, now: int) -> list[Event]:
    step = run.state.steps[command.step]
    waits = step.status is StepStatus.WAITING
    if waits or step.status not in _STARTABLE or step.remaining or not may_start(run):
        return []
    return [s.StepQueued(run.graph.name(command.step))]


def _deny(run: Run, command: c.Deny, now: int) -> list[Event]:
    waits = run.state.steps[command.step].status is StepStatus.WAITING
    if not waits or run.state.status != PipelineStatus.RUNNING:
        return []  # a halted run asks again once it is resumed
    error = _answering(run, command.step, command.error)
    failed = s.StepFailed(run.graph.name(command.step), 0, error)  # of no attempt
    return [failed, *_after_failure(run, command.step, error, 0.0, now, set())]


def _skip(run: Run, command: c.Skip, now: int) -> list[Event]:
    """Skip the step, and what has no input but through it."""
    if _current(run, command.step, command.attempt) is None:
        return []
    graph, steps = run.graph, run.state.steps
    name = graph.name(command.step)
    events: list[Event] = [s.StepSkipped(name, "condition", attempt=command.attempt)]
    passed: dict[int, int] = {}
    waiting = [command.step]
    while waiting:
        i = waiting.pop()
        for j in graph.dependents[i]:
            passed[j] = passed.get(j, 0) + 1
            settled = passed[j] == steps[j].remaining and steps[j].status is StepStatus.PENDING
            if settled and not run.has_input(j):
                events.append(s.StepSkipped(graph.name(j), "condition", name))
                waiting.append(j)
    return events


def _current(run: Run, i: int, attempt: int) -> StepState | None:
    """The step, if that attempt is the one in flight; else its outcome comes too late."""
    step = run.state.steps[i]
    return step if step.status is StepStatus.RUNNING and step.attempt == attempt else None


def _complete(run: Run, command: c.Complete, now: int) -> list[Event]:
    if _current(run, command.step, command.attempt) is None:
        return []
    return [
        s.StepCompleted(
            run.graph.name(command.step),
            command.attempt,
            command.output,
            round(command.duration, 6),
            None if command.cpu is None else round(command.cpu, 6),
            command.metrics,
        )
    ]


def _fail(run: Run, command: c.Fail, now: int) -> list[Event]:
    if _current(run, command.step, command.attempt) is None:
        return []
    lost = command.error.type == _WORKER_LOST  # its category is what a handler of failures says
    error = _cut_off(run, command.step, command.error) if lost else command.error
    error = _answering(run, command.step, error)
    name = run.graph.name(command.step)
    event = s.StepFailed(name, command.attempt, error, command.duration, command.metrics)
    return [event, *_after_failure(run, command.step, error, command.draw, now, set())]


def _time_out(run: Run, command: c.TimeOut, now: int) -> list[Event]:
    if _current(run, command.step, command.attempt) is None:
        return []
    error = _answering(run, command.step, _cut_off(run, command.step, command.error))
    name = run.graph.name(command.step)
    event = s.StepTimedOut(name, command.attempt, error, command.duration)
    return [event, *_after_failure(run, command.step, error, command.draw, now, set())]


def _cut_off(run: Run, i: int, error: ErrorInfo) -> ErrorInfo:
    """The error of an attempt that did not end by itself: it may have had its effects."""
    if not run.graph.definition.steps[i].at_most_once:
        return error
    told = f"{error.message}; {_ONCE}"
    return replace(error, message=told, retryable=False)


_WORKER_LOST = f"{WorkerLost.__module__}.{WorkerLost.__qualname__}"
_ONCE = "the step is at_most_once and must not run again"


def _answering(run: Run, i: int, error: ErrorInfo) -> ErrorInfo:
    """The error of a fallback, caused by the error that it was to answer."""
    step = run.state.steps[i]
    if not step.fallback or step.error is None:
        return error
    before = step.error
    if (error.type, error.message, error.causes) == (before.type, before.message, before.causes):
        return error  # it was raised again
    kind = before.type if "." in before.type else f"builtins.{before.type}"
    chain = (f"{kind}: {before.message}", *before.causes)
    if error.causes[-len(chain) :] == chain:
        return error  # raised "from" it
    return replace(error, causes=(*error.causes, *chain))


def _after_failure(
    run: Run, i: int, error: ErrorInfo, draw: float, now: int, skipped: set[int]
) -> list[Event]:
    """A retry, or a fallback, or, if the run continues without the step, what depended on it."""
    state, step = run.state, run.state.steps[i]
    definition = run.graph.definition.steps[i]
    if not step.fallback and state.status != PipelineStatus.CANCELLING:
        elapsed = (now - (step.first_at or now)) / 1e9
        seconds = retry_in(retry_policy(run, i), error.retryable, step.retries, elapsed, draw)
        if seconds is not None:
            due = now + int(seconds * 1e9)
            return [s.StepRetryScheduled(definition.name, step.retries + 1, seconds, due)]
        if definition.type in state.fallbacks:
            return [s.StepFallbackScheduled(definition.name)]
    if state.on_failure == "continue":
        return _skip_dependents(run, i, skipped)
    return []


def _skip_dependents(run: Run, i: int, skipped: set[int]) -> list[Event]:
    """Skip what can no longer run; ``skipped`` holds what this decision has skipped already."""
    events: list[Event] = []
    cause = run.graph.name(i)
    waiting = list(run.graph.dependents[i])
    while waiting:
        j = waiting.pop()
        if j in skipped or run.state.steps[j].status is not StepStatus.PENDING:
            continue
        skipped.add(j)
        events.append(s.StepSkipped(run.graph.name(j), "upstream", cause))
        waiting.extend(run.graph.dependents[j])
    return events


def _report(run: Run, command: c.Report, now: int) -> list[Event]:
    if _current(run, command.step, command.attempt) is None:
        return []
    name = run.graph.name(command.step)
    return [s.StepProgressed(name, command.attempt, command.done, command.total, command.message)]


def _checkpoint(run: Run, command: c.Checkpoint, now: int) -> list[Event]:
    if _current(run, command.step, command.attempt) is None:
        return []
    name = run.graph.name(command.step)
    return [s.StepCheckpointed(name, command.attempt, command.key, command.value)]


def _yield(run: Run, command: c.Yield, now: int) -> list[Event]:
    if _current(run, command.step, command.attempt) is None:
        return []
    name = run.graph.name(command.step)
    return [s.StepYielded(name, command.attempt, round(command.duration, 6))]


def _cancelled(run: Run, command: c.Cancelled, now: int) -> list[Event]:
    if _current(run, command.step, command.attempt) is None:
        return []
    return [s.StepCancelled(run.graph.name(command.step), command.attempt, command.how)]


_DECISIONS: dict[type[Any], Callable[[Run, Any, int], list[Event]]] = {
    c.Pause: _pause,
    c.Resume: _resume,
    c.Stop: _stop,
    c.Cancel: _cancel,
    c.Claim: _claim,
    c.Expire: _expire,
    c.Start: _start,
    c.Queue: _queue,
    c.Deny: _deny,
    c.Skip: _skip,
    c.Complete: _complete,
    c.Fail: _fail,
    c.TimeOut: _time_out,
    c.Report: _report,
    c.Checkpoint: _checkpoint,
    c.Yield: _yield,
    c.Cancelled: _cancelled,
}
