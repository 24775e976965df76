"""What may leave a log, and who is asked: the half of the engine that keeps it small."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path

from ..events.arguments import number
from ..events.directory import RunRow, stream_of
from ..events.envelope import GENESIS, follows
from ..events.errors import LogError
from ..events.machines import PipelineStatus
from ..events.retention import Vacuumed, retire, stub_of, sweep
from ..events.store import Store
from ..events.stub import RunArchived
from ..events.verify import Fault
from .encrypting import keys_moved

GRACE = 24 * 3600.0
"""Seconds that an artifact which nothing names stays."""


def archive(
    store: Store,
    *,
    older_than: float,
    to: str | os.PathLike[str] | None,
    name: str | None,
    statuses: Iterable[PipelineStatus | str] | None,
    dry_run: bool,
    actor: str,
    now: int,
) -> list[RunArchived]:
    """See :meth:`ExecutionEngine.archive`."""
    age = number("older_than", older_than)
    chosen = _finished(statuses)
    every = store.runs()[::-1]
    here = {row.run_id for row in every}
    # A run that is a step of another one goes with that one, or after it if that was killed.
    rows = with_children(
        every,
        [
            row
            for row in every
            if (row.parent is None and name in (None, row.name) and row.status in chosen)
            or (row.parent is not None and row.parent not in here)
            if row.status.finished and now - row.changed_at >= age * 1e9
        ],
    )
    if dry_run:
        place = None if to is None else str(Path(to).resolve())
        made = [stub_of(store, row, place) for row in rows]
        return [one[1] for one in made if one]
    if not rows:
        return []
    with _opened(to, store) as target, keys_moved(store, rows, target):
        retired = (retire(store, row, target, actor=actor, at=now) for row in rows)
        return [stub for stub in retired if stub]


def with_children(every: list[RunRow], chosen: list[RunRow]) -> list[RunRow]:
    """These runs, each followed by those that are steps of it, and of those."""
    children: dict[str | None, list[RunRow]] = {}
    for row in every:
        children.setdefault(row.parent, []).append(row)
    found, waiting = list[RunRow](), chosen[::-1]
    while waiting:
        row = waiting.pop()
        found.append(row)
        waiting.extend(reversed(children.get(row.run_id, ())))
    return found


def _finished(statuses: Iterable[PipelineStatus | str] | None) -> list[PipelineStatus]:
    if isinstance(statuses, str):
        statuses = [statuses]
    finished = [status for status in PipelineStatus if status.finished]
    chosen = finished if statuses is None else [PipelineStatus(one) for one in statuses]
    for status in chosen:
        if status not in finished:
            raise ValueError(f"only finished runs can be archived ({', '.join(finished)}), not "
                             f"{status} ones")  # fmt: skip
    return chosen


@contextmanager
def _opened(to: str | os.PathLike[str] | None, store: Store) -> Iterator[Store | None]:
    """The log that runs are moved to, created if need be."""
    if to is None:
        yield None
        return
    from ..events.sqlite import SqliteStore

    path = Path(to).expanduser().resolve()
    if str(path) == store.location:
        raise LogError(f"{path} is the log itself; name another file for the archive")
    target = SqliteStore(path)
    try:
        yield target
    finally:
        target.close()


def vacuum(store: Store, *, grace: float, dry_run: bool) -> Vacuumed:
    """See :meth:`ExecutionEngine.vacuum`."""
    before = time.time_ns() - int(number("grace", grace) * 1e9)  # as the file system's clock
    artifacts, size = sweep(store, before, dry_run=dry_run)
    return Vacuumed(artifacts, size, 0 if dry_run else store.compact())


def archive_faults(stubs: Iterable[RunArchived]) -> Iterator[Fault]:
    """Compare stubs with the logs that their runs were moved to."""
    from ..events.sqlite import SqliteStore

    moved = [stub for stub in stubs if stub.to is not None]
    moved.sort(key=lambda stub: str(stub.to))
    for place, group in groupby(moved, key=lambda stub: str(stub.to)):
        if not Path(place).exists():
            yield Fault(f"the log {place} that runs were moved to is not there")
            continue
        try:
            store = SqliteStore(place)
        except LogError as error:
            yield Fault(str(error))
            continue
        try:
            for stub in group:
                fault = _moved_fault(store, stub)
                if fault:
                    yield Fault(f"{place} {fault}", stream_of(stub.run))
        finally:
            store.close()


def _moved_fault(store: Store, stub: RunArchived) -> str | None:
    """The events in an archive, up to the stub's number (it may have been resumed there)."""
    head, previous, seen = bytes.fromhex(stub.digest), GENESIS, 0
    try:
        for envelope in islice(store.read(stream_of(stub.run)), stub.events):
            seen += 1
            if envelope.version != seen or not follows(previous, envelope):
                return f"is damaged at version {seen}"
            previous = envelope.digest
    except LogError as error:
        return f"cannot be read: {error}"
    if seen != stub.events:
        return f"has {seen} of its {stub.events} events"
    return None if previous == head else "has another history of it"
