"""Counts over what happens in a log from some moment on: attempts, failures, durations, ends."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..events import pipeline as p
from ..events import step as s
from ..events.directory import RunRow
from ..events.envelope import Envelope
from ..events.errors import LogCorrupt, UnknownEvent
from ..events.machines import PipelineStatus
from ..events.upcasters import to_event

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200)
"""Seconds up to which durations are counted: those of Prometheus' clients, and on to half a day."""

OUTCOMES: dict[type[Any], str] = {
    s.StepCompleted: "completed",
    s.StepFailed: "failed",
    s.StepTimedOut: "timed_out",
    s.StepInterrupted: "interrupted",
    s.StepCancelled: "cancelled",
    s.StepYielded: "yielded",
    s.StepSuspended: "suspended",
}
ENDS: dict[type[Any], PipelineStatus] = {
    p.PipelineCompleted: PipelineStatus.COMPLETED,
    p.PipelineFailed: PipelineStatus.FAILED,
    p.PipelineCancelled: PipelineStatus.CANCELLED,
    p.PipelineStopped: PipelineStatus.STOPPED,
    p.PipelineRolledBack: PipelineStatus.ROLLED_BACK,
    p.PipelineRollbackFailed: PipelineStatus.ROLLBACK_FAILED,
}
_OTHERS: tuple[type[Any], ...] = (s.StepRetryScheduled, p.PipelineClaimed)
_COUNTED = {kind.__name__ for kind in (*OUTCOMES, *ENDS, *_OTHERS)}
MAX_NAMES = 10_000
"""Runs whose names are remembered."""


class Histogram:
    """Durations, in seconds, by :data:`BOUNDS`."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


class Totals:
    """The counts; by the name of the pipeline, and how it went.

    Args:
        row_of: Knows the runs of the log.
    """

    def __init__(self, row_of: Callable[[str], RunRow | None]) -> None:
        self.attempts: Counter[tuple[str, str]] = Counter()
        """Attempts that have ended, by pipeline and outcome."""
        self.failures: Counter[tuple[str, str]] = Counter()
        """Of those the failed ones, by pipeline and category of the error."""
        self.retries: Counter[str] = Counter()
        self.ends: Counter[tuple[str, str]] = Counter()
        """Runs that have ended, by pipeline and status."""
        self.durations: dict[str, Histogram] = {}
        """Of completed steps."""
        self.waits: dict[str, Histogram] = {}
        """Of runs, from their submission to their first claim, by pipeline."""
        self._row_of = row_of
        self._rows: dict[str, tuple[str, int]] = {}

    def tell(self, e: Envelope) -> None:
        """The next event of the log."""
        if e.type not in _COUNTED:
            return
        name, submitted_at = self._run(e.stream.partition("/")[2])
        try:
            event = to_event(e)
        except (UnknownEvent, LogCorrupt):
            return  # counted by whoever understands it
        if type(event) in OUTCOMES:
            self._attempt(name, event)
        elif type(event) in ENDS:
            self.ends[name, ENDS[type(event)]] += 1
        elif isinstance(event, s.StepRetryScheduled):
            self.retries[name] += 1
        elif e.epoch == 1:  # the first claim
            self.waits.setdefault(name, Histogram()).add(max(0, e.at - submitted_at) / 1e9)

    def _attempt(self, name: str, event: Any) -> None:
        if not getattr(event, "attempt", 1):
            return  # it never started
        self.attempts[name, OUTCOMES[type(event)]] += 1
        if isinstance(event, s.StepCompleted):
            self.durations.setdefault(name, Histogram()).add(event.duration)
        elif isinstance(event, s.StepFailed | s.StepTimedOut):
            self.failures[name, str(event.error.category)] += 1

    def _run(self, run_id: str) -> tuple[str, int]:
        found = self._rows.get(run_id)
        if found is None:
            row = self._row_of(run_id)
            found = ("", 0) if row is None else (row.name, row.submitted_at)
            if len(self._rows) >= MAX_NAMES:
                del self._rows[next(iter(self._rows))]
            self._rows[run_id] = found
        return found
