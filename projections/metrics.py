"""What a run cost, and what its steps counted."""

from __future__ import annotations

from typing import Any

from ..events.machines import StepStatus
from .progress import seconds_of
from .run import Run

_EXECUTED = frozenset(
    {
        StepStatus.COMPLETED,
        StepStatus.FAILED,
        StepStatus.RUNNING,
        StepStatus.SUSPENDED,
        StepStatus.COMPENSATING,
        StepStatus.COMPENSATED,
        StepStatus.COMPENSATION_FAILED,
    }
)


def metrics(run: Run, now: int) -> dict[str, Any]:
    """Figures of ``run`` at ``now`` (ns).

    Returns:
        ``total_time`` (seconds since the run was submitted), ``steps_executed steps_failed
        steps_skipped steps_retried``, ``memory_used`` (peak resident memory of the process, MiB, or
        None), ``step_durations`` (seconds of the last attempt by step name), and every counter
        that steps reported, such as ``documents_processed``.
    """
    state = run.state
    durations: dict[str, float] = {}
    executed = 0
    for definition, step in zip(run.graph.definition.steps, state.steps, strict=True):
        if step.attempt and step.ended_at:
            durations[definition.name] = seconds_of(step)
        executed += step.status in _EXECUTED
    return {
        **state.metrics,
        "total_time": ((state.ended_at or now) - state.submitted_at) / 1e9,
        "steps_executed": executed,
        "steps_failed": len(state.failed),
        "steps_skipped": state.skipped,
        "steps_retried": state.retried,
        "memory_used": state.memory,
        "step_durations": durations,
    }
