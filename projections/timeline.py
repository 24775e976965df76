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


def timeline(envelopes: Iterable[Envelope]) -> Timeline:
    """Fold a run's events to its timeline."""
    result = Timeline()
    running: dict[str, Attempt] = {}
    for envelope in envelopes:
        event: Any = to_event(envelope)
        if isinstance(event, s.StepStarted):
            attempt = Attempt(event.step, event.attempt, event.worker, envelope.at)
            attempt.fallback = event.fallback
            running[event.step] = attempt
            result.attempts.append(attempt)
        elif isinstance(event, s.StepCompensationStarted):
            attempt = Attempt(event.step, event.attempt, event.worker, envelope.at, undoes=True)
            running[event.step] = attempt
            result.attempts.append(attempt)
        elif type(event) in OUTCOMES and event.step in running:
            attempt = running.pop(event.step)
            attempt.end = envelope.at
            attempt.outcome = outcome_of(event)
            attempt.error = str(event.error) if hasattr(event, "error") else None
        elif type(event).__module__ == p.__name__:
            result.milestones.append((envelope.at, envelope.type))
    return result


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
