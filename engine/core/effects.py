"""What a state asks for: effects are derived from it alone, so recovery is the normal path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ...events.machines import PIPELINE_TABLE, PipelineStatus, StepStatus
from ...projections.run import Run
from .admission import goes_on, is_undone_inside


class Execute(msgspec.Struct, frozen=True):
    """An attempt that should be with a worker; ``hand_back``: that should come back early, if its
    handler can."""

    step: int
    attempt: int
    hand_back: bool = False


class Interrupt(msgspec.Struct, frozen=True):
    """An attempt in flight that should be told that its run is being cancelled."""

    step: int
    attempt: int


class Wake(msgspec.Struct, frozen=True):
    """A step whose retry is due at ``due`` (ns)."""

    step: int
    due: int


class Acquire(msgspec.Struct, frozen=True):
    """A step that waits for resources, which should be asked for; ``wanted`` is False while the
    run is halted: then they are for others."""

    step: int
    wanted: bool


class Watch(msgspec.Struct, frozen=True):
    """A run that must be over by ``deadline`` (ns)."""

    deadline: int


class Alarm(msgspec.Struct, frozen=True):
    """A suspended step that should be woken at ``due`` (ns)."""

    step: int
    due: int


Effect = Execute | Interrupt | Wake | Acquire | Watch | Alarm


def outstanding(run: Run, steps: Iterable[int] | None = None) -> Iterator[Effect]:
    """The effects that the state asks for, of the given steps or of all that are in motion.

    The shell remembers what it has done already: asking for an attempt that it has handed out, or
    a timer that it has set, changes nothing.
    """
    state = run.state
    if steps is None:
        steps = [*state.running, *state.retrying, *state.waiting, *state.suspended]
        steps += state.undo[-1:]
        if state.deadline and (state.status, "PipelineDeadlineExceeded") in PIPELINE_TABLE:
            yield Watch(state.deadline)
    for i in steps:
        step = state.steps[i]
        if step.status is StepStatus.COMPENSATING:
            if not is_undone_inside(run, i):
                yield Execute(i, step.attempt)
        elif step.status is StepStatus.RUNNING:
            if state.status == PipelineStatus.CANCELLING:
                yield Interrupt(i, step.attempt)
            else:
                yield Execute(i, step.attempt, state.status != PipelineStatus.RUNNING)
        elif step.status is StepStatus.COMPLETED:
            if state.undo_at and state.undo[-1] == i:
                yield Wake(i, state.undo_at)
        elif step.status is StepStatus.RETRYING and state.status == PipelineStatus.RUNNING:
            yield Wake(i, state.retrying[i])
        elif step.status is StepStatus.WAITING:
            yield Acquire(i, goes_on(run))
        elif step.status is StepStatus.SUSPENDED:
            due = state.suspended[i]
            if due and state.status == PipelineStatus.RUNNING:
                yield Alarm(i, due)
