"""The directory of runs: one row a run, kept by the store in the transaction of the append.

It answers "which runs are there, in what state, whose" without folding a stream. It is derived:
``advance`` over a log's pipeline events gives the same rows again.
"""

from __future__ import annotations

import msgspec

from .envelope import NewEvent
from .errors import IllegalTransition
from .machines import NEW, PIPELINE_TABLE, PipelineStatus
from .pipeline import PipelineClaimed, PipelineSubmitted
from .upcasters import decode


class RunRow(msgspec.Struct, frozen=True):
    """A run at a glance. Times are nanoseconds since 1970, UTC."""

    run_id: str
    name: str
    status: PipelineStatus
    engine: str
    """The engine that submitted it."""
    owner: str | None
    epoch: int
    priority: int
    submitted_at: int
    changed_at: int
    parent: str | None = None
    """The run that it is a step of."""

    @property
    def stream(self) -> str:
        """Name of the run's stream."""
        return stream_of(self.run_id)


def stream_of(run_id: str) -> str:
    """The stream of a run."""
    return f"run/{run_id}"


def concerns(event_type: str) -> bool:
    """Whether events of this type change the directory."""
    return event_type.startswith("Pipeline")


def advance(row: RunRow | None, stream: str, at: int, epoch: int, event: NewEvent) -> RunRow:
    """The run's row after ``event``.

    Raises:
        IllegalTransition: The law does not allow the event; the append must not happen.
        UnknownEvent, LogCorrupt: Its payload cannot be read.
    """
    state = row.status if row else NEW
    status = PIPELINE_TABLE.get((state, event.type))
    if status is None:
        raise IllegalTransition(stream, "pipeline", state, event.type)
    if row is not None and event.type != "PipelineClaimed":
        return msgspec.structs.replace(row, status=status, epoch=epoch, changed_at=at)
    told = decode(event.type, event.schema, event.payload, f"a {event.type} of {stream}")
    if row is not None:
        assert isinstance(told, PipelineClaimed)  # as its type says
        return msgspec.structs.replace(
            row, status=status, owner=told.owner, epoch=epoch, changed_at=at
        )
    assert isinstance(told, PipelineSubmitted)  # the law knows no other beginning
    return RunRow(
        run_id=stream.partition("/")[2],
        name=told.name,
        status=status,
        engine=told.engine,
        owner=None,
        epoch=epoch,
        priority=told.priority,
        submitted_at=at,
        changed_at=at,
        parent=told.parent.run if told.parent else None,
    )
