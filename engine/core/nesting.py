"""Decisions on steps that are pipelines: a step and its run, each with a stream of its own.

The step's attempt hands its input over and is suspended; its run goes on under the same owner and
epoch. What halts the parent is asked of the run as well, and the run's end wakes the step, whose
next attempt returns the output, or raises the error, and so is answered as any other.
"""

from __future__ import annotations

from msgspec.structs import replace

from ...events import pipeline as p
from ...events import step as s
from ...events.machines import PipelineStatus, StepStatus
from ...events.upcasters import Event
from ...events.values import ErrorInfo, ErrorSeverity
from ...projections.run import Run
from . import commands as c
from .admission import current, goes_on, is_failing
from .controlling import resume
from .failing import first_failure

KEY = "pipeline"
"""The key of the wait of a step for its run."""

_HALTS = (PipelineStatus.STOPPED, PipelineStatus.PAUSED)


def delegate(run: Run, command: c.Delegate, now: int) -> list[Event]:
    """A step hands over to its run; or back, if its own run is halted meanwhile."""
    if current(run, command.step, command.attempt) is None:
        return []
    name, seconds = run.graph.name(command.step), round(command.duration, 6)
    if run.state.status == PipelineStatus.CANCELLING:
        return [s.StepCancelled(name, command.attempt, "cooperative")]
    if not goes_on(run):
        return [s.StepYielded(name, command.attempt, seconds)]
    return [s.StepSuspended(name, command.attempt, KEY, seconds, run=command.run)]


def asked(run: Run) -> c.Pause | c.Stop | c.Cancel | None:
    """What the state of a run asks of the runs of its steps."""
    match run.status:
        case PipelineStatus.CANCELLING:
            return c.Cancel()
        case PipelineStatus.STOPPING | PipelineStatus.STOPPED:
            return c.Stop()
        case PipelineStatus.RUNNING | PipelineStatus.PAUSING if is_failing(run):
            return c.Stop()
        case PipelineStatus.PAUSING | PipelineStatus.PAUSED:
            return c.Pause()
    return None


def wake(run: Run, i: int, child: Run) -> list[Event]:
    """The end of a step's run wakes the step, unless it was what the parent had asked for."""
    if run.state.delegated.get(i) != child.run_id or run.state.status not in _WAKES:
        return []
    if child.status is PipelineStatus.STOPPED:
        if isinstance(asked(run), c.Stop):
            return []
    elif not child.status.finished:
        return []
    return [s.StepWoken(run.graph.name(i), KEY, ended=end_of(child))]


_WAKES = (PipelineStatus.RUNNING, PipelineStatus.PAUSING, PipelineStatus.STOPPING)


def end_of(child: Run) -> s.ChildEnd:
    """What is to be told of a run that has ended."""
    state, graph = child.state, child.graph
    if child.status is not PipelineStatus.COMPLETED:
        return s.ChildEnd(error=_error_of(child))
    given = {graph.name(i): state.steps[i].output for i in graph.sinks}
    outputs = {name: value for name, value in given.items() if value is not None}
    return s.ChildEnd(outputs, len(graph.sinks) > 1, metrics=state.metrics)


def _error_of(child: Run) -> ErrorInfo:
    state = child.state
    if child.status is PipelineStatus.FAILED and state.cause is not None:
        if state.late:  # in the time that the step was given; another attempt gets the same
            return replace(state.cause, retryable=True)
        return _within(child, first_failure(child), state.cause)
    told = f"run {child.run_id} of this step was {child.status}"
    if child.status is PipelineStatus.STOPPED:
        told += "; when the run around it is resumed, it goes on"
    return ErrorInfo(
        type="semantica.pipeline.RunFailed",
        message=told,
        category="control",
        severity=ErrorSeverity.MEDIUM,
    )


def _within(child: Run, i: int, error: ErrorInfo) -> ErrorInfo:
    return replace(error, path=(child.graph.name(i), *error.path))


def is_resumable(child: Run) -> bool:
    """Whether another attempt at a step goes on with this run."""
    return child.status not in (
        PipelineStatus.CANCELLED,
        PipelineStatus.ROLLED_BACK,
        PipelineStatus.ROLLBACK_FAILED,
    )


def go_on(child: Run, now: int, deadline: int | None) -> list[Event]:
    """The step is tried again: its run goes on from where it failed."""
    if child.status not in (PipelineStatus.FAILED, *_HALTS):
        return []
    resumed, *rest = resume(child, c.Resume(), now)
    assert isinstance(resumed, p.PipelineResumed)  # as its state says
    return [replace(resumed, deadline=deadline), *rest]


# Undoing


def undo(child: Run) -> list[Event]:
    """The rollback of a step's run."""
    if child.status in _UNDONE:
        return [p.PipelineRollbackStarted()]
    if child.status is PipelineStatus.ROLLBACK_FAILED:
        return [p.PipelineRollbackResumed()]
    return []


_UNDONE = (
    PipelineStatus.COMPLETED,
    PipelineStatus.FAILED,
    PipelineStatus.STOPPED,
    PipelineStatus.CANCELLED,
)


def undone(run: Run, i: int, child: Run, now: int) -> list[Event]:
    """How the rollback of a step's run ended, for the step."""
    step = run.state.steps[i]
    if step.status is not StepStatus.COMPENSATING or step.child != child.run_id:
        return []
    name, seconds = run.graph.name(i), round((now - step.started_at) / 1e9, 6)
    if child.status is PipelineStatus.ROLLED_BACK:
        return [s.StepCompensated(name, step.attempt, seconds)]
    if child.status is PipelineStatus.ROLLBACK_FAILED:
        stuck = child.state.undo[-1]
        cause = child.state.steps[stuck].error
        assert cause is not None  # the fold keeps the error of every failed undo
        error = _within(child, stuck, cause)
        return [s.StepCompensationFailed(name, step.attempt, error, seconds)]
    return []
