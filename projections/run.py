"""The state that decisions read: a fold over the events of one run.

Pure and total over legal histories: the same events give the same state, whether they have just
happened or are replayed, and an event that the law does not allow raises IllegalTransition. Each
event costs O(log n) and the edges of its step; the few that concern all steps (a resume, a cancel)
cost O(n).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from ..events import pipeline as p
from ..events import step as s
from ..events.definition import PipelineDefinition
from ..events.directory import stream_of
from ..events.errors import IllegalTransition
from ..events.machines import PIPELINE_TABLE, STEP_TABLE, PipelineStatus, StepStatus
from ..events.upcasters import Event
from .graph import Graph
from .state import RunState, StepState

FOLD = 2
"""Version of this fold; snapshots of another version are ignored."""


class Run:
    """A run's definition as a graph, and the state folded so far."""

    __slots__ = ("graph", "run_id", "state", "told")

    def __init__(self, run_id: str, definition: PipelineDefinition) -> None:
        self.run_id = run_id
        self.graph = Graph(definition)
        self.state = RunState()
        self.told: deque[tuple[int, Event]] = deque(maxlen=12)
        """The last events, for the story of an IllegalTransition."""

    @property
    def stream(self) -> str:
        """Name of the run's stream."""
        return stream_of(self.run_id)

    @property
    def status(self) -> PipelineStatus:
        """The pipeline's status; raises ValueError before its first event."""
        return PipelineStatus(self.state.status)

    def step(self, name: str) -> StepState:
        """The state of a step. Raises KeyError."""
        return self.state.steps[self.graph.index[name]]

    def next_ready(self) -> int | None:
        """The step that should start first among those that are ready."""
        return self.state.ready[0][2] if self.state.ready else None

    def apply(self, event: Event, *, version: int, at: int, epoch: int) -> None:
        """Fold one event.

        Raises:
            IllegalTransition: The law does not allow it now; the state is unchanged.
        """
        kind = type(event)
        state = self.state
        if version != state.version + 1 or epoch < state.epoch:
            raise self._illegal(
                f"version {version} of epoch {epoch}",
                f"version {state.version} of epoch {state.epoch}",
                event,
            )
        on_step = _STEP_FOLDS.get(kind)
        if on_step is not None:
            self._apply_to_step(event, on_step, version, at)
        else:
            status = PIPELINE_TABLE.get((state.status, kind.__name__))
            if status is None:
                raise self._illegal("pipeline", state.status, event)
            state.status = status
            on_pipeline = _PIPELINE_FOLDS.get(kind)
            if on_pipeline is not None:
                on_pipeline(self, event, at)
        state.version = version
        state.epoch = epoch
        self.told.append((version, event))

    def _apply_to_step(
        self,
        event: Any,
        fold: Callable[[Run, Any, int, StepState, int, int], None],
        version: int,
        at: int,
    ) -> None:
        i = self.graph.index.get(event.step)
        if i is None:
            raise self._illegal(f"step {event.step!r}", "unknown", event)
        if self.state.status not in _STEPS_MOVE_IN:
            raise self._illegal("pipeline", self.state.status, event)
        step = self.state.steps[i]
        status = STEP_TABLE.get((step.status, type(event).__name__))
        if status is None:
            raise self._illegal(f"step {event.step!r}", step.status, event)
        starts = isinstance(event, s.StepStarted)
        if (starts or step.status is StepStatus.RUNNING) and event.attempt != step.attempt + starts:
            subject = f"attempt {event.attempt} of step {event.step!r}"
            raise self._illegal(subject, f"{step.status}, attempt {step.attempt}", event)
        step.status = status
        fold(self, event, i, step, version, at)

    def _illegal(self, subject: str, status: str, event: Event) -> IllegalTransition:
        name = getattr(event, "step", None)
        story = [
            f"{version} {type(past).__name__}"
            for version, past in self.told
            if name is None or getattr(past, "step", name) == name
        ]
        return IllegalTransition(self.stream, subject, status, type(event).__name__, story)

    # -- what events of the pipeline do ------------------------------------------------------

    def _submitted(self, event: p.PipelineSubmitted, at: int) -> None:
        state, graph = self.state, self.graph
        state.name = event.name
        state.data = event.data
        state.on_failure = event.on_failure
        state.priority = event.priority
        state.parallelism = event.parallelism
        state.deadline = event.deadline
        state.retry = event.retry
        state.policies = event.policies
        state.fallbacks = event.fallbacks
        state.allow_pickle = event.allow_pickle
        state.submitted_at = at
        state.steps = [
            StepState(remaining=len(before), takers=len(after))
            for before, after in zip(graph.dependencies, graph.dependents, strict=True)
        ]
        for i, step in enumerate(state.steps):
            if not step.remaining:
                self._make_ready(i)

    def _claimed(self, event: p.PipelineClaimed, at: int) -> None:
        self.state.owner = event.owner
        self.state.started_at = self.state.started_at or at

    def _halted(self, event: Event, at: int) -> None:
        self.state.halted_at = self.state.halted_at or at

    def _resumed(self, event: p.PipelineResumed, at: int) -> None:
        state = self.state
        state.halted_at = state.ended_at = 0
        state.cause = None
        if state.late:
            state.late, state.deadline = False, None  # there is no going on before it
        for i, step in enumerate(state.steps):
            if (step.status, "PipelineResumed") in STEP_TABLE and step.reason != "condition":
                self._reset(i, step)
        state.failed.clear()
        state.skipped = sum(step.status is StepStatus.SKIPPED for step in state.steps)
        state.cancelled = 0
        for name, due in event.due.items():
            state.retrying[self.graph.index[name]] = due

    def _reset(self, i: int, step: StepState) -> None:
        step.status = STEP_TABLE[step.status, "PipelineResumed"]
        step.retries = step.interruptions = step.first_at = step.ended_at = 0
        step.error = step.reason = None
        step.fallback = False
        step.done = step.total = step.message = None
        if not step.remaining:
            self._make_ready(i)

    def _deadline_exceeded(self, event: p.PipelineDeadlineExceeded, at: int) -> None:
        self._halted(event, at)
        self.state.late = True

    def _ended(self, event: p.PipelineCompleted | p.PipelineStopped, at: int) -> None:
        state = self.state
        state.ended_at = at
        state.memory = getattr(event, "memory", None)

    def _run_failed(self, event: p.PipelineFailed, at: int) -> None:
        self._halted(event, at)
        self.state.ended_at = at
        self.state.cause = event.cause
        self.state.memory = event.memory

    def _run_cancelled(self, event: p.PipelineCancelled, at: int) -> None:
        state = self.state
        state.ended_at = at
        for step in state.steps:
            status = STEP_TABLE.get((step.status, "PipelineCancelled"))
            if status is not None:
                step.status = status
                state.cancelled += 1
        state.ready.clear()
        state.retrying.clear()
        state.waiting.clear()

    # -- what events of a step do ------------------------------------------------------------

    def _started(
        self, event: s.StepStarted, i: int, step: StepState, version: int, at: int
    ) -> None:
        state = self.state
        step.attempt = event.attempt
        step.started_at = at
        step.first_at = step.first_at or at
        step.done = step.total = step.message = None
        state.running[i] = event.attempt
        state.retrying.pop(i, None)
        state.waiting.pop(i, None)
        self._drop_stale()

    def _queued(self, event: s.StepQueued, i: int, step: StepState, version: int, at: int) -> None:
        self.state.waiting[i] = version
        self.state.retrying.pop(i, None)
        self._drop_stale()

    def _progressed(
        self, event: s.StepProgressed, i: int, step: StepState, version: int, at: int
    ) -> None:
        step.done, step.total, step.message = event.done, event.total, event.message

    def _checkpointed(
        self, event: s.StepCheckpointed, i: int, step: StepState, version: int, at: int
    ) -> None:
        step.checkpoints[event.key] = event.value
        step.interruptions = 0  # it gets on

    def _yielded(
        self, event: s.StepYielded, i: int, step: StepState, version: int, at: int
    ) -> None:
        self._over(i, step, at)
        step.interruptions = 0
        self._make_ready(i)

    def _completed(
        self, event: s.StepCompleted, i: int, step: StepState, version: int, at: int
    ) -> None:
        state, graph, steps = self.state, self.graph, self.state.steps
        self._over(i, step, at)
        step.version = version
        step.output = event.output
        step.checkpoints = {}
        step.error = None
        step.interruptions = 0
        state.completed += 1
        for name, amount in event.metrics.items():
            state.metrics[name] = state.metrics.get(name, 0) + amount
        for j in graph.dependents[i]:
            after = steps[j]
            after.remaining -= 1
            if not after.remaining and after.status is StepStatus.PENDING:
                self._make_ready(j)
        self._taken(i)

    def _failed(
        self, event: s.StepFailed | s.StepTimedOut, i: int, step: StepState, version: int, at: int
    ) -> None:
        self._over(i, step, at)
        step.error = event.error
        step.interruptions = 0
        self.state.waiting.pop(i, None)
        self.state.failed[i] = version

    def _retry_scheduled(
        self, event: s.StepRetryScheduled, i: int, step: StepState, version: int, at: int
    ) -> None:
        state = self.state
        step.retries = event.retry
        del state.failed[i]
        state.retrying[i] = event.due
        state.retried += 1

    def _fallback_scheduled(
        self, event: s.StepFallbackScheduled, i: int, step: StepState, version: int, at: int
    ) -> None:
        step.fallback = True
        del self.state.failed[i]
        self._make_ready(i)

    def _interrupted(
        self, event: s.StepInterrupted, i: int, step: StepState, version: int, at: int
    ) -> None:
        self._over(i, step, at)
        step.interruptions += 1
        self._make_ready(i)

    def _skipped(
        self, event: s.StepSkipped, i: int, step: StepState, version: int, at: int
    ) -> None:
        self._over(i, step, at)
        step.reason = event.reason
        self.state.skipped += 1
        self.state.retrying.pop(i, None)
        if event.reason == "condition":
            step.error, step.checkpoints = None, {}
            self._passed_over(i)
        self._drop_stale()

    def _cancelled(
        self, event: s.StepCancelled, i: int, step: StepState, version: int, at: int
    ) -> None:
        self._over(i, step, at)
        step.reason = event.how
        self.state.cancelled += 1
        self.state.retrying.pop(i, None)

    # -- helpers -----------------------------------------------------------------------------

    def _passed_over(self, i: int) -> None:
        """What follows a step that its condition skips does not wait for it. It runs with what
        its other dependencies give; without any it is skipped too, by an event of its own."""
        graph, steps = self.graph, self.state.steps
        for j in graph.dependents[i]:
            after = steps[j]
            after.remaining -= 1
            if not after.remaining and after.status is StepStatus.PENDING and self.has_input(j):
                self._make_ready(j)
        self._taken(i)

    def has_input(self, i: int) -> bool:
        """Whether a step that depends on others has got something from one of them."""
        steps = self.state.steps
        return any(steps[j].status is StepStatus.COMPLETED for j in self.graph.dependencies[i])

    def _taken(self, i: int) -> None:
        for j in self.graph.dependencies[i]:
            before = self.state.steps[j]
            before.takers -= 1
            if not before.takers:
                before.output = None  # its last dependent has taken it

    def _over(self, i: int, step: StepState, at: int) -> None:
        step.ended_at = at
        self.state.running.pop(i, None)

    def _make_ready(self, i: int) -> None:
        state = self.state
        state.order += 1
        heappush(state.ready, (-self.graph.definition.steps[i].priority, state.order, i))

    def _drop_stale(self) -> None:
        """Take steps that have started off the top of the heap; below it they do no harm."""
        ready, steps = self.state.ready, self.state.steps
        while ready and steps[ready[0][2]].status is not StepStatus.PENDING:
            heappop(ready)


_STEPS_MOVE_IN = frozenset(
    {
        PipelineStatus.RUNNING,
        PipelineStatus.PAUSING,
        PipelineStatus.STOPPING,
        PipelineStatus.CANCELLING,
    }
)
_PIPELINE_FOLDS: dict[type[Any], Callable[[Run, Any, int], None]] = {
    p.PipelineSubmitted: Run._submitted,
    p.PipelineClaimed: Run._claimed,
    p.PipelinePauseRequested: Run._halted,
    p.PipelinePaused: Run._halted,
    p.PipelineResumed: Run._resumed,
    p.PipelineStopRequested: Run._halted,
    p.PipelineStopped: Run._ended,
    p.PipelineDeadlineExceeded: Run._deadline_exceeded,
    p.PipelineCancelled: Run._run_cancelled,
    p.PipelineCompleted: Run._ended,
    p.PipelineFailed: Run._run_failed,
}
_STEP_FOLDS: dict[type[Any], Callable[[Run, Any, int, StepState, int, int], None]] = {
    s.StepStarted: Run._started,
    s.StepQueued: Run._queued,
    s.StepProgressed: Run._progressed,
    s.StepCheckpointed: Run._checkpointed,
    s.StepYielded: Run._yielded,
    s.StepCompleted: Run._completed,
    s.StepFailed: Run._failed,
    s.StepTimedOut: Run._failed,
    s.StepRetryScheduled: Run._retry_scheduled,
    s.StepFallbackScheduled: Run._fallback_scheduled,
    s.StepInterrupted: Run._interrupted,
    s.StepSkipped: Run._skipped,
    s.StepCancelled: Run._cancelled,
}


__all__ = ["FOLD", "Run", "RunState", "StepState"]
