"""Encrypted runs: which key a new one has, and how one is erased."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from ..events.directory import RunRow
from ..events.envelope import CLEAR, encoding_of, key_of
from ..events.errors import LogError, MissingKey, RunConflict
from ..events.machines import PIPELINE_TABLE, PipelineStatus
from ..events.pipeline import PipelineErased
from ..events.sealed_store import SealedStore, as_stored, keys_of
from ..events.store import Batch, Store
from ..events.upcasters import to_new
from .logs import keys_for
from .requests import beginning_of


class Erased(msgspec.Struct, frozen=True):
    """What was erased: the runs whose contents were encrypted with this key."""

    key: str
    runs: tuple[str, ...]


def encoding_for(store: Store, run_id: str, *, given: bool, encrypt: bool) -> str:
    """How a run that is asked for is recorded: with a new key to ``encrypt`` it, or, if it is
    there already, as it was begun.

    Args:
        given: Somebody has chosen the id, so that the run may be there.

    Raises:
        RunConflict: It is there, and not encrypted.
        MissingKey: The library is not there.
        LogUnavailable: The key cannot be written.
    """
    row = store.run(run_id) if given else None
    if row is None:
        return encoding_of(keys_of(store).create(run_id).id) if encrypt else CLEAR
    begun = beginning_of(store, row.stream).encoding
    if encrypt and begun == CLEAR:
        raise RunConflict(f"run {run_id} exists and is not encrypted; choose another run_id")
    return begun


def sharing(store: Store, encoding: str) -> list[RunRow]:
    """The runs that are encrypted so, oldest first, without those that were erased."""
    stored = as_stored(store)
    heads = ((row, stored.head(row.stream)) for row in stored.runs()[::-1])
    return [row for row, head in heads if head is not None and head.encoding == encoding]


@contextmanager
def keys_moved(store: Store, rows: Sequence[RunRow], to: Store | None) -> Iterator[None]:
    """Have the keys of runs that are moved to another log be there before them, and, when they are
    gone, no longer here. Those of runs that are discarded stay: there may be other copies."""
    heads = map(as_stored(store).head, (row.stream for row in rows) if to is not None else ())
    encodings = {head.encoding for head in heads if head is not None} - {CLEAR}
    if to is None or not encodings:
        yield
        return
    here, there = keys_of(store), keys_for(to)
    keys = {encoding: key_of(encoding) for encoding in encodings}
    moved = {encoding: key for encoding, key in keys.items() if key and here.has(key)}
    for key in moved.values():
        there.add(here.content(key))
    yield
    for encoding, key in moved.items():
        if here.place != there.place and not sharing(store, encoding):
            here.destroy(key)


def erase(store: Store, row: RunRow, *, actor: str, now: int, dry_run: bool = False) -> Erased:
    """See :meth:`ExecutionEngine.erase`; ``now`` in ns, UTC.

    That it is erased is recorded first. Killed before the key is destroyed, do it again.
    """
    encoding = beginning_of(store, row.stream).encoding
    key, keys = key_of(encoding), keys_of(store)
    if key is None:
        raise LogError(
            f"run {row.run_id} ({row.name}) is not encrypted, so that it cannot be erased; "
            "'archive --discard' removes finished runs"
        )
    rows = [row] if row.status is PipelineStatus.ERASED else sharing(store, encoding)
    told = Erased(key, tuple(one.run_id for one in rows))
    if row.status is not PipelineStatus.ERASED:
        if not keys.has(key):
            raise MissingKey(
                f"the key {key} of run {row.run_id} is not in {keys.place}, so that it cannot be "
                "destroyed here"
            )
        for one in rows:
            if (one.status, "PipelineErased") not in PIPELINE_TABLE:
                raise LogError(
                    f"run {one.run_id} ({one.name}) is {one.status} and would be erased; let it "
                    "end, stop it or cancel it first"
                )
    if not dry_run:
        if row.status is not PipelineStatus.ERASED:
            _record(as_stored(store), rows, key, actor, now)
        keys.destroy(key)
    return told


def _record(store: Store, rows: list[RunRow], key: str, actor: str, now: int) -> None:
    """All of them are erased, or none."""
    batches = []
    for row in rows:
        head = store.head(row.stream)
        assert head is not None  # it was seen
        event = PipelineErased(key, str(row.status))
        batches.append(
            Batch(row.stream, head.version, head.epoch, actor, now, [to_new(event)], unit=key)
        )
    for refusal in filter(None, store.append(batches)):
        raise LogError(f"nothing was erased, since a run has moved on: {refusal}; do it again")


def is_readable(store: Store, encoding: str) -> bool:
    """Whether the contents of a run of this encoding can be read here."""
    key = key_of(encoding)
    return key is None or (isinstance(store, SealedStore) and store.keys.has(key))
