"""What several events do to a run's state: the parts that folds are made of."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from ..events.codec import Value
from ..events.machines import StepStatus
from .state import StepState

if TYPE_CHECKING:
    from .run import Run


def produced(run: Run, i: int, step: StepState, output: Value, version: int) -> None:
    """The step has an output, for those that depend on it."""
    state, graph, steps = run.state, run.graph, run.state.steps
    step.version = version
    step.output = output
    state.completed += 1
    for j in graph.dependents[i]:
        after = steps[j]
        after.remaining -= 1
        if not after.remaining and after.status is StepStatus.PENDING:
            make_ready(run, j)
    taken(run, i)


def passed_over(run: Run, i: int) -> None:
    """What follows a step that its condition skips does not wait for it. It runs with what
    its other dependencies give; without any it is skipped too, by an event of its own."""
    graph, steps = run.graph, run.state.steps
    for j in graph.dependents[i]:
        after = steps[j]
        after.remaining -= 1
        if not after.remaining and after.status is StepStatus.PENDING and run.has_input(j):
            make_ready(run, j)
    taken(run, i)


def taken(run: Run, i: int) -> None:
    """The step has taken what those before it gave."""
    for j in run.graph.dependencies[i]:
        before = run.state.steps[j]
        before.takers -= 1
        if not before.takers and run.graph.definition.steps[j].compensate is None:
            before.output = None  # its last dependent has taken it


def over(run: Run, i: int, step: StepState, at: int) -> None:
    """An attempt at the step is over."""
    step.ended_at = at
    run.state.running.pop(i, None)


def forget(step: StepState) -> None:
    """What attempts have saved for later ones; there will be none."""
    step.checkpoints.clear()
    step.waits.clear()
    step.items.clear()


def make_ready(run: Run, i: int) -> None:
    """The step may start: it queues behind those of its priority."""
    state = run.state
    state.order += 1
    heappush(state.ready, (-run.graph.definition.steps[i].priority, state.order, i))


def drop_stale(run: Run) -> None:
    """Take steps that have started off the top of the heap; below it they do no harm."""
    ready, steps = run.state.ready, run.state.steps
    while ready and steps[ready[0][2]].status is not StepStatus.PENDING:
        heappop(ready)
