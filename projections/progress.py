"""How far a run is, and how long it may still take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import msgspec

from ..events.machines import NEW, PipelineStatus, StepStatus
from .run import Run, StepState


class Progress(msgspec.Struct, frozen=True):
    """A run's progress. ``progress["percentage"]`` and ``.get`` work as on a dict.

    Args:
        run_id: The run.
        name: Its pipeline.
        status: Its status.
        percentage: Share of the steps that are completed or skipped, 0 to 100.
        completed_steps: Steps completed.
        total_steps: Steps in all.
        running_steps: Names of (up to 100) steps in flight, those included that are pipelines.
        failed_steps: Steps failed for good so far.
        elapsed: Seconds since the run was first claimed, until its end or now.
        estimated_remaining: Seconds still to go; None while nothing is known, 0 at the end.
    """

    run_id: str
    name: str
    status: PipelineStatus
    percentage: float
    completed_steps: int
    total_steps: int
    running_steps: tuple[str, ...]
    failed_steps: int
    elapsed: float
    estimated_remaining: float | None

    def __getitem__(self, key: str) -> Any:
        if key not in self.__struct_fields__:
            raise KeyError(key)
        return getattr(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """The field ``key``, or ``default``."""
        return self[key] if key in self.__struct_fields__ else default

    def keys(self) -> tuple[str, ...]:
        """The names of the fields."""
        return self.__struct_fields__

    def __iter__(self) -> Iterator[str]:
        return iter(self.__struct_fields__)

    def __contains__(self, key: object) -> bool:
        return key in self.__struct_fields__


def progress(run: Run, now: int, expected: Mapping[str, float] | None = None) -> Progress:
    """The progress of ``run`` at ``now`` (ns).

    Args:
        expected: Seconds that steps took in an earlier run, by name.
    """
    state = run.state
    total = len(state.steps)
    end = state.ended_at or now
    elapsed = max(0.0, (end - state.started_at) / 1e9) if state.started_at else 0.0
    finished = state.completed + state.skipped
    status = PipelineStatus(state.status) if state.status != NEW else PipelineStatus.PENDING
    moving = chain(state.running, state.delegated)
    shown = [run.graph.name(i) for i in islice(moving, 100)]
    return Progress(
        run_id=run.run_id,
        name=state.name,
        status=status,
        percentage=100.0 * finished / total if total else 100.0,
        completed_steps=state.completed,
        total_steps=total,
        running_steps=tuple(shown),
        failed_steps=len(state.failed),
        elapsed=elapsed,
        estimated_remaining=_remaining(run, status, elapsed, now, expected),
    )


def _remaining(
    run: Run,
    status: PipelineStatus,
    elapsed: float,
    now: int,
    expected: Mapping[str, float] | None,
) -> float | None:
    """With earlier durations: what is left of their sum, at the pace kept so far. Without: the
    average time a completed step has taken of the run, times the steps that are left."""
    state = run.state
    if status.finished or not state.unfinished:
        return 0.0
    if not expected:
        return elapsed / state.completed * state.unfinished if state.completed else None
    spent = left = 0.0
    usual = sum(expected.values()) / len(expected)
    for i, (definition, step) in enumerate(
        zip(run.graph.definition.steps, state.steps, strict=True)
    ):
        seconds = expected.get(definition.name, usual)
        if step.status in (StepStatus.COMPLETED, StepStatus.SKIPPED):
            spent += seconds
        elif step.status is StepStatus.RUNNING or i in state.delegated:
            done = min(seconds, max(0.0, (now - began_at(step)) / 1e9))
            spent, left = spent + done, left + seconds - done
        else:
            left += seconds
    pace = elapsed / spent if spent and elapsed else 1.0
    return left * pace


def expected_durations(run: Run) -> dict[str, float]:
    """Seconds that each completed step of a run took, by name, to foresee the next run."""
    return {
        definition.name: seconds_of(step)
        for definition, step in zip(run.graph.definition.steps, run.state.steps, strict=True)
        if step.status is StepStatus.COMPLETED
    }


def seconds_of(step: StepState) -> float:
    """Duration of a step's last attempt, and of one that is a pipeline, of all; 0 while it runs or
    when it never started."""
    if not step.started_at or step.ended_at < step.started_at:
        return 0.0
    return (step.ended_at - began_at(step)) / 1e9


def began_at(step: StepState) -> int:
    """When what a step does began."""
    return (step.first_at if step.child is not None else 0) or step.started_at
