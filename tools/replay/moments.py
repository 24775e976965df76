"""Runs at moments that their users name: ``RUN``, ``RUN@VERSION``, ``RUN@TIME``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from ...events.directory import RunRow, advance, concerns
from ...events.envelope import Envelope, NewEvent
from ...events.errors import RunNotFound
from ...events.store import Store
from ...projections.account import Account, account
from ...projections.catchup import load_run
from ...projections.recording import restored
from ...projections.run import Run
from ..finding import find, opened
from ..terminal import BadInput
from ..times import time_of

RECORDING = ".jsonl"
"""How the names of files of recorded runs end."""


class Moment(NamedTuple):
    """A run as it was after an event, or at a time."""

    row: RunRow
    version: int
    """Of the last event that counts."""
    at: int
    """The time that is meant, ns since 1970, UTC: of a version, when it was recorded."""
    whole: bool
    """All of the run's events count."""

    def envelopes(self, store: Store) -> list[Envelope]:
        """The events that count."""
        return list(takewhile(lambda e: e.version <= self.version, store.read(self.row.stream)))

    def run(self, store: Store) -> Run:
        """The state then, folded from the events alone."""
        return load_run(store, self.row.run_id, snapshots=False, until=self.version)

    def account(self, store: Store) -> Account:
        """What the log tells of the run up to then."""
        return account(self.run(store), self.envelopes(store))


class History(NamedTuple):
    """A log, the run that is meant, and, if it was recorded to a file, what it had come to then."""

    store: Store
    row: RunRow | None
    summary: dict[str, Any] | None = None


@contextmanager
def history(log: str | None, run: str | None) -> Iterator[History]:
    """The log and the run that are meant, until the end of the block.

    Args:
        run: As users name it, or a file of ``testing.record_run``, which ends in ``.jsonl``; None:
            none in particular.

    Raises:
        RunNotFound, AmbiguousRun: The run is not one.
        LogError: The log or the file cannot be used.
    """
    if run is not None and Path(run).suffix == RECORDING:
        store, run_id, summary = restored(Path(run))
        yield History(store, find(store, run_id), summary)
        return
    with opened(log) as opened_log:
        yield History(opened_log.store, None if run is None else find(opened_log.store, run))


def moment_of(store: Store, text: str) -> Moment:
    """What ``RUN``, ``RUN@VERSION`` or ``RUN@TIME`` means; a run's name may have an ``@`` in it.

    Raises:
        RunNotFound, AmbiguousRun: The run is not one.
        BadInput: There is no such version or time of it.
    """
    try:
        return latest(store, find(store, text))
    except RunNotFound:
        name, at, when = text.rpartition("@")
        if not at or not name or not when:
            raise
    return narrowed(store, find(store, name), when)


def latest(store: Store, row: RunRow) -> Moment:
    """The run as it is now."""
    head = store.head(row.stream)
    assert head is not None  # it has a row in the directory
    return Moment(row, head.version, time.time_ns() if not row.status.finished else head.at, True)


def narrowed(store: Store, row: RunRow, when: str) -> Moment:
    """The run after version ``when``, or at the time ``when``. Raises BadInput."""
    now = latest(store, row)
    if when.isascii() and when.isdigit():
        version = int(when)
        if not 1 <= version <= now.version:
            raise BadInput(f"run {row.run_id} has no version {version}; it has 1 to {now.version}")
        (envelope,) = takewhile(lambda e: e.version == version, store.read(row.stream, version - 1))
        return Moment(row, version, envelope.at, version == now.version)
    at = time_of(when)
    last = 0
    for envelope in store.read(row.stream):
        if envelope.at > at:
            break
        last = envelope.version
    if not last:
        raise BadInput(f"run {row.run_id} had not been submitted by {when}")
    return Moment(row, last, at, last == now.version)


def row_at(store: Store, run_id: str, at: int) -> RunRow | None:
    """The row that the directory had of a run at a time, from its events."""
    row, stream = None, f"run/{run_id}"
    for e in takewhile(lambda e: e.at <= at, store.read(stream)):
        if concerns(e.type):
            event = NewEvent(e.type, e.schema, e.payload, e.encoding)
            row = advance(row, stream, e.at, e.epoch, event)
    return row
