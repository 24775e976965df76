"""Decisions on failures: the error that is recorded, and what follows from it."""

from __future__ import annotations

from msgspec.structs import replace

from ...events import step as s
from ...events.errors import WorkerLost
from ...events.machines import PipelineStatus, StepStatus
from ...events.upcasters import Event
from ...events.values import ErrorInfo, ErrorSeverity
from ...projections.run import Run
from . import commands as c
from . import undoing
from .admission import current, retry_policy
from .retry import retry_in

MAX_INTERRUPTIONS = 3
"""An attempt lost this often in a row fails its step: it may be what kills its owners."""


def fail(run: Run, command: c.Fail, now: int) -> list[Event]:
    """An attempt raised, or was lost with its worker."""
    if current(run, command.step, command.attempt) is None:
        return []
    if undoing.is_undone(run, command.step):
        seconds = command.duration or 0.0
        return undoing.fail(run, command.step, command.error, command.draw, now, seconds)
    lost = is_lost(command.error)
    error = _cut_off(run, command.step, command.error) if lost else command.error
    error = _answering(run, command.step, error)
    name = run.graph.name(command.step)
    event = s.StepFailed(name, command.attempt, error, command.duration, command.metrics)
    return [event, *_after_failure(run, command.step, error, command.draw, now, set())]


def time_out(run: Run, command: c.TimeOut, now: int) -> list[Event]:
    """An attempt took too long."""
    if current(run, command.step, command.attempt) is None:
        return []
    if undoing.is_undone(run, command.step):
        seconds = command.duration or 0.0
        return undoing.fail(run, command.step, command.error, command.draw, now, seconds)
    error = _answering(run, command.step, _cut_off(run, command.step, command.error))
    name = run.graph.name(command.step)
    event = s.StepTimedOut(name, command.attempt, error, command.duration)
    return [event, *_after_failure(run, command.step, error, command.draw, now, set())]


def deny(run: Run, command: c.Deny, now: int) -> list[Event]:
    """A step waits for resources that it can never have."""
    waits = run.state.steps[command.step].status is StepStatus.WAITING
    if not waits or run.state.status != PipelineStatus.RUNNING:
        return []  # a halted run asks again once it is resumed
    error = _answering(run, command.step, command.error)
    failed = s.StepFailed(run.graph.name(command.step), 0, error)  # of no attempt
    return [failed, *_after_failure(run, command.step, error, 0.0, now, set())]


def first_failure(run: Run) -> int:
    """The step of a failed run that failed first."""
    return min(run.state.failed, key=lambda i: run.state.failed[i])


def interrupted(run: Run, i: int, now: int, skipped: set[int]) -> list[Event]:
    """An attempt was lost with its owner."""
    definition, step = run.graph.definition.steps[i], run.state.steps[i]
    undone = undoing.is_undone(run, i)
    once = definition.at_most_once and not undone
    if not once and step.interruptions + 1 < MAX_INTERRUPTIONS:
        return [s.StepInterrupted(definition.name, step.attempt)]
    if once:
        told = _ONCE
    else:
        told = f"this was the {MAX_INTERRUPTIONS}rd time in a row: it may be what kills its process"
    error = ErrorInfo(
        type="semantica.pipeline.StepInterrupted",
        message=f"attempt {step.attempt} was lost with its process; {told}",
        category="worker_lost",
        severity=ErrorSeverity.HIGH,
    )
    if undone:
        return [s.StepCompensationFailed(definition.name, step.attempt, error)]
    error = _answering(run, i, error)
    failed = s.StepFailed(definition.name, step.attempt, error)
    return [failed, *_after_failure(run, i, error, 0.0, now, skipped)]


def _cut_off(run: Run, i: int, error: ErrorInfo) -> ErrorInfo:
    """The error of an attempt that did not end by itself: it may have had its effects."""
    if not run.graph.definition.steps[i].at_most_once:
        return error
    told = f"{error.message}; {_ONCE}"
    return replace(error, message=told, retryable=False)


def is_lost(error: ErrorInfo) -> bool:
    """Whether the attempt did not end by itself, but with its worker; the category of the error is
    what a handler of failures says."""
    return error.type == _WORKER_LOST


def without_once(error: ErrorInfo) -> ErrorInfo:
    """The error of an attempt as it was before it was known that the step is at_most_once."""
    bare = error.message.removesuffix(f"; {_ONCE}")
    return error if bare == error.message else replace(error, message=bare, retryable=True)


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
        policy, least = retry_policy(run, i), error.retry_after
        seconds = retry_in(policy, error.retryable, step.retries, elapsed, draw, least)
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
