"""Whether what is derived from a log says what its events say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ..events.errors import PipelineError
from ..events.resource import pool_stream
from ..events.store import Snapshot, Store
from ..events.upcasters import to_event
from ..events.verify import Fault
from . import pool as pools
from .catchup import from_snapshot, load_run
from .run import FOLD


def snapshot_faults(store: Store, streams: Iterable[str]) -> Iterator[Fault]:
    """Fold the events of each stream that has a snapshot, and compare."""
    for stream in streams:
        kind, _, name = stream.partition("/")
        snapshot = store.load_snapshot(stream)
        if snapshot is None:
            continue
        try:
            if kind == "run" and snapshot.fold == FOLD:
                fault = _run_fault(store, name, snapshot)
            elif stream == pool_stream(name) and snapshot.fold == pools.FOLD:
                fault = _pool_fault(store, name, snapshot)
            else:
                continue  # of another fold: nobody reads it
        except PipelineError as error:
            fault = f"its snapshot cannot be compared: {error}"
        if fault:
            yield Fault(fault, stream, snapshot.version)


def _run_fault(store: Store, name: str, snapshot: Snapshot) -> str | None:
    run = load_run(store, name, snapshots=False, until=snapshot.version)
    try:
        kept = from_snapshot(name, run.graph.definition, snapshot.data)
    except msgspec.MsgspecError:
        return "its snapshot cannot be read (it is not used)"
    same = kept.state == run.state and kept.state.version == snapshot.version
    return None if same else "its snapshot differs from its events"


def _pool_fault(store: Store, name: str, snapshot: Snapshot) -> str | None:
    pool = pools.Pool(name)
    for envelope in store.read(pool_stream(name)):
        if envelope.version > snapshot.version:
            break
        pool.apply(to_event(envelope), version=envelope.version, at=envelope.at)
    try:
        kept = pools.pool_from_bytes(name, snapshot.data)
    except msgspec.MsgspecError:
        return "its snapshot cannot be read (it is not used)"
    same = kept.state == pool.state and kept.state.version == snapshot.version
    return None if same else "its snapshot differs from its events"
