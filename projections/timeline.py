"""Every attempt of a run, with its start and end: what a Gantt chart shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ..events import pipeline as p
from ..events import step as s
from ..events.envelope import Envelope
from ..events.upcasters import to_event


class Attempt(msgspec.Struct):
    """An attempt at a step. Times are nanoseconds since 1970, UTC; ``end`` 0: still running."""

    step: str
    attempt: int
    worker: str
    start: int
    end: int = 0
    outcome: str = "running"
    """``completed failed timed_out yielded suspended interrupted cancelled abandoned skipped``, of
    one that undoes the step ``undone failed not_undone interrupted``; or ``running``."""
    error: str | None = None
    fallback: bool = False
    """The fallback of the step's type ran, not its handler."""
    undoes: bool = False
    """It was to undo the step."""


class Timeline(msgspec.Struct):
    """Attempts in the order of their start, and the run's own milestones ``(time, event type)``."""

    attempts: list[Attempt] = []
    milestones: list[tuple[int, str]] = []


class TimelineFold:
    """A timeline that grows event by event."""

    def __init__(self) -> None:
        self.told = Timeline()
        self._running: dict[str, Attempt] = {}

    def apply(self, event: Any, at: int) -> Attempt | None:
        """Fold one event, recorded at ``at`` (ns); returns the attempt that it begins or ends."""
        if isinstance(event, s.StepStarted):
            return self._begin(
                Attempt(event.step, event.attempt, event.worker, at, fallback=event.fallback)
            )
        if isinstance(event, s.StepCompensationStarted):
            return self._begin(Attempt(event.step, event.attempt, event.worker, at, undoes=True))
        if type(event) in OUTCOMES and event.step in self._running:
            attempt = self._running.pop(event.step)
            attempt.end = at
            attempt.outcome = outcome_of(event)
            attempt.error = str(event.error) if hasattr(event, "error") else None
            return attempt
        if type(event).__module__ == p.__name__:
            self.told.milestones.append((at, type(event).__name__))
        return None

    def _begin(self, attempt: Attempt) -> Attempt:
        self._running[attempt.step] = attempt
        self.told.attempts.append(attempt)
        return attempt


def timeline(envelopes: Iterable[Envelope]) -> Timeline:
    """Fold a run's events to its timeline."""
    fold = TimelineFold()
    for envelope in envelopes:
        fold.apply(to_event(envelope), envelope.at)
    return fold.told


def outcome_of(event: Any) -> str:
    """How the attempt ended that this event ends."""
    if isinstance(event, s.StepCancelled) and event.how == "abandoned":
        return "abandoned"
    return OUTCOMES[type(event)]


OUTCOMES: dict[type[Any], str] = {
    s.StepCompleted: "completed",
    s.StepFailed: "failed",
    s.StepTimedOut: "timed_out",
    s.StepYielded: "yielded",
    s.StepSuspended: "suspended",
    s.StepInterrupted: "interrupted",
    s.StepCancelled: "cancelled",
    s.StepSkipped: "skipped",
    s.StepCompensated: "undone",
    s.StepCompensationFailed: "not_undone",
    s.StepCompensationRetryScheduled: "failed",
}
"""By the event that ends an attempt, how it ended."""
