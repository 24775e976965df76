"""Decisions on a rollback: completed steps are undone one by one, the last one first."""

from __future__ import annotations

from ...events import pipeline as p
from ...events import step as s
from ...events.machines import StepStatus
from ...events.upcasters import Event
from ...events.values import ErrorInfo, ErrorSeverity
from ...projections.run import Run
from . import commands as c
from .admission import is_stuck, may_start, retry_policy
from .retry import retry_in

WAITS = ErrorInfo(
    type="RuntimeError",
    message="what undoes a step cannot sleep or wait for a signal",
    category="programming",
    severity=ErrorSeverity.HIGH,
)


def is_undone(run: Run, i: int) -> bool:
    """Whether what is in flight at a step undoes it."""
    return run.state.steps[i].status is StepStatus.COMPENSATING


def start(run: Run, command: c.Start, now: int) -> list[Event]:
    """Hand the next step to be undone to a worker."""
    state = run.state
    if not may_start(run) or state.undo[-1] != command.step or state.undo_at > now:
        return []
    attempt = state.steps[command.step].attempt + 1
    return [s.StepCompensationStarted(run.graph.name(command.step), attempt, command.worker)]


def complete(run: Run, command: c.Complete) -> list[Event]:
    """It is undone."""
    name = run.graph.name(command.step)
    return [s.StepCompensated(name, command.attempt, round(command.duration, 6))]


def fail(run: Run, i: int, error: ErrorInfo, draw: float, now: int, seconds: float) -> list[Event]:
    """It could not be undone: it is tried again, or the rollback fails. ``seconds`` it took."""
    step, name = run.state.steps[i], run.graph.name(i)
    elapsed = (now - step.started_at) / 1e9
    policy, least = retry_policy(run, i), error.retry_after
    delay = retry_in(policy, error.retryable, step.retries, elapsed, draw, least)
    if delay is None:
        return [s.StepCompensationFailed(name, step.attempt, error, round(seconds, 6))]
    due, number = now + int(delay * 1e9), step.retries + 1
    return [s.StepCompensationRetryScheduled(name, step.attempt, error, number, delay, due)]


def settle(run: Run) -> list[Event]:
    """How a rollback ends, when nothing is in flight."""
    state = run.state
    if not state.undo:
        return [p.PipelineRolledBack()]
    if not is_stuck(run):
        return []
    i = state.undo[-1]
    cause = state.steps[i].error
    assert cause is not None  # the fold keeps the error of every failed undo
    return [p.PipelineRollbackFailed(run.graph.name(i), cause)]
