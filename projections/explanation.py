"""Why a run, or a step, is where it is: told from its events alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from ..events import pipeline as p
from ..events import step as s
from ..events.directory import RunRow
from ..events.envelope import Envelope
from ..events.machines import PipelineStatus, StepStatus
from ..events.upcasters import to_event
from .run import Run, StepState
from .status import Report, StepReport, report

BLOCKERS = 5
"""Steps that stand in the way of one that are told."""


class Told(msgspec.Struct, frozen=True):
    """Something that happened: when (ns, UTC), by which event, in words."""

    at: int
    version: int
    type: str
    text: str


class StepStory(msgspec.Struct, frozen=True):
    """A step: where it is, why, and all that happened to it."""

    name: str
    status: str
    because: tuple[str, ...]
    history: tuple[Told, ...]


class Explanation(msgspec.Struct, frozen=True):
    """A run: where it is, why, what people and processes did with it, and its steps of note."""

    run_id: str
    name: str
    status: str
    because: tuple[str, ...]
    history: tuple[Told, ...]
    steps: tuple[StepStory, ...]


def explain(
    run: Run,
    envelopes: Iterable[Envelope],
    now: int,
    row_of: Callable[[str], RunRow | None],
    step: str | None = None,
) -> Explanation:
    """Why a run is where it is at ``now`` (ns).

    Args:
        run: Its state after these events.
        row_of: Knows other runs, which its steps may be.
        step: This one alone, whatever it did. None: those that are in motion, or that did
            something else than to run and complete.
    """
    seen = report(run, now, row_of)
    reports = {one.name: one for one in seen.steps}
    histories: dict[str, list[Told]] = {}
    of_run: list[Told] = []
    for e in envelopes:
        event: Any = to_event(e)
        told = Told(e.at, e.version, e.type, _words(event, e))
        if e.type.startswith("Step"):
            histories.setdefault(event.step, []).append(told)
        else:
            of_run.append(told)
    names = [step] if step is not None else list(_notable(run, reports))
    stories = tuple(
        StepStory(
            name,
            str(reports[name].status),
            tuple(_why_step(run, reports, name)),
            tuple(histories.get(name, ())),
        )
        for name in names
    )
    because = tuple(_why_run(run, seen))
    return Explanation(
        run.run_id, run.state.name, str(seen.status), because, tuple(of_run), stories
    )


def _notable(run: Run, reports: dict[str, StepReport]) -> Iterator[str]:
    quiet = (StepStatus.PENDING, StepStatus.SKIPPED, StepStatus.CANCELLED)
    for name, step in reports.items():
        tried = step.attempt > 1 and run.step(name).child is None
        plain = step.status is StepStatus.COMPLETED or (step.status in quiet and not step.error)
        if tried or not plain:
            yield name


# Why


def _why_run(run: Run, seen: Report) -> Iterator[str]:
    state = run.state
    waiting = [one for one in seen.steps if one.status is StepStatus.PENDING]
    match seen.status:
        case PipelineStatus.FAILED | PipelineStatus.ROLLED_BACK | PipelineStatus.ROLLBACK_FAILED:
            if state.cause is not None:
                yield str(_first_failed(run) or state.cause)
            elif state.parent is not None:
                yield f"run {state.parent.run}, of which it is a step, was rolled back"
            else:
                yield "it was cancelled, and what it had done was to be undone"
            if waiting or state.skipped:
                rest = len(waiting) + state.skipped
                yield f"{_count(rest, 'step')} did not run because of it"
        case PipelineStatus.COMPLETED:
            if state.retried:
                yield f"every step is done, after {_count(state.retried, 'retry', 'retries')}"
            else:
                yield "every step is done"
        case PipelineStatus.PENDING:
            where = f"it waits in queue {state.queue!r} for a worker"
            yield "no process has begun it yet" if state.queue is None else where
        case PipelineStatus.RUNNING | PipelineStatus.PAUSING | PipelineStatus.STOPPING:
            moving = [one for one in seen.steps if _moves(one)]
            for one in moving[:BLOCKERS]:
                yield f"step {one.name!r} {_stands(one)}"
            if len(moving) > BLOCKERS:
                yield f"and {len(moving) - BLOCKERS} more steps are in motion"
            if waiting:
                yield f"{_count(len(waiting), 'step')} will follow"
        case PipelineStatus.PAUSED | PipelineStatus.STOPPED:
            yield f"somebody asked for it; {_count(state.unfinished, 'step')} left to do"
        case PipelineStatus.CANCELLED | PipelineStatus.CANCELLING:
            late = "its deadline has passed" if state.late else "somebody cancelled it"
            yield f"{late}; {_count(state.completed, 'step')} had completed"
        case PipelineStatus.ERASED:
            yield f"it had {state.ended}, and was erased: its contents cannot be read any more"
        case PipelineStatus.ROLLING_BACK:
            yield f"{_count(len(state.undo), 'step')} left to undo"


def _first_failed(run: Run) -> str | None:
    """The failure that ended it, with its path."""
    failed = run.state.failed
    if not failed:
        return None
    i = min(failed, key=lambda one: failed[one])
    error = run.state.steps[i].error
    return None if error is None else error.of(run.graph.name(i))


def _moves(step: StepReport) -> bool:
    still = (StepStatus.PENDING, StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.CANCELLED)
    return step.status not in still and step.status is not StepStatus.FAILED


def _stands(step: StepReport) -> str:
    if step.waits_for:
        return f"waits for {step.waits_for}"
    if step.status is StepStatus.RUNNING:
        said = f", {step.message}" if step.message else ""
        return f"runs since {step.seconds:.1f} s (attempt {step.attempt}){said}"
    return "failed" if step.status is StepStatus.FAILED else f"is {step.status}"


def _why_step(run: Run, reports: dict[str, StepReport], name: str) -> Iterator[str]:
    here, state = reports[name], run.step(name)
    match here.status:
        case StepStatus.FAILED | StepStatus.COMPENSATION_FAILED:
            if state.error is not None:
                yield state.error.of(name)
                yield _no_more(run, state)
        case StepStatus.SKIPPED if state.reason == "upstream":
            yield "a step that it depends on failed"
        case StepStatus.SKIPPED:
            yield "its condition is false, or that of the steps that give its input"
        case StepStatus.CANCELLED:
            yield (
                f"its run was given up ({state.reason})" if state.reason else "its run was given up"
            )
        case StepStatus.PENDING if state.remaining:
            yield from _blockers(run, reports, name)
        case StepStatus.COMPLETED:
            many = f" in attempt {state.attempt}" if state.attempt > 1 else ""
            yield f"it completed{many}" if state.attempt else "its output was there already"
        case _:
            yield f"it {_stands(here)}"


def _no_more(run: Run, state: StepState) -> str:
    """Why there is no other attempt."""
    if state.error is not None and not state.error.retryable:
        return (
            f"another attempt does not help against an error of this kind ({state.error.category})"
        )
    if state.retries:
        return f"its retries are spent: it had {_count(state.retries, 'retry', 'retries')}"
    return "it has no retries left, or none are allowed"


def _blockers(run: Run, reports: dict[str, StepReport], name: str) -> Iterator[str]:
    """What is at the bottom of a step's waiting: the steps before it that wait for no other."""
    graph, steps = run.graph, run.state.steps
    start = graph.index[name]
    waiting, seen, found = deque([start]), {start}, []
    while waiting:
        i = waiting.popleft()
        before = [j for j in graph.dependencies[i] if steps[j].status is not StepStatus.COMPLETED]
        if not before and i != start:
            found.append(graph.name(i))
        for j in before:
            if j not in seen:
                seen.add(j)
                waiting.append(j)
    left = len(seen) - 1
    yield f"{_count(left, 'step')} before it {'is' if left == 1 else 'are'} not done"
    for blocker in found[:BLOCKERS]:
        yield f"step {blocker!r} {_stands(reports[blocker])}"
    if len(found) > BLOCKERS:
        yield f"and {len(found) - BLOCKERS} more steps are in the way"


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"


# What happened


def _words(event: Any, e: Envelope) -> str:
    """An event in words."""
    words = _WORDS.get(type(event))
    return words(event, e) if words is not None else e.type


def _started(event: s.StepStarted, e: Envelope) -> str:
    what = "the fallback began" if event.fallback else f"attempt {event.attempt} began"
    held = ", ".join(f"{amount:g} {name}" for name, amount in event.grants.items())
    return f"{what} on {event.worker} ({event.backend})" + (f", with {held}" if held else "")


def _failed(event: s.StepFailed, e: Envelope) -> str:
    if not event.attempt:
        return f"it can never start: {event.error}"
    after = f" after {event.duration:.2f} s" if event.duration is not None else ""
    again = "worth another attempt" if event.error.retryable else "not worth another attempt"
    return f"attempt {event.attempt} failed{after}: {event.error} ({event.error.category}, {again})"


def _suspended(event: s.StepSuspended, e: Envelope) -> str:
    if event.run is not None:
        return f"it goes on as run {event.run}"
    limit = f"for {(event.due - e.at) / 1e9:.1f} s" if event.due else ""
    if event.signal is None:
        return f"it sleeps {limit}"
    return f"it waits for the signal {event.signal!r}" + (f", {limit} at most" if limit else "")


def _woken(event: s.StepWoken, e: Envelope) -> str:
    if event.ended is not None:
        how = f"failed: {event.ended.error}" if event.ended.error else "completed"
        return f"its run {how}"
    return f"the signal {event.signal!r} came" if event.signal else "the time was up"


def _skipped(event: s.StepSkipped, e: Envelope) -> str:
    if event.reason == "condition":
        return f"skipped with step {event.cause!r}" if event.cause else "its condition was false"
    return f"skipped, since step {event.cause!r} failed"


def _claimed(event: p.PipelineClaimed, e: Envelope) -> str:
    return f"process {event.pid} on {event.host} took it (engine {event.owner}, {event.code})"


def _submitted(event: p.PipelineSubmitted, e: Envelope) -> str:
    whence = f", forked from run {event.forked_from}" if event.forked_from else ""
    whence += f", as step {event.parent.step!r} of run {event.parent.run}" if event.parent else ""
    where = "" if event.queue is None else f", in queue {event.queue!r}"
    return f"{e.actor} asked for it{where}{whence}"


_WORDS: dict[type[Any], Callable[[Any, Envelope], str]] = {
    p.PipelineSubmitted: _submitted,
    p.PipelineClaimed: _claimed,
    p.PipelinePauseRequested: lambda _, e: f"{e.actor} asked for a pause",
    p.PipelinePaused: lambda *_: "paused: nothing is in flight",
    p.PipelineResumed: lambda _, e: f"{e.actor} resumed it",
    p.PipelineQueued: lambda _, e: f"{e.actor} resumed it: it is in its queue again",
    p.PipelineStopRequested: lambda _, e: f"{e.actor} asked for a stop",
    p.PipelineStopped: lambda *_: "stopped",
    p.PipelineCancelRequested: lambda _, e: f"{e.actor} cancelled it",
    p.PipelineCancelled: lambda *_: "cancelled",
    p.PipelineDeadlineExceeded: lambda *_: "its deadline passed",
    p.SignalReceived: lambda event, e: f"{e.actor} sent the signal {event.name!r}",
    p.PipelineRollbackStarted: lambda event, _: f"a rollback began{_since(event.cause)}",
    p.PipelineRolledBack: lambda *_: "rolled back",
    p.PipelineRollbackFailed: lambda event, _: f"step {event.step!r} could not be undone",
    p.PipelineRollbackResumed: lambda _, e: f"{e.actor} resumed the rollback",
    p.PipelineCompleted: lambda *_: "completed",
    p.PipelineFailed: lambda event, _: f"failed{_since(event.cause)}",
    p.PipelineErased: lambda event, e: f"{e.actor} erased it: key {event.key} is destroyed",
    s.StepQueued: lambda *_: "it waits for resources",
    s.StepStarted: _started,
    s.StepProgressed: lambda event, _: (
        f"{event.done:g}"
        + (f" of {event.total:g}" if event.total else "")
        + (f": {event.message}" if event.message else "")
    ),
    s.StepCheckpointed: lambda event, _: f"checkpoint {event.key!r}",
    s.StepItemCompleted: lambda event, _: f"item {event.key!r} done",
    s.StepItemFailed: lambda event, _: f"item {event.key!r} failed: {event.error}",
    s.StepYielded: lambda event, _: f"handed back after {event.duration:.2f} s",
    s.StepSuspended: _suspended,
    s.StepWoken: _woken,
    s.StepCompleted: lambda event, _: (
        f"attempt {event.attempt} completed in {event.duration:.2f} s"
    ),
    s.StepReused: lambda event, _: f"its output is that of run {event.source}, {event.version}",
    s.StepFailed: _failed,
    s.StepTimedOut: lambda event, _: f"attempt {event.attempt} was given up: {event.error}",
    s.StepRetryScheduled: lambda event, _: f"retry {event.retry} follows after {event.delay:.2f} s",
    s.StepFallbackScheduled: lambda *_: "its fallback is to answer the error",
    s.StepInterrupted: lambda event, _: f"attempt {event.attempt} was lost with its process",
    s.StepSkipped: _skipped,
    s.StepCancelled: lambda event, _: f"attempt {event.attempt} was cancelled ({event.how})",
    s.StepCompensationStarted: lambda *_: "undoing it began",
    s.StepCompensated: lambda event, _: f"undone in {event.duration:.2f} s",
    s.StepCompensationFailed: lambda event, _: f"it could not be undone: {event.error}",
    s.StepCompensationRetryScheduled: lambda event, _: (
        f"undoing failed: {event.error}; retry {event.retry} after {event.delay:.2f} s"
    ),
}
"""Of every event of a run, what it says."""


def _since(cause: Any) -> str:
    return f": {cause}" if cause else ""
