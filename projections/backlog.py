"""The runs of a log that are not over: what waits in queues, and what goes on."""

from __future__ import annotations

import msgspec

from ..events.directory import RunRow, concerns
from ..events.errors import LogCorrupt, UnknownEvent
from ..events.machines import PipelineStatus
from ..events.pipeline import PipelineSubmitted
from ..events.store import Store
from ..events.upcasters import to_event

UNFINISHED = [status for status in PipelineStatus if not status.finished]


class Entry(msgspec.Struct, frozen=True):
    """A run: its row of the directory, and what it was submitted with. Times are ns, UTC."""

    row: RunRow
    queue: str | None
    deadline: int | None

    @property
    def waits(self) -> bool:
        """In a queue, for somebody to claim it."""
        return self.queue is not None and self.row.status is PipelineStatus.PENDING

    @property
    def goes_on(self) -> bool:
        """It takes a place of those that limits give: it was claimed and is not over. One that was
        paused keeps its place, so that it can go on at once."""
        paused = self.row.status is PipelineStatus.PAUSED and self.row.owner is not None
        return self.row.status.active or paused


class Backlog:
    """The unfinished runs of a log that are no steps of others, kept up to date by its events.

    Args:
        store: The log.
    """

    def __init__(self, store: Store) -> None:
        self.entries: dict[str, Entry] = {}
        self._store = store
        self._position: int | None = None
        """Of the newest event that has been seen."""

    def look(self) -> list[str]:
        """See what has happened; returns the ids of the runs that changed, or are over now.

        Raises:
            LogError: The log cannot be read.
        """
        if self._position is None:
            position = self._store.position()
            rows = self._store.runs(statuses=UNFINISHED, roots=True)
            self.entries = {row.run_id: self._entry(row) for row in reversed(rows)}
            self._position = position
            return list(self.entries)
        position, changed = self._position, dict[str, None]()
        for envelope in self._store.read_all(position):
            position = envelope.position
            if concerns(envelope.type):
                changed[envelope.stream.partition("/")[2]] = None
        for run_id in changed:
            row = self._store.run(run_id)
            if row is None or row.status.finished or row.parent is not None:
                self.entries.pop(run_id, None)
            else:
                self.entries[run_id] = self._entry(row)
        self._position = position  # not before: what could not be read is read next time
        return list(changed)

    def _entry(self, row: RunRow) -> Entry:
        known = self.entries.get(row.run_id)
        if known is not None:
            return Entry(row, known.queue, known.deadline)
        first = next(self._store.read(row.stream), None)
        try:
            event = None if first is None else to_event(first)
        except (UnknownEvent, LogCorrupt):
            event = None  # it is nothing for a worker; whoever asks for it is told
        if not isinstance(event, PipelineSubmitted):
            return Entry(row, None, None)
        return Entry(row, event.queue, event.deadline)
