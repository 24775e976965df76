"""The log that a command works on, and the run that its user means."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..engine.logs import DEFAULT_LOG, open_log
from ..events.directory import RunRow
from ..events.errors import AmbiguousRun, ArchivedRun, RunNotFound, nearest
from ..events.keys import MemoryKeys
from ..events.machines import PipelineStatus
from ..events.memory import MemoryStore
from ..events.retention import not_here
from ..events.sealed_store import sealing
from ..events.store import Durability, Member, Store
from .terminal import BadInput

ENOUGH = 8
"""Runs that an error message lists."""
MANY = 1000
"""Newest runs among whose names and ids one is looked for that was meant."""


class Log(NamedTuple):
    """An open log: its store, and what engines of this process open it by."""

    store: Store
    name: str | Store | None


@contextmanager
def opened(
    log: str | None, *, durability: Durability = "full", create: bool = False
) -> Iterator[Log]:
    """A log, until the end of the block.

    Args:
        log: As in ``--log``; None for ``$PIPELINE_LOG``, else the default.
        create: Whether it may be new; otherwise it is an error if there is none.

    Raises:
        BadInput: There is no such log.
        LogError: It cannot be used.
    """
    name = _named(log)
    if name == ":memory:":
        if not create:
            raise BadInput("a log in memory ends with its process; name a file with --log")
        memory = sealing(MemoryStore(), MemoryKeys)
        yield Log(memory, memory)
        return
    path = _path(name)
    if not create and not _foreign(name) and not path.exists():
        raise BadInput(f"no log at {path.absolute()}; name one with --log or PIPELINE_LOG")
    shared = open_log(name, durability)
    try:
        yield Log(shared.store, name)
    finally:
        shared.leave()


def place_of(log: str | None) -> Path | None:
    """Where a log is, whether it exists or not; None for one in memory. Raises BadInput."""
    name = _named(log)
    if _foreign(name):
        raise BadInput(f"cannot open the log {name!r}: give a path or sqlite:///path")
    return None if name == ":memory:" else _path(name).absolute()


def _named(log: str | None) -> str | None:
    return log or os.environ.get("PIPELINE_LOG") or None


def _path(name: str | None) -> Path:
    return Path((name or DEFAULT_LOG).removeprefix("sqlite:///")).expanduser()


def _foreign(name: str | None) -> bool:
    """Names another kind of store than a file; opening it says what is possible."""
    return name is not None and "://" in name and not name.startswith("sqlite:///")


def newest(store: Store) -> RunRow:
    """The run that was submitted last. Raises RunNotFound."""
    rows = store.runs(limit=1, roots=True)
    if not rows:
        raise RunNotFound(f"{store.location} holds no runs yet")
    return rows[0]


def find(store: Store, text: str, *, for_control: bool = False) -> RunRow:
    """The run of that id, of that pipeline name (the newest), or of that unique prefix of an id.

    Args:
        for_control: Of several runs of a name the one that goes on, not the newest.

    Raises:
        RunNotFound: There is none.
        AmbiguousRun: Several are meant.
    """
    row = store.run(text)
    if row is not None:
        return row
    if for_control:
        going = [s for s in PipelineStatus if not s.finished and s is not PipelineStatus.STOPPED]
        rows = store.runs(name=text, statuses=going, limit=100, roots=True)
        if rows:
            return _only(rows, f"runs of {text!r} go on")
    rows = store.runs(name=text, roots=True, limit=1) or store.runs(name=text, limit=1)
    if rows:
        return rows[0]
    rows = [row for row in store.runs() if row.run_id.startswith(text)] if text else []
    if not rows:
        raise _not_found(store, text)
    return _only(rows, f"runs begin with {text!r}")


def _not_found(store: Store, text: str) -> RunNotFound:
    error = not_here(store, text)
    if isinstance(error, ArchivedRun):
        return error
    rows = store.runs(limit=MANY)
    names = {row.name for row in rows} | {row.run_id for row in rows}
    return RunNotFound(f"{error}{nearest(text, sorted(names))}")


def _only(rows: list[RunRow], what: str) -> RunRow:
    if len(rows) == 1:
        return rows[0]
    listing = ", ".join(row.run_id for row in rows[:ENOUGH])
    more = ", ..." if len(rows) > ENOUGH else ""
    raise AmbiguousRun(f"{len(rows)} {what}; name one by its id: {listing}{more}")


def holder(store: Store, row: RunRow) -> Member | None:
    """The living engine that has the run in its hands, if any."""
    ended = row.status.finished or row.status is PipelineStatus.STOPPED
    if row.owner is None or ended or not store.alive(row.owner, time.time_ns()):
        return None
    return next((member for member in store.members() if member.id == row.owner), None)


def unowned(store: Store) -> list[RunRow]:
    """The active runs that nobody works on, oldest first."""
    active = [status for status in PipelineStatus if status.active]
    return [
        row
        for row in reversed(store.runs(statuses=active, roots=True))
        if holder(store, row) is None
    ]
