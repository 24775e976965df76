"""A run and its steps at a moment, and what each waits for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ..events.directory import RunRow
from ..events.machines import NEW, PipelineStatus, StepStatus
from .progress import Progress, began_at, progress, seconds_of
from .run import Run, StepState


class StepReport(msgspec.Struct, frozen=True):
    """One step of a :class:`Report`."""

    name: str
    type: str
    status: StepStatus
    attempt: int
    seconds: float
    """Duration of the last attempt, so far if it runs."""
    waits_for: str | None = None
    """Why it has not started: what it depends on, resources, a retry, a pause."""
    error: str | None = None
    done: float | None = None
    total: float | None = None
    message: str | None = None
    run_id: str | None = None
    """The run that it is, or was at last, if it is a pipeline."""


class Report(msgspec.Struct, frozen=True):
    """A run as ``status`` shows it."""

    run_id: str
    name: str
    status: PipelineStatus
    drained: bool
    """Nothing is in flight."""
    owner: str | None
    progress: Progress
    steps: tuple[StepReport, ...]
    error: str | None = None
    parent: str | None = None
    """The run that it is a step of."""
    queue: str | None = None
    """Where workers find it."""
    encoding: str = "json"
    """How it is recorded; names the key of an encrypted run."""
    ended: str | None = None
    """How it had ended before it was erased."""


def report(run: Run, now: int, row_of: Callable[[str], RunRow | None]) -> Report:
    """The run at ``now`` (ns); ``row_of`` knows the other runs, which steps of it may be."""
    state = run.state
    steps = tuple(_step(run, i, step, now, row_of) for i, step in enumerate(state.steps))
    return Report(
        run_id=run.run_id,
        name=state.name,
        status=run.status if state.status != NEW else PipelineStatus.PENDING,
        drained=not state.running,
        owner=state.owner,
        progress=progress(run, now),
        steps=steps,
        error=str(state.cause) if state.cause else None,
        parent=state.parent.run if state.parent else None,
        queue=state.queue,
        encoding=state.encoding,
        ended=state.ended,
    )


def _step(
    run: Run, i: int, step: StepState, now: int, row_of: Callable[[str], RunRow | None]
) -> StepReport:
    definition = run.graph.definition.steps[i]
    if i in run.state.delegated:
        waits_for: str | None = _run(run.state.delegated[i], row_of)
    else:
        waits_for = _waits_for(run, i, step, now)
    running = step.status is StepStatus.RUNNING or i in run.state.delegated
    return StepReport(
        name=definition.name,
        type=definition.type,
        status=step.status,
        attempt=step.attempt,
        seconds=max(0.0, (now - began_at(step)) / 1e9) if running else seconds_of(step),
        waits_for=waits_for,
        error=str(step.error) if step.error else None,
        done=step.done,
        total=step.total,
        message=step.message,
        run_id=step.child,
    )


def _waits_for(run: Run, i: int, step: StepState, now: int) -> str | None:
    state, graph = run.state, run.graph
    if step.status is StepStatus.RETRYING:
        if state.halted_at:
            return f"retry {step.retries}, once the run goes on"
        return f"retry {step.retries} in {max(0.0, (state.retrying[i] - now) / 1e9):.1f} s"
    if step.status is StepStatus.WAITING:
        return f"resources: {amounts(graph.definition.steps[i].resources)}"
    if step.status is StepStatus.SUSPENDED:
        return _suspended_for(run, i, step, now)
    if state.undo_at and state.undo[-1] == i:
        return f"another try at undoing it in {max(0.0, (state.undo_at - now) / 1e9):.1f} s"
    if step.status is not StepStatus.PENDING:
        return None
    if step.remaining:
        first = next(j for j in graph.dependencies[i] if not _is_done(state.steps[j]))
        more = f" and {step.remaining - 1} more" if step.remaining > 1 else ""
        return f"step {graph.name(first)!r}{more}"
    if state.status == PipelineStatus.PENDING:
        return "a worker to claim the run"
    if state.halted_at:
        return "the run to go on"
    return "a free worker for its fallback" if step.fallback else "a free worker"


def _run(run_id: str, row_of: Callable[[str], RunRow | None]) -> str:
    """What a step that is a pipeline waits for."""
    row = row_of(run_id)
    return f"run {run_id}" + (f" ({row.name}), which is {row.status}" if row else "")


def _suspended_for(run: Run, i: int, step: StepState, now: int) -> str:
    due = run.state.suspended[i]
    if run.state.halted_at:
        left = "once the run goes on"
    else:
        left = f"in {max(0.0, (due - now) / 1e9):.0f} s" if due else ""
    if step.signal is None:
        return f"its alarm {left}"
    return f"the signal {step.signal!r}" + (f", at most until its alarm {left}" if due else "")


def _is_done(step: StepState) -> bool:
    skipped = step.status is StepStatus.SKIPPED and step.reason == "condition"
    return skipped or step.status is StepStatus.COMPLETED


def amounts(resources: Mapping[str, float]) -> str:
    """Resources as text, such as ``4 cpu, 16 memory``; of none: the rate of its type is limited."""
    listing = ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
    return listing or "a start, since those of its type are limited"
