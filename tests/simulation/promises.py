"""What is promised of every history, checked event by event as it grows.

The reading of :mod:`properties.history`, and what it does not know: waits, signals, deadlines,
rollbacks, and the data that steps get.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from properties.ledger import Ledger
from simulation.reading import History

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import resource as r
from semantica.pipeline.events import step as s
from semantica.pipeline.events.codec import Value
from semantica.pipeline.events.definition import PipelineDefinition
from semantica.pipeline.events.envelope import GENESIS, Envelope, NewEvent, chain
from semantica.pipeline.events.machines import PIPELINE_TABLE
from semantica.pipeline.events.upcasters import Event, to_event
from semantica.pipeline.projections.run import Run

AT_REST = [
    "pending",
    "paused",
    "stopped",
    "completed",
    "failed",
    "cancelled",
    "rolled_back",
    "rollback_failed",
]
SAYINGS = (s.StepProgressed, s.StepCheckpointed, s.StepItemCompleted, s.StepItemFailed)


class Chronicle(History):
    """A run's history, read as it is written; and the state that replaying it gives."""

    def __init__(self, run_id: str, definition: PipelineDefinition, first: Envelope) -> None:
        submitted = to_event(first)
        assert isinstance(submitted, p.PipelineSubmitted)
        super().__init__(definition, submitted)
        self.run = Run(run_id, definition)
        """Replayed."""
        self.digest = GENESIS
        self.actors: set[str] = set()
        self.senders: set[str] = set()
        """Of signals: each of them sends one."""
        self.statuses: set[str] = set()
        self.deadline = submitted.deadline
        self.late = False
        self.started: dict[tuple[str, int], tuple[int, Any]] = {}
        """Epoch of every attempt, and its inputs as they are recorded."""
        self.outputs: dict[str, tuple[int, Value]] = {}
        self.checkpoints: dict[tuple[str, str], Value] = {}
        self.items: set[tuple[str, str]] = set()
        self.received: dict[str, list[Value]] = defaultdict(list)
        self.suspended: dict[str, s.StepSuspended] = {}
        self.alarms: dict[str, tuple[int, int]] = {}
        self.cancelled: set[str] = set()
        self.undone: set[str] = set()
        self.begun: set[str] = set()
        """Steps that are pipelines, whose runs have begun."""

    def follow(self, envelopes: list[Envelope]) -> None:
        """Read what is new."""
        for envelope in envelopes:
            told = NewEvent(
                envelope.type, envelope.schema, envelope.payload, encoding=envelope.encoding
            )
            self.digest = chain(
                self.digest, envelope.stream, envelope.version, envelope.at, envelope.actor,
                envelope.epoch, told,
            )  # fmt: skip
            assert self.digest == envelope.digest, "the chain of digests is broken"
            event = to_event(envelope)
            self.actors.add(envelope.actor)
            if isinstance(event, p.SignalReceived):
                assert envelope.actor not in self.senders, "a signal was received twice"
                self.senders.add(envelope.actor)
            self._look(event, envelope)
            self.run.apply(event, version=envelope.version, at=envelope.at, epoch=envelope.epoch)
            self.statuses.add(str(self.run.status))
            assert self.status == self.run.status

    def _look(self, event: Event, envelope: Envelope) -> None:
        mine = _MINE.get(type(event))
        if mine is None:
            self.read((envelope,))
            return
        assert envelope.version == self.version + 1, "versions have no gaps"
        assert envelope.epoch >= self.epoch, "epochs only rise"
        self.version, self.epoch = envelope.version, envelope.epoch
        mine(self, event, envelope.at)

    # -- the run -----------------------------------------------------------------------------

    def _moved(self, event: Event, envelope: Envelope) -> None:
        if isinstance(event, p.PipelineClaimed):
            # It comes with the submission, or with the undoing of a step's run that had ended.
            first = envelope.version == 2 or self.status == "rolling_back"
            state = self.run.state
            taken = envelope.epoch > state.epoch or (first and event.owner != state.owner)
            assert taken, "a claim raises the epoch"
        if isinstance(event, p.PipelineDeadlineExceeded):
            assert self.deadline is not None and envelope.at >= self.deadline
            self.late = True
        if isinstance(event, p.PipelineFailed) and not event.step:
            assert self.late, "no step failed, and it was in time"
            self.failed.setdefault("", event.cause)  # for what is asked of every failed run
            self.falling.add("")
            self.steps[""] = next(iter(self.steps.values()))
        if isinstance(event, p.PipelineFailed) and self.late:
            self.status = PIPELINE_TABLE[self.status, envelope.type]
            self.halted = self.halted or envelope.at
        else:
            super()._moved(event, envelope)
        self.steps.pop("", None)
        self.failed.pop("", None)
        if self.status in AT_REST:
            assert not self.in_flight, f"{self.status} with {self.in_flight} in flight"
        if isinstance(event, p.PipelineRolledBack):
            assert self._to_undo() == self.undone, "what was done is undone"

    def _resumed(self, event: p.PipelineResumed, at: int) -> None:
        assert set(event.due) == set(self.timers) | set(self.alarms)
        for step, due in event.due.items():
            timers = self.timers if step in self.timers else self.alarms
            before, since = timers[step]
            frozen = max(0, at - max(self.halted, since))  # none if the clock was set back
            assert due == before + frozen, "a timer stands still while the run does"
            timers[step] = due, since
        if self.late:
            self.late, self.deadline = False, None
        self.deadline = event.deadline or self.deadline
        for step in (*self.failed, *self.cancelled):
            self.retries.pop(step, None)
            self.falling.discard(step)
        self.failed.clear()
        self.cancelled.clear()
        self.lost.clear()
        self.halted = 0

    def _signalled(self, event: p.SignalReceived, at: int) -> None:
        assert (self.status, "SignalReceived") in PIPELINE_TABLE
        self.received[event.name].append(event.value)

    # -- its steps ---------------------------------------------------------------------------

    def _could_start(self, name: str) -> None:
        assert name not in self.suspended, "it waits"
        super()._could_start(name)

    def _begun(self, event: s.StepStarted, at: int) -> None:
        assert self.deadline is None or at < self.deadline, "a step started after the deadline"
        self._started(event)
        inputs = {}
        for name, version in zip(self.steps[event.step].dependencies, event.inputs, strict=True):
            if version:
                written, inputs[name] = self.outputs[name]
                assert written == version, "its input is not what that step gave"
        self.started[event.step, event.attempt] = self.epoch, inputs

    def _said(self, event: Any, at: int) -> None:
        assert self.in_flight.get(event.step) == event.attempt, "only what runs can say something"
        if isinstance(event, s.StepCheckpointed):
            self.checkpoints[event.step, event.key] = event.value
        elif isinstance(event, s.StepItemCompleted):
            self.items.add((event.step, event.key))

    def _done(self, event: s.StepCompleted, at: int) -> None:
        self._ended(event)
        self.outputs[event.step] = self.version, event.output

    def _waits(self, event: s.StepSuspended, at: int) -> None:
        assert self.in_flight.pop(event.step) == event.attempt, "an attempt has one ending"
        self.suspended[event.step] = event
        if event.run is not None:
            self.begun.add(event.step)
            going = sum(waited.run is not None for waited in self.suspended.values())
            cap = self.submitted.parallelism
            assert cap is None or len(self.in_flight) + going <= cap
        if event.due:
            self.alarms[event.step] = event.due, at

    def _woken(self, event: s.StepWoken, at: int) -> None:
        waited = self.suspended.pop(event.step)
        planned = self.alarms.pop(event.step, None)
        assert event.key == waited.key
        assert (event.ended is None) == (waited.run is None)
        if event.ended is not None:
            assert planned is None
            assert self.status in ("running", "pausing", "stopping")
        elif event.signal is not None:
            assert event.signal == waited.signal
            assert self.received[event.signal].pop(0) == event.value, "first come, first served"
        else:
            assert planned is not None and at >= planned[0], "it was woken too early"
            assert self.status == "running", "timers stand still while the run does"

    def _interrupted(self, event: s.StepCancelled, at: int) -> None:
        assert self.status == "cancelling"
        self._ended(event)  # type: ignore[arg-type]
        self.cancelled.add(event.step)

    # -- undoing -----------------------------------------------------------------------------

    def _undo(self, event: s.StepCompensationStarted, at: int) -> None:
        assert self.status == "rolling_back" and not self.in_flight
        assert event.step in self._to_undo() - self.undone
        after = {n for n, step in self.steps.items() if event.step in step.dependencies}
        assert after & self._to_undo() <= self.undone, "what was built on it is undone first"
        assert event.attempt == self.attempts[event.step] + 1, "attempts rise one by one"
        self.attempts[event.step] = self.in_flight[event.step] = event.attempt
        if event.step in self.outputs:
            self.started[event.step, event.attempt] = self.epoch, self.outputs[event.step][1]

    def _to_undo(self) -> set[str]:
        """The steps of which something has to be undone."""
        found = {n for n in self.completed if self.steps[n].compensate is not None}
        inside = {n for n in self.begun - self.passed if self.steps[n].compensate is None}
        nested = {n: self.steps[n].pipeline for n in inside}
        return found | {n for n, one in nested.items() if one is not None and one.compensates}

    def _undone(self, event: Any, at: int) -> None:
        assert self.in_flight.pop(event.step) == event.attempt, "an attempt has one ending"
        if isinstance(event, s.StepCompensated):
            self.undone.add(event.step)


_MINE: dict[type[Any], Any] = {
    p.SignalReceived: Chronicle._signalled,
    s.StepStarted: Chronicle._begun,
    s.StepCompleted: Chronicle._done,
    s.StepSuspended: Chronicle._waits,
    s.StepWoken: Chronicle._woken,
    s.StepCancelled: Chronicle._interrupted,
    s.StepCompensationStarted: Chronicle._undo,
    s.StepCompensated: Chronicle._undone,
    s.StepCompensationFailed: Chronicle._undone,
    s.StepCompensationRetryScheduled: Chronicle._undone,
    **dict.fromkeys(SAYINGS, Chronicle._said),
}


class Stock(Ledger):
    """The ledger of a pool whose members come and go, on clocks that may be set."""

    def __init__(self, steady: bool) -> None:
        super().__init__()
        self._steady = steady

    def _came_before(self, one: str, other: str) -> bool:
        return False  # who is passed by is another test's business

    def _rate(self, step_type: str | None, at: int) -> None:
        if self._steady:  # a rate is told by the wall clock: it cannot be kept if that is set
            super()._rate(step_type, at)

    def held_by(self, owners: set[str]) -> list[r.AllocationRequested]:
        return [request for request, _ in self.held.values() if request.owner in owners]
