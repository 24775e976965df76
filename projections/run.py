"""The state that decisions read: a fold over the events of one run.

Pure and total over legal histories: the same events give the same state, whether they have just
happened or are replayed, and an event that the law does not allow raises IllegalTransition. Each
event costs O(log n) and the edges of its step; the few that concern all steps (a resume, a cancel)
cost O(n).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..events import step as s
from ..events.definition import PipelineDefinition
from ..events.directory import stream_of
from ..events.errors import IllegalTransition
from ..events.machines import PIPELINE_TABLE, STEP_TABLE, PipelineStatus, StepStatus
from ..events.upcasters import Event
from .graph import Graph
from .pipeline_folds import PIPELINE_FOLDS
from .state import RunState, StepState
from .step_folds import STEP_FOLDS

FOLD = 4
"""Version of this fold; snapshots of another version are ignored."""


class Run:
    """A run's definition as a graph, and the state folded so far."""

    __slots__ = ("graph", "run_id", "saved", "state", "told")

    def __init__(self, run_id: str, definition: PipelineDefinition) -> None:
        self.run_id = run_id
        self.graph = Graph(definition)
        self.state = RunState()
        self.saved = (0, 0)
        """Version and bytes of its newest snapshot."""
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
        on_step = STEP_FOLDS.get(kind)
        if on_step is not None:
            self._apply_to_step(event, on_step, version, at)
        else:
            status = PIPELINE_TABLE.get((state.status, kind.__name__))
            if status is None:
                raise self._illegal("pipeline", state.status, event)
            state.status = status
            on_pipeline = PIPELINE_FOLDS.get(kind)
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
        undoes = step.status is StepStatus.COMPENSATING or type(event) is s.StepCompensationStarted
        if undoes != (self.state.status == PipelineStatus.ROLLING_BACK):
            raise self._illegal("pipeline", self.state.status, event)
        status = STEP_TABLE.get((step.status, type(event).__name__))
        if status is None:
            raise self._illegal(f"step {event.step!r}", step.status, event)
        if type(event) is s.StepCompensationStarted and self.state.undo[-1:] != [i]:
            raise self._illegal(f"step {event.step!r}", "not the next to be undone", event)
        starts = type(event) in _STARTS
        if (starts or step.status in _IN_FLIGHT) and event.attempt != step.attempt + starts:
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

    def has_input(self, i: int) -> bool:
        """Whether a step that depends on others has got something from one of them."""
        steps = self.state.steps
        return any(steps[j].status is StepStatus.COMPLETED for j in self.graph.dependencies[i])


_STEPS_MOVE_IN = frozenset(
    {
        PipelineStatus.RUNNING,
        PipelineStatus.PAUSING,
        PipelineStatus.STOPPING,
        PipelineStatus.CANCELLING,
        PipelineStatus.ROLLING_BACK,
    }
)
_IN_FLIGHT = (StepStatus.RUNNING, StepStatus.COMPENSATING)
_STARTS = (s.StepStarted, s.StepCompensationStarted)

__all__ = ["FOLD", "Run", "RunState", "StepState"]
