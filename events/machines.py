"""THE LAW: which event may follow which state, for pipelines, steps and resources.

Theory of operation
-------------------
A run and each of its steps is a formal state machine. The *trigger* of a transition is the type
of an event; the table below is the only place that says what may happen. Whoever decides
(``engine.core.decide``) consults it before an event is written; whoever folds
(``projections.run``) consults it again and refuses a history that breaks it.

* A **pipeline** goes from PENDING (submitted, nobody's) to RUNNING (claimed by an owner). One in a
  queue is PENDING until a worker claims it, and again once it has been resumed. Control
  rises in severity: pause < stop < cancel. PAUSING, STOPPING and CANCELLING *drain*: nothing new
  starts, and the final event comes when nothing is in flight any more.
* A **step** is PENDING until it starts; WAITING says that only resources are missing, SUSPENDED
  that its handler waits for a time or a signal, without a worker. A failure is always recorded as
  FAILED first; a retry is a second event that says when, a fallback one that makes the step PENDING
  again, as does a lost owner, which interrupts it.
* A **rollback** undoes completed steps, one by one, the last one first. It cannot be paused, and
  after an undo that failed it only goes on undoing.
* An encrypted run that has ended may be **erased**: its key is destroyed, its events stay.
* A finished run may be **archived**: its events leave the log, and a stub stays in another stream.
* A step can be a **pipeline**: it is SUSPENDED while a run of its own goes on, and woken by that
  run's end. When the step is to be undone, that run, however it ended, is rolled back.
* An **allocation** is REQUESTED, then HELD, then RELEASED; a **resource** is there or is not.
* Some events of the pipeline imply transitions of many steps (cancelling 100,000 pending steps is
  one event). They stand in the step's table as well, under the pipeline's event.

The rows are handed to ``transitions.Machine``, which checks and draws them, and the machine is
compiled to a plain dict, since a dictionary look-up is some 100 times cheaper than a trigger.
Rows arrive with the feature that first uses them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from transitions import Machine


class PipelineStatus(StrEnum):
    """State of a pipeline run."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    COMPLETED = "completed"
    FAILED = "failed"
    ERASED = "erased"

    @property
    def finished(self) -> bool:
        """No event can follow, except the resumption of a failed run or rollback, and the rollback
        of a run that is a step of another one."""
        return self in _FINISHED

    @property
    def active(self) -> bool:
        """An owner is needed to bring the run forward (not queued, paused or ended)."""
        return self in _ACTIVE


class StepStatus(StrEnum):
    """State of a step within a run."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"


class AllocationStatus(StrEnum):
    """State of a request for resources."""

    REQUESTED = "requested"
    HELD = "held"
    RELEASED = "released"
    WITHDRAWN = "withdrawn"
    DENIED = "denied"


class ResourceStatus(StrEnum):
    """State of a resource."""

    REGISTERED = "registered"
    REMOVED = "removed"


_P, _S, _A, _R = PipelineStatus, StepStatus, AllocationStatus, ResourceStatus
_FINISHED = frozenset(
    {_P.COMPLETED, _P.FAILED, _P.CANCELLED, _P.ROLLED_BACK, _P.ROLLBACK_FAILED, _P.ERASED}
)
_ACTIVE = frozenset({_P.RUNNING, _P.PAUSING, _P.STOPPING, _P.CANCELLING, _P.ROLLING_BACK})

NEW = "new"
"""The state before the first event of a stream."""
ARCHIVED = "archived"
"""The state of a run whose events have left the log; nothing can follow."""


class Row(NamedTuple):
    """A line of the law: in any of ``sources``, ``trigger`` leads to ``dest`` (None: no change)."""

    sources: tuple[str, ...]
    trigger: str
    dest: str | None


PIPELINE_ROWS: tuple[Row, ...] = (
    Row((NEW,), "PipelineSubmitted", _P.PENDING),
    Row((_P.PENDING,), "PipelineClaimed", _P.RUNNING),
    # A takeover: another owner with a higher epoch; the state stays what it was.
    Row(
        (
            _P.RUNNING,
            _P.PAUSING,
            _P.PAUSED,
            _P.STOPPING,
            _P.STOPPED,
            _P.CANCELLING,
            _P.FAILED,
            _P.ROLLING_BACK,
            _P.ROLLBACK_FAILED,
        ),
        "PipelineClaimed",
        None,
    ),
    Row((_P.RUNNING,), "PipelinePauseRequested", _P.PAUSING),
    Row((_P.PAUSING, _P.PENDING), "PipelinePaused", _P.PAUSED),
    Row((_P.PAUSING, _P.PAUSED, _P.STOPPED, _P.FAILED), "PipelineResumed", _P.RUNNING),
    # Back in its queue, where a worker finds it, which has it go on as it claims it.
    Row((_P.PAUSED, _P.STOPPED, _P.FAILED), "PipelineQueued", _P.PENDING),
    Row((_P.PENDING,), "PipelineResumed", _P.RUNNING),
    Row((_P.PENDING, _P.RUNNING, _P.PAUSING, _P.PAUSED), "PipelineStopRequested", _P.STOPPING),
    Row((_P.STOPPING,), "PipelineStopped", _P.STOPPED),
    Row(
        (_P.PENDING, _P.RUNNING, _P.PAUSING, _P.PAUSED, _P.STOPPING, _P.STOPPED),
        "PipelineCancelRequested",
        _P.CANCELLING,
    ),
    Row(
        (_P.PENDING, _P.RUNNING, _P.PAUSING, _P.PAUSED, _P.STOPPING, _P.STOPPED),
        "PipelineDeadlineExceeded",
        _P.CANCELLING,
    ),
    Row(
        (_P.PENDING, _P.RUNNING, _P.PAUSING, _P.PAUSED, _P.STOPPING, _P.STOPPED, _P.CANCELLING),
        "SignalReceived",
        None,
    ),
    Row((_P.CANCELLING,), "PipelineCancelled", _P.CANCELLED),
    Row((_P.RUNNING, _P.PAUSING, _P.CANCELLING), "PipelineRollbackStarted", _P.ROLLING_BACK),
    # Of a run that is a step of another one, which is rolled back.
    Row(
        (_P.COMPLETED, _P.FAILED, _P.STOPPED, _P.CANCELLED),
        "PipelineRollbackStarted",
        _P.ROLLING_BACK,
    ),
    Row((_P.ROLLING_BACK,), "PipelineRolledBack", _P.ROLLED_BACK),
    Row((_P.ROLLING_BACK,), "PipelineRollbackFailed", _P.ROLLBACK_FAILED),
    Row((_P.ROLLBACK_FAILED,), "PipelineRollbackResumed", _P.ROLLING_BACK),
    Row((_P.RUNNING, _P.PAUSING), "PipelineCompleted", _P.COMPLETED),
    Row((_P.RUNNING, _P.PAUSING, _P.CANCELLING), "PipelineFailed", _P.FAILED),
    Row(
        (
            _P.COMPLETED,
            _P.FAILED,
            _P.CANCELLED,
            _P.STOPPED,
            _P.ROLLED_BACK,
            _P.ROLLBACK_FAILED,
        ),
        "PipelineErased",
        _P.ERASED,
    ),
)

STEP_ROWS: tuple[Row, ...] = (
    Row((_S.PENDING, _S.RETRYING), "StepQueued", _S.WAITING),
    Row((_S.PENDING, _S.RETRYING, _S.WAITING), "StepStarted", _S.RUNNING),
    Row((_S.RUNNING, _S.COMPENSATING), "StepProgressed", None),
    Row((_S.RUNNING, _S.COMPENSATING), "StepCheckpointed", None),
    Row((_S.RUNNING, _S.COMPENSATING), "StepItemCompleted", None),
    Row((_S.RUNNING, _S.COMPENSATING), "StepItemFailed", None),
    Row((_S.RUNNING,), "StepYielded", _S.PENDING),
    Row((_S.RUNNING,), "StepSuspended", _S.SUSPENDED),
    Row((_S.SUSPENDED,), "StepWoken", _S.PENDING),
    Row((_S.RUNNING,), "StepCompleted", _S.COMPLETED),
    Row((_S.PENDING,), "StepReused", _S.COMPLETED),
    Row((_S.RUNNING, _S.WAITING), "StepFailed", _S.FAILED),
    Row((_S.RUNNING,), "StepTimedOut", _S.FAILED),
    Row((_S.FAILED,), "StepRetryScheduled", _S.RETRYING),
    Row((_S.FAILED,), "StepFallbackScheduled", _S.PENDING),
    Row((_S.RUNNING,), "StepInterrupted", _S.PENDING),
    Row((_S.PENDING, _S.RETRYING, _S.RUNNING), "StepSkipped", _S.SKIPPED),
    Row((_S.RUNNING, _S.RETRYING), "StepCancelled", _S.CANCELLED),
    Row((_S.COMPLETED,), "StepCompensationStarted", _S.COMPENSATING),
    # What a pipeline did that is a step, although the step is not done.
    Row((_S.FAILED, _S.CANCELLED), "StepCompensationStarted", _S.COMPENSATING),
    Row((_S.COMPENSATING,), "StepCompensated", _S.COMPENSATED),
    Row((_S.COMPENSATING,), "StepCompensationFailed", _S.COMPENSATION_FAILED),
    Row((_S.COMPENSATING,), "StepCompensationRetryScheduled", _S.COMPLETED),
    Row((_S.COMPENSATING,), "StepInterrupted", _S.COMPLETED),
    # Implied for many steps at once by an event of their pipeline.
    Row((_S.PENDING, _S.RETRYING, _S.WAITING, _S.SUSPENDED), "PipelineCancelled", _S.CANCELLED),
    Row(
        (_S.PENDING, _S.RETRYING, _S.WAITING, _S.SUSPENDED),
        "PipelineRollbackStarted",
        _S.CANCELLED,
    ),
    Row((_S.FAILED, _S.CANCELLED, _S.SKIPPED), "PipelineResumed", _S.PENDING),
    Row((_S.COMPENSATION_FAILED,), "PipelineRollbackResumed", _S.COMPLETED),
)

ALLOCATION_ROWS: tuple[Row, ...] = (
    Row((NEW,), "AllocationRequested", _A.REQUESTED),
    Row((_A.REQUESTED,), "AllocationGranted", _A.HELD),
    Row((_A.REQUESTED,), "AllocationWithdrawn", _A.WITHDRAWN),
    Row((_A.REQUESTED,), "AllocationDenied", _A.DENIED),
    Row((_A.HELD,), "AllocationReleased", _A.RELEASED),
)

RESOURCE_ROWS: tuple[Row, ...] = (
    Row((NEW, _R.REMOVED), "ResourceRegistered", _R.REGISTERED),
    Row((_R.REGISTERED,), "ResourceRegistered", None),  # anew, with another type or capacity
    Row((_R.REGISTERED,), "ResourceResized", None),
    Row((_R.REGISTERED,), "ResourceReserved", None),
    Row((_R.REGISTERED,), "ResourceUnreserved", None),
    Row((_R.REGISTERED,), "ResourceRemoved", _R.REMOVED),
)

ARCHIVE_ROWS: tuple[Row, ...] = (
    Row(
        (_P.COMPLETED, _P.FAILED, _P.CANCELLED, _P.ROLLED_BACK, _P.ROLLBACK_FAILED, _P.ERASED),
        "RunArchived",
        ARCHIVED,
    ),
)

Table = Mapping[tuple[str, str], str]
"""``(state, event type) -> next state``; a pair that is not in it is refused."""


def build_machine(name: str, states: Iterable[str], initial: str, rows: Iterable[Row]) -> Machine:
    """The formal machine of ``rows``, without a model: a definition to check, draw and compile."""
    return Machine(
        model=None,
        name=name,
        states=[str(state) for state in states],
        initial=str(initial),
        auto_transitions=False,
        transitions=[
            # "=" is the library's word for "the same state again".
            {
                "trigger": row.trigger,
                "source": [str(source) for source in row.sources],
                "dest": str(row.dest or "="),
            }
            for row in rows
        ],
    )


def pipeline_machine() -> Machine:
    """The machine of a pipeline run."""
    return build_machine("pipeline", [NEW, *_P], NEW, PIPELINE_ROWS)


def step_machine() -> Machine:
    """The machine of a step."""
    return build_machine("step", _S, _S.PENDING, STEP_ROWS)


def allocation_machine() -> Machine:
    """The machine of a request for resources."""
    return build_machine("allocation", [NEW, *_A], NEW, ALLOCATION_ROWS)


def resource_machine() -> Machine:
    """The machine of a resource."""
    return build_machine("resource", [NEW, *_R], NEW, RESOURCE_ROWS)


def archive_machine() -> Machine:
    """The machine of what becomes of a finished run."""
    states = [*ARCHIVE_ROWS[0].sources, ARCHIVED]
    return build_machine("archive", states, ARCHIVE_ROWS[0].sources[0], ARCHIVE_ROWS)


def compile_table(machine: Machine) -> Table:
    """Flatten a machine to a dict.

    Raises:
        ValueError: Two rows disagree about the same state and event.
    """
    table: dict[tuple[str, str], str] = {}
    for event in machine.events.values():
        for source, transitions in event.transitions.items():
            for transition in transitions:
                key = (source, event.name)
                if key in table:
                    raise ValueError(f"two rows for {event.name} in state {source}")
                table[key] = transition.dest or source
    return table


PIPELINE_TABLE: Mapping[tuple[str, str], PipelineStatus] = {
    key: PipelineStatus(dest) for key, dest in compile_table(pipeline_machine()).items()
}
STEP_TABLE: Mapping[tuple[str, str], StepStatus] = {
    key: StepStatus(dest) for key, dest in compile_table(step_machine()).items()
}
ALLOCATION_TABLE: Mapping[tuple[str, str], AllocationStatus] = {
    key: AllocationStatus(dest) for key, dest in compile_table(allocation_machine()).items()
}
RESOURCE_TABLE: Mapping[tuple[str, str], ResourceStatus] = {
    key: ResourceStatus(dest) for key, dest in compile_table(resource_machine()).items()
}
ARCHIVE_TABLE: Table = compile_table(archive_machine())
