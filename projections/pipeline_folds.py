"""What the events of a pipeline do to a run's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..events import pipeline as p
from ..events.definition import StepDefinition
from ..events.machines import STEP_TABLE, StepStatus
from ..events.upcasters import Event
from . import moves
from .state import StepState

if TYPE_CHECKING:
    from .run import Run


def _submitted(run: Run, event: p.PipelineSubmitted, at: int) -> None:
    state, graph = run.state, run.graph
    state.name = event.name
    state.data = event.data
    state.on_failure = event.on_failure
    state.priority = event.priority
    state.parallelism = event.parallelism
    state.deadline = event.deadline
    state.retry = event.retry
    state.policies = event.policies
    state.fallbacks = event.fallbacks
    state.allow_pickle = event.allow_pickle
    state.warnings = event.warnings
    state.parent = event.parent
    state.queue = event.queue
    state.encoding = event.encoding
    state.submitted_at = at
    state.steps = [
        StepState(remaining=len(before), takers=len(after))
        for before, after in zip(graph.dependencies, graph.dependents, strict=True)
    ]
    for i, step in enumerate(state.steps):
        if not step.remaining:
            moves.make_ready(run, i)


def _claimed(run: Run, event: p.PipelineClaimed, at: int) -> None:
    run.state.owner = event.owner
    run.state.started_at = run.state.started_at or at


def _halted(run: Run, event: Event, at: int) -> None:
    run.state.halted_at = run.state.halted_at or at


def _queued(run: Run, event: p.PipelineQueued, at: int) -> None:
    run.state.ended_at = 0
    _forget_cause(run)


def _forget_cause(run: Run) -> None:
    state = run.state
    state.cause = None
    if state.late:
        state.late, state.deadline = False, None  # there is no going on before it


def _resumed(run: Run, event: p.PipelineResumed, at: int) -> None:
    state = run.state
    state.halted_at = state.ended_at = 0
    _forget_cause(run)
    state.deadline = event.deadline or state.deadline
    for i, step in enumerate(state.steps):
        if (step.status, "PipelineResumed") in STEP_TABLE and step.reason != "condition":
            _reset(run, i, step)
    state.failed.clear()
    state.skipped = sum(step.status is StepStatus.SKIPPED for step in state.steps)
    state.cancelled = 0
    for name, due in event.due.items():
        i = run.graph.index[name]
        (state.suspended if i in state.suspended else state.retrying)[i] = due


def _reset(run: Run, i: int, step: StepState) -> None:
    step.status = STEP_TABLE[step.status, "PipelineResumed"]
    step.retries = step.interruptions = step.first_at = step.ended_at = 0
    step.error = step.reason = None
    step.fallback = False
    last = next(reversed(step.waits), None)
    if last is not None and step.waits[last] is None:
        del step.waits[last]  # the signal that did not come may come this time
    step.done = step.total = step.message = None
    if not step.remaining:
        moves.make_ready(run, i)


def _rolling_back(run: Run, event: p.PipelineRollbackStarted, at: int) -> None:
    state, steps = run.state, run.graph.definition.steps
    _give_up(run, event)
    state.halted_at = state.halted_at or at
    state.ended_at = 0  # of a run that is a step, which had ended by itself
    state.cause = event.cause or state.cause
    state.undo = sorted(
        (i for i, step in enumerate(steps) if _is_undone(step, state.steps[i])),
        key=lambda i: state.steps[i].version or run.state.version,  # what is not done, first
    )
    for i in state.undo:
        state.steps[i].retries = state.steps[i].interruptions = 0


def _is_undone(definition: StepDefinition, step: StepState) -> bool:
    """Whether there is something to undo; a nested pipeline may have done a part of its work."""
    if definition.compensate is None and definition.pipeline is not None:
        begun = step.child is not None and step.status is not StepStatus.SKIPPED
        return begun and definition.pipeline.compensates
    return definition.compensate is not None and step.status is StepStatus.COMPLETED


def _rollback_failed(run: Run, event: p.PipelineRollbackFailed, at: int) -> None:
    run.state.ended_at = at


def _rollback_resumed(run: Run, event: p.PipelineRollbackResumed, at: int) -> None:
    run.state.ended_at = 0
    for step in run.state.steps:
        if (step.status, "PipelineRollbackResumed") in STEP_TABLE:
            step.status = STEP_TABLE[step.status, "PipelineRollbackResumed"]
            step.retries = step.interruptions = 0


def _signalled(run: Run, event: p.SignalReceived, at: int) -> None:
    run.state.signals.setdefault(event.name, []).append(event.value)


def _deadline_exceeded(run: Run, event: p.PipelineDeadlineExceeded, at: int) -> None:
    _halted(run, event, at)
    run.state.late = True


def _ended(
    run: Run, event: p.PipelineCompleted | p.PipelineStopped | p.PipelineRolledBack, at: int
) -> None:
    state = run.state
    state.ended_at = at
    state.memory = getattr(event, "memory", None)


def _run_failed(run: Run, event: p.PipelineFailed, at: int) -> None:
    _halted(run, event, at)
    run.state.ended_at = at
    run.state.cause = event.cause
    run.state.memory = event.memory


def _run_cancelled(run: Run, event: p.PipelineCancelled, at: int) -> None:
    run.state.ended_at = at
    _give_up(run, event)


def _give_up(run: Run, event: p.PipelineCancelled | p.PipelineRollbackStarted) -> None:
    """What is not done never will be."""
    state = run.state
    for step in state.steps:
        status = STEP_TABLE.get((step.status, type(event).__name__))
        if status is not None:
            step.status = status
            step.awaits = step.signal = None
            state.cancelled += 1
    state.ready.clear()
    state.retrying.clear()
    state.waiting.clear()
    state.suspended.clear()
    state.delegated.clear()
    state.awaiting.clear()


def _erased(run: Run, event: p.PipelineErased, at: int) -> None:
    run.state.ended = event.ended


PIPELINE_FOLDS: dict[type[Any], Callable[[Run, Any, int], None]] = {
    p.PipelineSubmitted: _submitted,
    p.PipelineClaimed: _claimed,
    p.PipelinePauseRequested: _halted,
    p.PipelinePaused: _halted,
    p.PipelineResumed: _resumed,
    p.PipelineQueued: _queued,
    p.PipelineStopRequested: _halted,
    p.PipelineStopped: _ended,
    p.PipelineRollbackStarted: _rolling_back,
    p.PipelineRolledBack: _ended,
    p.PipelineRollbackFailed: _rollback_failed,
    p.PipelineRollbackResumed: _rollback_resumed,
    p.SignalReceived: _signalled,
    p.PipelineDeadlineExceeded: _deadline_exceeded,
    p.PipelineCancelled: _run_cancelled,
    p.PipelineCompleted: _ended,
    p.PipelineFailed: _run_failed,
    p.PipelineErased: _erased,
}
