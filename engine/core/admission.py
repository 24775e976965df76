"""What a run's state admits: whether it goes on, and whether another step may start."""

from __future__ import annotations

from ...events.definition import RetryPolicy
from ...events.machines import PipelineStatus, StepStatus
from ...projections.run import Run, StepState


def is_failing(run: Run) -> bool:
    """Whether a failure forbids starting anything more."""
    return bool(run.state.failed) and run.state.on_failure != "continue"


def may_start(run: Run) -> bool:
    """Whether the run admits another step in flight."""
    state = run.state
    if state.status == PipelineStatus.ROLLING_BACK:  # one after the other
        return bool(state.undo) and not state.running and not is_stuck(run)
    if not goes_on(run):
        return False
    # Who has got resources starts at once, so that those who wait for some count as well.
    cap = state.parallelism
    taken = len(state.running) + len(state.waiting) + len(state.delegated)
    return cap is None or taken < cap


def is_stuck(run: Run) -> bool:
    """Whether a rollback has come to a step that could not be undone."""
    return run.state.steps[run.state.undo[-1]].status is StepStatus.COMPENSATION_FAILED


def goes_on(run: Run) -> bool:
    """Whether the run is neither halted nor failing."""
    return run.state.status == PipelineStatus.RUNNING and not is_failing(run)


def retry_policy(run: Run, i: int) -> RetryPolicy | None:
    """The policy of a step: its own, else that of its type, else the run's."""
    step = run.graph.definition.steps[i]
    own = step.retry or run.state.policies.get(step.type)
    # The steps of a nested pipeline are retried already by what holds for all.
    return own if step.pipeline is not None else own or run.state.retry


def is_undone_inside(run: Run, i: int) -> bool:
    """Whether what undoes a step that is in flight is the rollback of its own run."""
    definition = run.graph.definition.steps[i]
    inside = definition.pipeline is not None and definition.compensate is None
    return inside and run.state.status == PipelineStatus.ROLLING_BACK


def current(run: Run, i: int, attempt: int) -> StepState | None:
    """The step, if that attempt is the one in flight; else its outcome comes too late."""
    step = run.state.steps[i]
    return step if i in run.state.running and step.attempt == attempt else None
