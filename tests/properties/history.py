"""What every legal history keeps to, read from its events alone: the fold is not asked.

The figures are those a user reasons with: attempts, what is in flight, what is done.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from semantica.pipeline.events import pipeline as p
from semantica.pipeline.events import step as s
from semantica.pipeline.events.codec import Value
from semantica.pipeline.events.definition import PipelineDefinition, RetryPolicy
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.machines import NEW, PIPELINE_TABLE
from semantica.pipeline.events.upcasters import Event, to_event
from semantica.pipeline.events.values import ErrorInfo

ENDINGS = (
    s.StepCompleted,
    s.StepFailed,
    s.StepTimedOut,
    s.StepInterrupted,
    s.StepYielded,
    s.StepSuspended,
    s.StepCancelled,
    s.StepSkipped,
    s.StepCompensated,
    s.StepCompensationFailed,
    s.StepCompensationRetryScheduled,
)
AT_REST = {"pending", "paused", "stopped", "completed", "failed", "cancelled"}
AT_REST |= {"rolled_back", "rollback_failed"}
UNDOES = {
    "StepCompensationStarted",
    "StepCompensated",
    "StepCompensationFailed",
    "StepCompensationRetryScheduled",
    "StepInterrupted",
    "StepProgressed",
    "StepCheckpointed",
}
"""What may be said of steps once a rollback has started."""


class History:
    """A reading of one run's events, in order; :meth:`read` fails at the first broken promise."""

    def __init__(self, definition: PipelineDefinition, submitted: p.PipelineSubmitted) -> None:
        self.steps = {step.name: step for step in definition.steps}
        self.submitted = submitted
        self.status: str = NEW
        self.epoch = self.version = 0
        self.attempts: dict[str, int] = {}
        self.in_flight: dict[str, int] = {}
        self.completed: dict[str, None] = {}
        """In the order of their completion."""
        self.passed: set[str] = set()
        """Steps skipped by a condition, their own or one before them."""
        self.lost: set[str] = set()
        """Steps of which an attempt was lost with its owner, since the run was last resumed."""
        self.failed: dict[str, ErrorInfo] = {}
        self.falling: set[str] = set()
        """Steps whose fallback has taken over, since they were last reset."""
        self.queued: set[str] = set()
        self.retries: dict[str, int] = {}
        self.timers: dict[str, tuple[int, int]] = {}
        """When each waiting retry is due, and since when the timer has run."""
        self.suspended: dict[str, tuple[s.StepSuspended, int]] = {}
        """Who waits, in the order of their waiting; and since when, or since when it counts."""
        self.signals: dict[str, list[Value]] = {}
        """Signals that nobody has taken."""
        self.deadline = submitted.deadline
        self.late = False
        self.undo: list[str] | None = None
        """What a rollback has to undo, the next one last; None: there is none."""
        self.undo_at = 0
        self.halted = 0
        """Since when nothing starts."""

    def read(self, envelopes: Iterable[Envelope]) -> None:
        for envelope in envelopes:
            assert envelope.version == self.version + 1, "versions have no gaps"
            assert envelope.epoch >= self.epoch, "epochs only rise"
            self.version, self.epoch = envelope.version, envelope.epoch
            event = to_event(envelope)
            if self.undo is not None and envelope.type.startswith("Step"):
                assert envelope.type in UNDOES, "nothing goes forward once a rollback has started"
            if isinstance(event, s.StepCompensationStarted):
                self._undoing(event, envelope.at)
            elif isinstance(event, s.StepWoken):
                self._woken(event, envelope.at)
            elif isinstance(event, p.SignalReceived):
                self.signals.setdefault(event.name, []).append(event.value)
            elif isinstance(event, s.StepStarted):
                self._started(event, envelope.at)
            elif isinstance(event, s.StepQueued):
                self._queued(event)
            elif isinstance(event, s.StepSkipped) and not event.attempt:
                self._skipped(event)
            elif isinstance(event, s.StepFailed) and not event.attempt:
                self._denied(event)
            elif isinstance(event, ENDINGS):
                self._ended(event, envelope.at)
            elif isinstance(event, s.StepProgressed):
                assert self.in_flight.get(event.step) == event.attempt, "only what runs progresses"
            elif isinstance(event, s.StepRetryScheduled):
                self._retried(event, envelope.at)
            elif isinstance(event, s.StepFallbackScheduled):
                self._fell_back(event)
            elif envelope.type.startswith("Pipeline"):
                self._moved(event, envelope)

    def _moved(self, event: Event, envelope: Envelope) -> None:
        self.status = PIPELINE_TABLE[self.status, envelope.type]
        if self.status in AT_REST:
            assert not self.in_flight, f"{self.status} with {self.in_flight} in flight"
        if isinstance(event, p.PipelineCompleted):
            sinks = set(self.steps) - {d for x in self.steps.values() for d in x.dependencies}
            assert sinks <= self.completed.keys() | self.passed
            assert len(event.outputs) == len(sinks)
            assert event.outputs.count(0) == len(sinks & self.passed)
        if isinstance(event, p.PipelineDeadlineExceeded):
            assert self.deadline is not None
            assert envelope.at >= self.deadline
            self.late = True
        if isinstance(event, p.PipelineRollbackStarted):
            assert self.submitted.on_failure == "rollback"
            undone_by = {name: step.compensate for name, step in self.steps.items()}
            self.undo = [name for name in self.completed if undone_by[name] is not None]
            self.suspended.clear()
        if isinstance(event, p.PipelineRolledBack):
            assert self.undo == [], "all is undone"
        if isinstance(event, p.PipelineRollbackFailed):
            assert self.undo
            assert event.step == self.undo[-1]
        if isinstance(event, p.PipelineFailed) and self.late:
            assert event.step == ""
        elif isinstance(event, p.PipelineFailed):
            assert self.submitted.on_failure != "rollback"
            assert event.step in self.failed
            for step in self.failed:
                helpless = self.steps[step].type not in self.submitted.fallbacks
                assert helpless or step in self.falling, "a step failed without its fallback"
        if isinstance(event, p.PipelineResumed):
            self._resumed(event, envelope.at)
        elif self.status not in ("pending", "running"):
            self.halted = self.halted or envelope.at

    def _resumed(self, event: p.PipelineResumed, at: int) -> None:
        alarms = {name for name, (wait, _) in self.suspended.items() if wait.due}
        assert set(event.due) == set(self.timers) | alarms
        for step, due in event.due.items():
            wait = self.suspended.get(step)
            before, since = (wait[0].due or 0, wait[1]) if wait else self.timers[step]
            left = before - max(self.halted, since)
            assert due - at == left, "retries and sleeps stand still while the run does"
            if wait:
                self.suspended[step] = replace(wait[0], due=due), at
            else:
                self.timers[step] = due, at
        if self.late:
            self.late, self.deadline = False, None
        for step in self.failed:
            self.retries.pop(step, None)
            self.falling.discard(step)
        self.failed.clear()
        self.lost.clear()
        self.halted = 0

    def _retried(self, event: s.StepRetryScheduled, at: int) -> None:
        policy = self._policy(event.step)
        error = self.failed.pop(event.step)
        assert error.retryable
        assert event.step not in self.falling, "no retry follows a fallback"
        self.retries[event.step] = self.retries.get(event.step, 0) + 1
        assert policy is not None
        assert event.retry == self.retries[event.step] <= policy.max_retries
        longest = min(
            policy.initial_delay * policy.backoff_factor ** (event.retry - 1), policy.max_delay
        )
        asked = error.retry_after or 0.0
        assert max(longest * (1 - policy.jitter), asked) <= event.delay <= max(longest, asked)
        assert event.due == at + int(event.delay * 1e9)
        self.timers[event.step] = event.due, at

    def _policy(self, name: str) -> RetryPolicy | None:
        """Its own policy comes before that of its type, and that before the run's."""
        step, submitted = self.steps[name], self.submitted
        return step.retry or submitted.policies.get(step.type) or submitted.retry

    def _fell_back(self, event: s.StepFallbackScheduled) -> None:
        assert self.steps[event.step].type in self.submitted.fallbacks
        assert event.step not in self.falling, "a fallback is tried once"
        assert self.status != "cancelling"
        error, policy = self.failed.pop(event.step), self._policy(event.step)
        retried = policy is not None and error.retryable and policy.max_elapsed is None
        assert not retried or self.retries.get(event.step, 0) == policy.max_retries
        self.falling.add(event.step)

    def _could_start(self, name: str) -> None:
        assert self.status == "running", f"a step started in a run that is {self.status}"
        assert name not in self.completed, "a completed step is never executed again"
        assert name not in self.passed, "what a condition has skipped is over"
        assert name not in self.in_flight, "two attempts of one step overlap"
        assert name not in self.suspended, "a suspended step waits until it is woken"
        before = set(self.steps[name].dependencies)
        done = self.completed.keys()
        assert before <= done | self.passed, "a step waits for what it depends on"
        assert not before or before & done, "a step that depends on others has input"
        stopped = self.failed and self.submitted.on_failure != "continue"
        assert not stopped, "after a failure nothing starts until the run is resumed"

    def _queued(self, event: s.StepQueued) -> None:
        self._could_start(event.step)
        assert event.step not in self.queued
        self.queued.add(event.step)
        self.timers.pop(event.step, None)

    def _denied(self, event: s.StepFailed) -> None:
        assert self.status == "running"
        self.queued.remove(event.step)
        self.failed[event.step] = event.error

    def _started(self, event: s.StepStarted, at: int) -> None:
        step = self.steps[event.step]
        assert self.deadline is None or at < self.deadline, "nothing starts after the deadline"
        self._could_start(event.step)
        assert event.attempt == self.attempts.get(event.step, 0) + 1, "attempts rise one by one"
        assert [not version for version in event.inputs] == [
            name in self.passed for name in step.dependencies
        ]
        assert event.fallback == (event.step in self.falling)
        again = step.at_most_once and event.step in self.lost and not event.fallback
        assert not again, "an at_most_once step ran again by itself"
        self.attempts[event.step] = self.in_flight[event.step] = event.attempt
        self.timers.pop(event.step, None)
        self.queued.discard(event.step)
        cap = self.submitted.parallelism
        assert cap is None or len(self.in_flight) <= cap

    def _skipped(self, event: s.StepSkipped) -> None:
        """Without an attempt of its own, because of another step."""
        assert event.step not in self.completed.keys() | self.passed
        if event.reason == "condition":
            before = set(self.steps[event.step].dependencies)
            assert before and before <= self.passed, "it would have had input"
            assert event.cause in self.passed
            self.passed.add(event.step)
        else:
            assert (event.reason, self.submitted.on_failure) == ("upstream", "continue")
            assert event.cause in self.failed

    def _woken(self, event: s.StepWoken, at: int) -> None:
        wait, _ = self.suspended[event.step]
        assert event.key == wait.key
        if event.signal is None:
            assert self.status == "running", "an alarm rings only while the run goes on"
            assert wait.due is not None and at >= wait.due
            assert (event.value is None) == (wait.signal is not None)
        else:
            waiting = [name for name, (x, _) in self.suspended.items() if x.signal == event.signal]
            assert waiting[0] == event.step, "who has waited longest is served first"
            sent = self.signals[event.signal].pop(0)
            assert event.value == sent, "signals are taken in their order, each once"
        del self.suspended[event.step]

    def _undoing(self, event: s.StepCompensationStarted, at: int) -> None:
        assert self.status == "rolling_back"
        assert not self.in_flight, "one step is undone after the other"
        assert self.undo
        assert event.step == self.undo[-1], "the last that was completed is undone first"
        assert at >= self.undo_at, "another try waits for its time"
        assert event.attempt == self.attempts[event.step] + 1
        self.attempts[event.step] = self.in_flight[event.step] = event.attempt
        self.undo_at = 0

    def _ended(self, event: s.StepCompleted | s.StepFailed, at: int) -> None:
        attempt = self.in_flight.pop(event.step, None)
        assert attempt == event.attempt, "an attempt has exactly one ending"
        if isinstance(event, s.StepCompleted):
            self.completed[event.step] = None
        elif isinstance(event, s.StepSuspended):
            self.suspended[event.step] = event, at
        elif isinstance(event, s.StepCompensated):
            assert self.undo
            assert self.undo.pop() == event.step, "a step is undone at most once"
        elif isinstance(event, s.StepCompensationRetryScheduled):
            self.undo_at = event.due
        elif isinstance(event, s.StepSkipped):
            assert (event.reason, event.cause) == ("condition", None)
            self.passed.add(event.step)
        elif isinstance(event, s.StepInterrupted):
            self.lost.add(event.step)
        elif isinstance(event, (s.StepFailed, s.StepTimedOut)):
            self.failed[event.step] = event.error
            if event.error.type == "semantica.pipeline.StepInterrupted":
                self.lost.add(event.step)
