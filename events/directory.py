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

    @property
    def stream(self) -> str:
        """Name of the run's stream."""
        return stream_of(self.run_id)


def stream_of(run_id: str) -> str:
    """The stream of a run."""
    return f"run/{run_id}"


_submitted = msgspec.json.Decoder(PipelineSubmitted)
_claimed = msgspec.json.Decoder(PipelineClaimed)


def concerns(event_type: str) -> bool:
    """Whether events of this type change the directory."""
    return event_type.startswith("Pipeline")


def advance(row: RunRow | None, stream: str, at: int, epoch: int, event: NewEvent) -> RunRow:
    """The run's row after ``event``.

    Raises:
        IllegalTransition: The law does not allow the event; the append must not happen.
    """
    state = row.status if row else NEW
    status = PIPELINE_TABLE.get((state, event.type))
    if status is None:
        raise IllegalTransition(stream, "pipeline", state, event.type)
    if row is None:
        submitted = _submitted.decode(event.payload)
        return RunRow(
            run_id=stream.partition("/")[2],
            name=submitted.name,
            status=status,
            engine=submitted.engine,
            owner=None,
            epoch=epoch,
            priority=submitted.priority,
            submitted_at=at,
            changed_at=at,
        )
    owner = row.owner
    if event.type == "PipelineClaimed":
        owner = _claimed.decode(event.payload).owner
    return msgspec.structs.replace(row, status=status, owner=owner, epoch=epoch, changed_at=at)
