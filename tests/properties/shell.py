"""A small imperative shell: it plays engine, workers, clock and crashes against the pure core."""

from __future__ import annotations

from semantica.pipeline.engine.core import commands as c
from semantica.pipeline.engine.core.admission import goes_on, may_start
from semantica.pipeline.engine.core.decide import decide, settle
from semantica.pipeline.engine.core.effects import (
    Acquire,
    Alarm,
    Execute,
    Interrupt,
    Wake,
    Watch,
    outstanding,
)
from semantica.pipeline.events.definition import PipelineDefinition
from semantica.pipeline.events.machines import PIPELINE_TABLE, PipelineStatus, StepStatus
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.pipeline import PipelineSubmitted
from semantica.pipeline.events.store import Batch
from semantica.pipeline.events.upcasters import Event, to_new
from semantica.pipeline.projections.catchup import (
    from_snapshot,
    load_run,
    save_snapshot,
    take_snapshot,
)
from semantica.pipeline.projections.run import Run, StepState

RUN = "r"
COMPLETED = (
    StepStatus.COMPLETED,
    StepStatus.COMPENSATING,
    StepStatus.COMPENSATED,
    StepStatus.COMPENSATION_FAILED,
)
"""A step that has been completed, whatever became of it."""


def copy_of(run: Run) -> Run:
    """The same state, sharing nothing."""
    return from_snapshot(run.run_id, run.graph.definition, take_snapshot(run))


def is_done(step: StepState) -> bool:
    """Whether nobody waits for the step any more: what it gives is known, or that it gives none."""
    skipped = step.status is StepStatus.SKIPPED and step.reason == "condition"
    return skipped or step.status in COMPLETED


class Shell:
    """One owner of one run; after :meth:`crash` another one."""

    def __init__(self, definition: PipelineDefinition, submitted: PipelineSubmitted) -> None:
        self.store = MemoryStore()
        self.now = 1_000_000_000
        self.epoch = 0
        self.run = Run(RUN, definition)
        self.deposed: list[tuple[Run, int]] = []
        """Earlier owners: what they knew, and their epoch."""
        self.record([submitted])

    @property
    def status(self) -> PipelineStatus:
        return self.run.status

    def turn(self, command: c.Command) -> list[Event]:
        """Decide, fold, settle and commit, as the engine does in one turn."""
        events = self.fold(decide(self.run, command, self.now))
        while following := settle(self.run):
            events += self.fold(following)
        self.commit(events)
        return events

    def record(self, events: list[Event]) -> None:
        self.commit(self.fold(events))

    def fold(self, events: list[Event]) -> list[Event]:
        for event in events:
            version = self.run.state.version + 1
            self.run.apply(event, version=version, at=self.now, epoch=self.epoch)
        return list(events)

    def commit(self, events: list[Event]) -> None:
        if events:
            after = self.run.state.version - len(events)
            assert self.append(after, self.epoch, events) is None

    def append(self, after: int, epoch: int, events: list[Event]) -> object:
        new = [to_new(event) for event in events]
        return self.store.append([Batch(f"run/{RUN}", after, epoch, "shell", self.now, new)])[0]

    def crash(self) -> None:
        """Forget everything that is not in the log, and take the run over if it is anybody's."""
        self.deposed.append((load_run(self.store, RUN, snapshots=False), self.epoch))
        self.run = load_run(self.store, RUN)
        self.claim()

    def claim_if_new(self) -> None:
        if self.status is PipelineStatus.PENDING:
            self.claim()

    def claim(self) -> None:
        if (self.run.state.status, "PipelineClaimed") in PIPELINE_TABLE:
            self.epoch = self.run.state.epoch + 1
            self.turn(c.Claim(f"owner-{self.epoch}", "host", 1, "1.0"))

    def snapshot(self) -> None:
        save_snapshot(self.store, self.run)

    # -- what the state asks for -------------------------------------------------------------

    def in_flight(self) -> list[tuple[int, int]]:
        """Attempts that the core wants to be with a worker, or interrupted."""
        found = [e for e in outstanding(self.run) if isinstance(e, (Execute, Interrupt))]
        assert {e.step: e.attempt for e in found} == self.run.state.running
        return [(e.step, e.attempt) for e in found]

    def timers(self) -> list[Wake]:
        return [effect for effect in outstanding(self.run) if isinstance(effect, Wake)]

    def is_late(self) -> bool:
        """Whether the timer of the deadline fires."""
        watched = [effect for effect in outstanding(self.run) if isinstance(effect, Watch)]
        return any(effect.deadline <= self.now for effect in watched)

    def alarms(self) -> list[Alarm]:
        """Of steps that are suspended until some time."""
        return [effect for effect in outstanding(self.run) if isinstance(effect, Alarm)]

    def wanted(self) -> list[str]:
        """Signals that steps wait for, by the slow way."""
        return [step.signal for step in self.run.state.steps if step.signal is not None]

    def queued(self) -> list[int]:
        """Steps that wait for resources."""
        found = [effect for effect in outstanding(self.run) if isinstance(effect, Acquire)]
        assert all(e.wanted == (self.status is PipelineStatus.RUNNING) for e in found)
        return [effect.step for effect in found]

    def startable(self) -> list[int]:
        """Steps that a worker may be given: the first that is ready, due retries, and those that
        wait for resources, which are given to all in the end."""
        if self.status is PipelineStatus.ROLLING_BACK:
            state = self.run.state
            return state.undo[-1:] if may_start(self.run) and state.undo_at <= self.now else []
        if self.is_late():
            return []
        if not may_start(self.run):
            return self.queued() if goes_on(self.run) else []
        first = self.run.next_ready()
        due = [timer.step for timer in self.timers() if timer.due <= self.now]
        return ([] if first is None else [first]) + due + self.queued()

    def ready(self) -> list[int]:
        """Steps that could start, found the slow way."""
        graph, steps = self.run.graph, self.run.state.steps
        return [
            i
            for i, step in enumerate(steps)
            if step.status is StepStatus.PENDING
            and all(is_done(steps[j]) for j in graph.dependencies[i])
        ]
