"""Decisions on attempts: their start, what they say, and how they end, but for failures."""

from __future__ import annotations

from ...events import step as s
from ...events.codec import NONE, Value
from ...events.machines import PipelineStatus, StepStatus
from ...events.upcasters import Event
from ...projections.run import Run
from . import commands as c
from . import undoing
from .admission import current, goes_on, may_start


def start(run: Run, command: c.Start, now: int) -> list[Event]:
    """Hand a step to a worker."""
    if run.state.status == PipelineStatus.ROLLING_BACK:
        return undoing.start(run, command, now)
    step = run.state.steps[command.step]
    waits = step.status is StepStatus.WAITING
    admitted = goes_on(run) if waits else may_start(run)
    late = run.state.deadline is not None and now >= run.state.deadline
    if step.status not in _STARTABLE or step.remaining or late or not admitted:
        return []
    graph, steps = run.graph, run.state.steps
    return [
        s.StepStarted(
            graph.name(command.step),
            step.attempt + 1,
            command.worker,
            tuple([steps[j].version for j in graph.dependencies[command.step]]),
            command.backend,
            command.grants,
            command.gpus,
            step.fallback,
            command.cache,
        )
    ]


_STARTABLE = (StepStatus.PENDING, StepStatus.RETRYING, StepStatus.WAITING)


def reuse(run: Run, command: c.Reuse, now: int) -> list[Event]:
    """The same work was done before."""
    step = run.state.steps[command.step]
    if step.status is not StepStatus.PENDING or step.remaining or not may_start(run):
        return []
    name = run.graph.name(command.step)
    return [s.StepReused(name, command.output, command.source, command.version)]


def queue(run: Run, command: c.Queue, now: int) -> list[Event]:
    """Have a step wait for its resources."""
    step = run.state.steps[command.step]
    waits = step.status is StepStatus.WAITING
    if waits or step.status not in _STARTABLE or step.remaining or not may_start(run):
        return []
    return [s.StepQueued(run.graph.name(command.step))]


def skip(run: Run, command: c.Skip, now: int) -> list[Event]:
    """Skip the step, and what has no input but through it."""
    if current(run, command.step, command.attempt) is None:
        return []
    if undoing.is_undone(run, command.step):
        return [s.StepInterrupted(run.graph.name(command.step), command.attempt)]
    graph, steps = run.graph, run.state.steps
    name = graph.name(command.step)
    events: list[Event] = [s.StepSkipped(name, "condition", attempt=command.attempt)]
    passed: dict[int, int] = {}
    waiting = [command.step]
    while waiting:
        i = waiting.pop()
        for j in graph.dependents[i]:
            passed[j] = passed.get(j, 0) + 1
            settled = passed[j] == steps[j].remaining and steps[j].status is StepStatus.PENDING
            if settled and not run.has_input(j):
                events.append(s.StepSkipped(graph.name(j), "condition", name))
                waiting.append(j)
    return events


def complete(run: Run, command: c.Complete, now: int) -> list[Event]:
    """An attempt returned."""
    if current(run, command.step, command.attempt) is None:
        return []
    if undoing.is_undone(run, command.step):
        return undoing.complete(run, command)
    return [
        s.StepCompleted(
            run.graph.name(command.step),
            command.attempt,
            command.output,
            round(command.duration, 6),
            None if command.cpu is None else round(command.cpu, 6),
            command.metrics,
            run.state.steps[command.step].cache,
            command.warnings,
        )
    ]


def report(run: Run, command: c.Report, now: int) -> list[Event]:
    """An attempt says how far it is."""
    if current(run, command.step, command.attempt) is None:
        return []
    name = run.graph.name(command.step)
    return [s.StepProgressed(name, command.attempt, command.done, command.total, command.message)]


def checkpoint(run: Run, command: c.Checkpoint, now: int) -> list[Event]:
    """An attempt saves a value."""
    if current(run, command.step, command.attempt) is None:
        return []
    name = run.graph.name(command.step)
    return [s.StepCheckpointed(name, command.attempt, command.key, command.value)]


def item(run: Run, command: c.Item, now: int) -> list[Event]:
    """An item of a map is done, or failed."""
    if current(run, command.step, command.attempt) is None:
        return []
    name, outcome = run.graph.name(command.step), command.outcome
    if isinstance(outcome, Value):
        return [s.StepItemCompleted(name, command.attempt, command.key, outcome)]
    return [s.StepItemFailed(name, command.attempt, command.key, outcome)]


def hand_back(run: Run, command: c.Yield, now: int) -> list[Event]:
    """An attempt gives its step back."""
    if current(run, command.step, command.attempt) is None:
        return []
    name = run.graph.name(command.step)
    if undoing.is_undone(run, command.step):
        return [s.StepInterrupted(name, command.attempt)]
    return [s.StepYielded(name, command.attempt, round(command.duration, 6))]


def suspend(run: Run, command: c.Suspend, now: int) -> list[Event]:
    """The handler waits; a signal that has come already wakes it at once."""
    if current(run, command.step, command.attempt) is None:
        return []
    if undoing.is_undone(run, command.step):
        return undoing.fail(run, command.step, undoing.WAITS, 0.0, now, command.duration)
    name, signal = run.graph.name(command.step), command.signal
    due = None if command.seconds is None else now + int(command.seconds * 1e9)
    event = s.StepSuspended(
        name, command.attempt, command.key, round(command.duration, 6), due, signal
    )
    kept = run.state.signals.get(signal or "")
    if kept and signal not in run.state.awaiting:  # else it is for those, when the run goes on
        return [event, s.StepWoken(name, command.key, signal, kept[0])]
    return [event]


def rouse(run: Run, command: c.Rouse, now: int) -> list[Event]:
    """It is time for a suspended step, unless its alarm was set anew since."""
    step = run.state.steps[command.step]
    planned = run.state.suspended.get(command.step)
    if planned != command.due or step.awaits is None or not goes_on(run):
        return []
    # What only slept gets an empty value, so that it differs from a signal that did not come.
    value = NONE if step.signal is None else None
    return [s.StepWoken(run.graph.name(command.step), step.awaits, value=value)]


def cancelled(run: Run, command: c.Cancelled, now: int) -> list[Event]:
    """An attempt ended, or was given up, because of a cancel."""
    if current(run, command.step, command.attempt) is None:
        return []
    name = run.graph.name(command.step)
    if undoing.is_undone(run, command.step):
        return [s.StepInterrupted(name, command.attempt)]
    return [s.StepCancelled(name, command.attempt, command.how)]
