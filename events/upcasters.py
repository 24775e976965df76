"""From payloads to events and back; old payloads are lifted to the present schema on the way.

Additive change needs nothing but a default. For any other change raise the type's schema below and
register an upcaster from the old one; a history of the old schema stays in ``tests/histories``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from . import pipeline, queueing, resource, step
from .envelope import Envelope, NewEvent
from .errors import LogCorrupt, UnknownEvent
from .stub import RunArchived

PipelineEvent = (
    pipeline.PipelineSubmitted
    | pipeline.PipelineClaimed
    | pipeline.PipelinePauseRequested
    | pipeline.PipelinePaused
    | pipeline.PipelineResumed
    | pipeline.PipelineQueued
    | pipeline.PipelineStopRequested
    | pipeline.PipelineStopped
    | pipeline.PipelineCancelRequested
    | pipeline.PipelineRollbackStarted
    | pipeline.PipelineRolledBack
    | pipeline.PipelineRollbackFailed
    | pipeline.PipelineRollbackResumed
    | pipeline.SignalReceived
    | pipeline.PipelineDeadlineExceeded
    | pipeline.PipelineCancelled
    | pipeline.PipelineCompleted
    | pipeline.PipelineFailed
    | pipeline.PipelineErased
)
StepEvent = (
    step.StepStarted
    | step.StepQueued
    | step.StepProgressed
    | step.StepCheckpointed
    | step.StepItemCompleted
    | step.StepItemFailed
    | step.StepYielded
    | step.StepSuspended
    | step.StepWoken
    | step.StepCompleted
    | step.StepReused
    | step.StepFailed
    | step.StepTimedOut
    | step.StepRetryScheduled
    | step.StepFallbackScheduled
    | step.StepInterrupted
    | step.StepSkipped
    | step.StepCompensationStarted
    | step.StepCompensated
    | step.StepCompensationFailed
    | step.StepCompensationRetryScheduled
    | step.StepCancelled
)
Event = PipelineEvent | StepEvent
"""Any event of a run; its tag is the ``type`` of the envelope."""
PoolEvent = (
    resource.PoolConfigured
    | resource.RateLimited
    | resource.ResourceRegistered
    | resource.ResourceResized
    | resource.ResourceRemoved
    | resource.ResourceReserved
    | resource.ResourceUnreserved
    | resource.AllocationRequested
    | resource.AllocationGranted
    | resource.AllocationReleased
    | resource.AllocationWithdrawn
    | resource.AllocationDenied
)
"""Any event of a pool of resources."""

EVENT_TYPES: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *PipelineEvent.__args__,
        *StepEvent.__args__,
        *PoolEvent.__args__,
        RunArchived,
        queueing.RunsAdmitted,
    )
}
SCHEMAS: Mapping[str, int] = {}
"""Present schema of the types that have left schema 1."""

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""``(type, schema) -> payload of schema + 1`` from a payload of ``schema``."""

_encode = msgspec.json.Encoder().encode
_decoders = {name: msgspec.json.Decoder(kind) for name, kind in EVENT_TYPES.items()}


def to_new(
    event: Event | PoolEvent | RunArchived | queueing.RunsAdmitted, encoding: str = "json"
) -> NewEvent:
    """The event in the form that is appended."""
    name = type(event).__name__
    return NewEvent(name, SCHEMAS.get(name, 1), _encode(event), encoding)


def to_event(envelope: Envelope) -> Any:
    """The event of an envelope: an ``Event`` of a run, a ``PoolEvent``, a ``RunArchived`` or a
    ``RunsAdmitted``.

    Raises:
        UnknownEvent: A type or schema that only a newer version of this library knows.
        LogCorrupt: A payload that is not what its type and schema say.
    """
    place = f"event {envelope.version} of {envelope.stream}"
    return decode(envelope.type, envelope.schema, envelope.payload, place)


def decode(name: str, schema: int, payload: bytes, place: str) -> Any:
    """The event of a payload; ``place`` says in an error where it stands. As :func:`to_event`."""
    if name not in EVENT_TYPES or schema > SCHEMAS.get(name, 1):
        raise UnknownEvent(
            f"{place} is a {name} of schema {schema}, which this version does not know; "
            "upgrade semantica-pipeline"
        )
    try:
        if schema == SCHEMAS.get(name, 1):
            return _decoders[name].decode(payload)
        return _lift(name, schema, payload)
    except Exception as error:  # an upcaster may stumble over anything
        raise LogCorrupt(f"{place} ({name}) cannot be read: {error}") from error


def _lift(name: str, schema: int, payload: bytes) -> Any:
    plain = msgspec.json.decode(payload)
    while schema < SCHEMAS.get(name, 1):
        plain = UPCASTERS[name, schema](plain)
        schema += 1
    return _decoders[name].decode(_encode(plain))
