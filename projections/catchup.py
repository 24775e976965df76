"""From a log to a run's state: the newest snapshot, if it fits, and the events after it."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from ..events.codec import text_of
from ..events.definition import PipelineDefinition
from ..events.directory import stream_of
from ..events.errors import LogCorrupt
from ..events.pipeline import PipelineSubmitted
from ..events.retention import not_here
from ..events.store import Snapshot, Store
from ..events.upcasters import to_event
from .run import FOLD, Run
from .state import RunState

SNAPSHOT_EVENTS = 10_000
"""Fewest events between two snapshots."""
SNAPSHOT_BYTES = 512
"""Bytes of a snapshot for which one more event must have come: a snapshot grows with the run's
steps and items, so the larger the last one was, the later the next. All snapshots of a run together
write at most so many bytes an event (which takes some 280 itself), and what is folded after one is
in proportion to it."""

_definition = msgspec.json.Decoder(PipelineDefinition)


def load_run(store: Store, run_id: str, *, snapshots: bool = True, until: int | None = None) -> Run:
    """The state of a run after all (or ``until``: that many) of its events.

    Args:
        snapshots: Whether to start from a snapshot; False folds every event.

    Raises:
        RunNotFound: No such run.
        LogCorrupt, IllegalTransition, UnknownEvent: The history cannot be folded.
    """
    stream = stream_of(run_id)
    first = next(store.read(stream), None)
    if first is None:
        raise not_here(store, run_id)
    submitted = to_event(first)
    if not isinstance(submitted, PipelineSubmitted):
        raise LogCorrupt(f"{stream} does not begin with PipelineSubmitted but with {first.type}")
    try:
        definition = _definition.decode(text_of(submitted.definition, store.artifacts))
    except msgspec.MsgspecError as error:
        raise LogCorrupt(f"{stream}: its definition cannot be read: {error}") from error
    run = _newest(store, run_id, definition, until) if snapshots else Run(run_id, definition)
    for envelope in store.read(stream, run.state.version):
        if until is not None and envelope.version > until:
            break
        event = to_event(envelope)
        run.apply(event, version=envelope.version, at=envelope.at, epoch=envelope.epoch)
    return run


def _newest(store: Store, run_id: str, definition: PipelineDefinition, until: int | None) -> Run:
    """The run as its snapshot has it, if there is one that fits; else before its first event."""
    snapshot = store.load_snapshot(stream_of(run_id))
    if snapshot and snapshot.fold == FOLD and (until is None or snapshot.version <= until):
        with suppress(msgspec.MsgspecError):  # damaged: the events tell it again
            return from_snapshot(run_id, definition, snapshot.data)
    return Run(run_id, definition)


def snapshot_due(run: Run) -> bool:
    """Whether a run has moved far enough since its newest snapshot."""
    version, size = run.saved
    return run.state.version - version >= max(SNAPSHOT_EVENTS, size // SNAPSHOT_BYTES)


def save_snapshot(store: Store, run: Run) -> None:
    """Keep the run's present state. It must be the state of committed events."""
    snapshot = Snapshot(version=run.state.version, fold=FOLD, data=take_snapshot(run))
    run.saved = (snapshot.version, len(snapshot.data))  # also if it fails: not at every turn again
    store.save_snapshot(run.stream, snapshot)


def take_snapshot(run: Run) -> bytes:
    """The state as JSON text."""
    return msgspec.json.encode(run.state)


_state_decoder = msgspec.json.Decoder(RunState)


def from_snapshot(run_id: str, definition: PipelineDefinition, data: bytes) -> Run:
    """The run as it was when the snapshot was taken."""
    run = Run(run_id, definition)
    restore(run, data)
    return run


def restore(run: Run, data: bytes) -> None:
    """Put a run back to where it was when the snapshot was taken."""
    run.state = _state_decoder.decode(data)
    run.saved = (run.state.version, len(data))
    run.told.clear()
