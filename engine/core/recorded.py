"""From an event that is recorded back to the command that it was decided on.

Only what began a decision has a command; what followed in the same one (a retry after a failure)
has none. Chance is found again where it counts: the jitter of a delay, in the delay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...events import pipeline as p
from ...events import step as s
from ...events.codec import NONE
from ...events.machines import PipelineStatus, StepStatus
from ...events.values import ErrorInfo
from ...projections.run import Run
from . import commands as c
from .admission import retry_policy
from .failing import is_lost, without_once
from .retry import delay


def command_of(run: Run, event: Any, at: int, after: Any, before: Run) -> c.Command | None:
    """The command behind ``event``, in the state of ``run``; None: there is none.

    Args:
        at: When it was recorded, ns.
        after: The event that follows it, which may tell the jitter; None at the end.
        before: The run as the code of then had it, for the policy of then.
    """
    if isinstance(event, p.PipelineResumed) and isinstance(after, p.PipelineClaimed):
        return _claim(after)  # from a queue, in one decision
    made = _COMMANDS.get(type(event))
    if made is not None:
        return made(run, event, at)
    i = run.graph.index.get(getattr(event, "step", None) or "")
    if i is None:
        return None
    if isinstance(event, s.StepFailed):
        if event.attempt == 0:
            return c.Deny(i, event.error)
        error, draw = _bare(before, event), _draw(before, event.step, after)
        return c.Fail(i, event.attempt, error, draw, event.duration, event.metrics)
    if isinstance(event, s.StepTimedOut):
        error, draw = _bare(before, event), _draw(before, event.step, after)
        return c.TimeOut(i, event.attempt, error, draw, event.duration)
    if isinstance(event, s.StepCompensationRetryScheduled):
        draw = _draw(before, event.step, event)
        return c.Fail(i, event.attempt, event.error, draw)
    return None


def _bare(before: Run, event: s.StepFailed | s.StepTimedOut) -> ErrorInfo:
    """The error as the decision was given it."""
    index = before.graph.index
    step = before.graph.definition.steps[index[event.step]] if event.step in index else None
    cut_off = isinstance(event, s.StepTimedOut) or is_lost(event.error)
    return without_once(event.error) if cut_off and step and step.at_most_once else event.error


def _draw(before: Run, step: str, after: Any) -> float:
    """The chance in the delay of the retry that was scheduled, in [0, 1)."""
    kinds = s.StepRetryScheduled | s.StepCompensationRetryScheduled
    if not isinstance(after, kinds) or after.step != step:
        return 0.0
    policy = retry_policy(before, before.graph.index[step])
    if policy is None or not policy.jitter:
        return 0.0
    whole = delay(policy, after.retry - 1)
    share = (1 - after.delay / whole) / policy.jitter if whole else 0.0
    return min(max(share, 0.0), 1.0)


def _on_step(
    make: Callable[[int, Any, int], c.Command],
) -> Callable[[Run, Any, int], c.Command | None]:
    def made(run: Run, event: Any, at: int) -> c.Command | None:
        i = run.graph.index.get(event.step)
        return None if i is None else make(i, event, at)

    return made


def _woken(run: Run, event: s.StepWoken, at: int) -> c.Command | None:
    i = run.graph.index.get(event.step)
    if i is None or event.signal is not None or event.ended is not None:
        return None
    return c.Rouse(i, run.state.suspended.get(i, 0))


def _suspended(i: int, event: s.StepSuspended, at: int) -> c.Command:
    if event.run is not None:
        return c.Delegate(i, event.attempt, NONE, event.duration, event.run)
    seconds = None if event.due is None else (event.due - at) / 1e9
    return c.Suspend(i, event.attempt, event.key, event.duration, seconds, event.signal)


def _claim(event: p.PipelineClaimed) -> c.Command:
    return c.Claim(event.owner, event.host, event.pid, event.code)


def _paused(run: Run, event: p.PipelinePaused, at: int) -> c.Command | None:
    return c.Pause() if run.status is PipelineStatus.PENDING else None


def _interrupted(run: Run, event: s.StepInterrupted, at: int) -> c.Command | None:
    """Undoing that was given up; of any other attempt it follows from a takeover."""
    i = run.graph.index.get(event.step)
    if i is None or run.state.steps[i].status is not StepStatus.COMPENSATING:
        return None
    return c.Yield(i, event.attempt, 0.0)


def _skipped(run: Run, event: s.StepSkipped, at: int) -> c.Command | None:
    i = run.graph.index.get(event.step)
    return None if i is None or not event.attempt else c.Skip(i, event.attempt)


_COMMANDS: dict[type[Any], Callable[[Run, Any, int], c.Command | None]] = {
    p.PipelineClaimed: lambda _, e, __: _claim(e),
    p.PipelinePauseRequested: lambda *_: c.Pause(),
    p.PipelinePaused: _paused,
    p.PipelineQueued: lambda *_: c.Enqueue(),
    p.PipelineResumed: lambda *_: c.Resume(),
    p.PipelineRollbackResumed: lambda *_: c.Resume(),
    p.PipelineStopRequested: lambda *_: c.Stop(),
    p.PipelineCancelRequested: lambda *_: c.Cancel(),
    p.SignalReceived: lambda _, e, __: c.Signal(e.name, e.value),
    p.PipelineDeadlineExceeded: lambda *_: c.Expire(),
    s.StepStarted: _on_step(
        lambda i, e, _: c.Start(i, e.worker, e.backend, e.grants, e.gpus, e.cache)
    ),
    s.StepCompensationStarted: _on_step(lambda i, e, _: c.Start(i, e.worker)),
    s.StepReused: _on_step(lambda i, e, _: c.Reuse(i, e.output, e.source, e.version)),
    s.StepQueued: _on_step(lambda i, _, __: c.Queue(i)),
    s.StepProgressed: _on_step(lambda i, e, _: c.Report(i, e.attempt, e.done, e.total, e.message)),
    s.StepCheckpointed: _on_step(lambda i, e, _: c.Checkpoint(i, e.attempt, e.key, e.value)),
    s.StepItemCompleted: _on_step(lambda i, e, _: c.Item(i, e.attempt, e.key, e.value)),
    s.StepItemFailed: _on_step(lambda i, e, _: c.Item(i, e.attempt, e.key, e.error)),
    s.StepYielded: _on_step(lambda i, e, _: c.Yield(i, e.attempt, e.duration)),
    s.StepSuspended: _on_step(_suspended),
    s.StepWoken: _woken,
    s.StepCompleted: _on_step(
        lambda i, e, _: c.Complete(i, e.attempt, e.output, e.duration, e.cpu, e.metrics, e.warnings)
    ),
    s.StepCompensated: _on_step(lambda i, e, _: c.Complete(i, e.attempt, NONE, e.duration)),
    s.StepCompensationFailed: _on_step(
        lambda i, e, _: c.Fail(i, e.attempt, e.error, 0.0, e.duration)
    ),
    s.StepCancelled: _on_step(lambda i, e, _: c.Cancelled(i, e.attempt, e.how)),
    s.StepSkipped: _skipped,
    s.StepInterrupted: _interrupted,
}
