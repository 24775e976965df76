"""What the events of a step do to a run's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..events import step as s
from ..events.machines import StepStatus
from . import moves
from .state import StepState

if TYPE_CHECKING:
    from .run import Run

MAX_WARNINGS = 1000
"""Of a run, from which on further ones of its steps are not kept."""


def _started(
    run: Run, event: s.StepStarted, i: int, step: StepState, version: int, at: int
) -> None:
    state = run.state
    step.attempt = event.attempt
    step.cache = event.cache
    step.started_at = at
    step.first_at = step.first_at or at
    step.done = step.total = step.message = None
    state.running[i] = event.attempt
    state.retrying.pop(i, None)
    state.waiting.pop(i, None)
    moves.drop_stale(run)


def _queued(run: Run, event: s.StepQueued, i: int, step: StepState, version: int, at: int) -> None:
    run.state.waiting[i] = version
    run.state.retrying.pop(i, None)
    moves.drop_stale(run)


def _progressed(
    run: Run, event: s.StepProgressed, i: int, step: StepState, version: int, at: int
) -> None:
    step.done, step.total, step.message = event.done, event.total, event.message


def _checkpointed(
    run: Run, event: s.StepCheckpointed, i: int, step: StepState, version: int, at: int
) -> None:
    step.checkpoints[event.key] = event.value
    step.interruptions = 0  # it gets on


def _item_completed(
    run: Run, event: s.StepItemCompleted, i: int, step: StepState, version: int, at: int
) -> None:
    step.items[event.key] = event.value
    step.interruptions = 0  # it gets on


def _item_failed(
    run: Run, event: s.StepItemFailed, i: int, step: StepState, version: int, at: int
) -> None:
    """The next attempt tries it again."""


def _yielded(
    run: Run, event: s.StepYielded, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    step.interruptions = 0
    moves.make_ready(run, i)


def _suspended(
    run: Run, event: s.StepSuspended, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    step.interruptions = 0
    step.awaits, step.signal = event.key, event.signal
    run.state.suspended[i] = event.due or 0
    if event.run is not None:
        step.child = run.state.delegated[i] = event.run
    if event.signal is not None:
        run.state.awaiting.setdefault(event.signal, []).append(i)


def _woken(run: Run, event: s.StepWoken, i: int, step: StepState, version: int, at: int) -> None:
    state = run.state
    step.ended = event.ended
    if state.delegated.pop(i, None) is None:
        step.waits[event.key] = event.value
        step.first_at += at - step.ended_at  # what it waited is no time that its retries took
    del state.suspended[i]
    if step.signal is not None:
        state.awaiting[step.signal].remove(i)
        if not state.awaiting[step.signal]:
            del state.awaiting[step.signal]
    if event.signal is not None:
        del state.signals[event.signal][0]
        if not state.signals[event.signal]:
            del state.signals[event.signal]
    step.awaits = step.signal = None
    moves.make_ready(run, i)


def _completed(
    run: Run, event: s.StepCompleted, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    moves.forget(step)
    step.error = step.ended = None
    step.interruptions = 0
    metrics = run.state.metrics
    for name, amount in event.metrics.items():
        metrics[name] = metrics.get(name, 0) + amount
    if event.warnings and len(run.state.warnings) < MAX_WARNINGS:
        who = run.graph.name(i)
        run.state.warnings += tuple(f"step {who!r}: {told}" for told in event.warnings)
    moves.produced(run, i, step, event.output, version)


def _reused(run: Run, event: s.StepReused, i: int, step: StepState, version: int, at: int) -> None:
    moves.produced(run, i, step, event.output, version)
    moves.drop_stale(run)


def _failed(
    run: Run, event: s.StepFailed | s.StepTimedOut, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    step.error = event.error
    step.ended = None
    step.interruptions = 0
    run.state.waiting.pop(i, None)
    run.state.failed[i] = version


def _retry_scheduled(
    run: Run, event: s.StepRetryScheduled, i: int, step: StepState, version: int, at: int
) -> None:
    state = run.state
    step.retries = event.retry
    del state.failed[i]
    state.retrying[i] = event.due
    state.retried += 1


def _fallback_scheduled(
    run: Run, event: s.StepFallbackScheduled, i: int, step: StepState, version: int, at: int
) -> None:
    step.fallback, step.waits = True, {}
    del run.state.failed[i]
    moves.make_ready(run, i)


def _interrupted(
    run: Run, event: s.StepInterrupted, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    step.interruptions += 1
    if step.status is StepStatus.PENDING:  # else its undoing was interrupted
        moves.make_ready(run, i)


def _skipped(
    run: Run, event: s.StepSkipped, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    step.reason = event.reason
    run.state.skipped += 1
    run.state.retrying.pop(i, None)
    if event.reason == "condition":
        step.error = None
        moves.forget(step)
        moves.passed_over(run, i)
    moves.drop_stale(run)


def _compensation_started(
    run: Run, event: s.StepCompensationStarted, i: int, step: StepState, version: int, at: int
) -> None:
    step.attempt = event.attempt
    step.started_at = at
    run.state.running[i] = event.attempt
    run.state.undo_at = 0


def _compensated(
    run: Run, event: s.StepCompensated, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    step.output = step.error = None
    step.checkpoints, step.items = {}, {}
    run.state.undo.pop()


def _compensation_failed(
    run: Run, event: s.StepCompensationFailed, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    step.error = event.error


def _compensation_retried(
    run: Run,
    event: s.StepCompensationRetryScheduled,
    i: int,
    step: StepState,
    version: int,
    at: int,
) -> None:
    moves.over(run, i, step, at)
    step.error = event.error
    step.retries = event.retry
    step.interruptions = 0
    run.state.undo_at = event.due


def _cancelled(
    run: Run, event: s.StepCancelled, i: int, step: StepState, version: int, at: int
) -> None:
    moves.over(run, i, step, at)
    step.reason = event.how
    run.state.cancelled += 1
    run.state.retrying.pop(i, None)


STEP_FOLDS: dict[type[Any], Callable[[Run, Any, int, StepState, int, int], None]] = {
    s.StepStarted: _started,
    s.StepQueued: _queued,
    s.StepProgressed: _progressed,
    s.StepCheckpointed: _checkpointed,
    s.StepItemCompleted: _item_completed,
    s.StepItemFailed: _item_failed,
    s.StepYielded: _yielded,
    s.StepSuspended: _suspended,
    s.StepWoken: _woken,
    s.StepCompleted: _completed,
    s.StepReused: _reused,
    s.StepFailed: _failed,
    s.StepTimedOut: _failed,
    s.StepRetryScheduled: _retry_scheduled,
    s.StepFallbackScheduled: _fallback_scheduled,
    s.StepInterrupted: _interrupted,
    s.StepSkipped: _skipped,
    s.StepCancelled: _cancelled,
    s.StepCompensationStarted: _compensation_started,
    s.StepCompensated: _compensated,
    s.StepCompensationFailed: _compensation_failed,
    s.StepCompensationRetryScheduled: _compensation_retried,
}
