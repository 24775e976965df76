"""The state of a run and of its steps, as plain data: what a snapshot holds."""

from __future__ import annotations

import msgspec

from ..events.codec import NONE, Value
from ..events.definition import RetryPolicy
from ..events.machines import NEW, StepStatus
from ..events.pipeline import Parent
from ..events.step import ChildEnd
from ..events.values import ErrorInfo


class StepState(msgspec.Struct, array_like=True, gc=False):
    """A step of a run. Times are nanoseconds since 1970, UTC; 0 is never."""

    remaining: int
    """Dependencies that are not completed."""
    takers: int
    """Dependents that are not completed; the output is kept for them."""
    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    retries: int = 0
    """Retries since the step was last reset."""
    interruptions: int = 0
    """Attempts lost with their owner, in a row."""
    first_at: int = 0
    """Start of the first attempt since the step was last reset, as if it had never been suspended
    since."""
    started_at: int = 0
    ended_at: int = 0
    version: int = 0
    """Version of the StepCompleted event; 0 while there is none."""
    output: Value | None = None
    error: ErrorInfo | None = None
    reason: str | None = None
    """Why it was skipped, or how it was cancelled."""
    done: int | float | None = None
    total: int | float | None = None
    message: str | None = None
    checkpoints: dict[str, Value] = {}
    """What its attempts have saved, until it completes."""
    items: dict[str, Value] = {}
    """What items of its maps have given, until it completes."""
    waits: dict[str, Value | None] = {}
    """Waits of its handler that are over, with what arrived; None: the time was up."""
    awaits: str | None = None
    """The key of the wait that suspends it."""
    signal: str | None = None
    """The signal that it waits for."""
    fallback: bool = False
    """Its fallback runs, or is to run, in answer to ``error``."""
    cache: str | None = None
    child: str | None = None
    """The run that it is, or was at last, if it is a pipeline."""
    ended: ChildEnd | None = None
    """How that run ended, until an attempt has told it."""


class RunState(msgspec.Struct):
    """A run: what a snapshot holds. Steps are named by their index in the definition."""

    status: str = NEW
    name: str = ""
    version: int = 0
    """Version of the last event."""
    epoch: int = 0
    owner: str | None = None
    data: Value = NONE
    on_failure: str = "stop"
    priority: int = 0
    deadline: int | None = None
    parallelism: int | None = None
    retry: RetryPolicy | None = None
    policies: dict[str, RetryPolicy] = {}
    fallbacks: dict[str, str] = {}
    allow_pickle: bool = True
    warnings: tuple[str, ...] = ()
    submitted_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    halted_at: int = 0
    """When a pause, stop or failure halted the retry timers; 0 while they run."""
    cause: ErrorInfo | None = None
    undo: list[int] = []
    """Completed steps that a rollback has to undo, the next one last."""
    undo_at: int = 0
    """When (ns) the next one may be tried again; 0: now."""
    late: bool = False
    """Its deadline has passed."""
    memory: float | None = None
    encoding: str = "json"
    """How its events are recorded; names the key of an encrypted run."""
    ended: str | None = None
    """How it had ended before it was erased."""
    parent: Parent | None = None
    """The step that this run is, of another one."""
    queue: str | None = None
    """Where workers find it; None: nowhere."""
    steps: list[StepState] = []
    ready: list[tuple[int, int, int]] = []
    """Heap of ``(-priority, order of becoming ready, step)``; may hold steps that started."""
    order: int = 0
    running: dict[int, int] = {}
    """Steps in flight, with their attempt."""
    retrying: dict[int, int] = {}
    """Steps that wait for a retry, with their due time."""
    waiting: dict[int, int] = {}
    """Steps that wait for resources, with the version of the event that queued them."""
    suspended: dict[int, int] = {}
    """Steps whose handlers wait, with the time (ns) when that is over; 0: a signal ends it."""
    delegated: dict[int, str] = {}
    """Those of them that are pipelines, with the runs that go on for them."""
    awaiting: dict[str, list[int]] = {}
    """Those of them that wait for a signal, by its name, in the order of their waiting."""
    signals: dict[str, list[Value]] = {}
    """Those that nobody has taken yet, the oldest first."""
    failed: dict[int, int] = {}
    """Failed steps, with the version of the event that failed them."""
    completed: int = 0
    skipped: int = 0
    cancelled: int = 0
    retried: int = 0
    """Retries that were scheduled, over the whole run."""
    metrics: dict[str, int | float] = {}
    """Sums of what completed steps counted."""

    @property
    def unfinished(self) -> int:
        """Steps that are neither completed, failed, skipped nor cancelled."""
        settled = self.completed + len(self.failed) + self.skipped + self.cancelled
        return len(self.steps) - settled
