"""A log in memory: for tests, and for runs that need not outlive their process."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .artifacts import MemoryArtifacts
from .directory import RunRow, advance, concerns, stream_of
from .envelope import GENESIS, Envelope, NewEvent, chain
from .errors import AppendRefused, LogError
from .lines import LogLine, MemoryLines
from .machines import PipelineStatus
from .store import Backup, Batch, InboxItem, Member, Snapshot
from .stub import ARCHIVE
from .subscriptions import MemorySubscriptions


class MemoryStore:
    """See :class:`~semantica.pipeline.events.store.Store`."""

    def __init__(self) -> None:
        self.location = ":memory:"
        self.artifacts = MemoryArtifacts()
        self.subscriptions = MemorySubscriptions()
        self.lines = MemoryLines()
        self._lock = threading.RLock()
        self._log: list[Envelope] = []
        self._streams: dict[str, list[Envelope]] = {}
        self._directory: dict[str, RunRow] = {}
        self._inbox: dict[int, InboxItem] = {}
        self._last_item = 0
        self._members: dict[str, Member] = {}
        self._snapshots: dict[str, Snapshot] = {}
        self._cached: dict[str, Envelope] = {}
        self._archived: dict[str, Envelope] = {}

    def append(
        self, batches: Sequence[Batch], *, taken: Sequence[int] = (), lines: Sequence[LogLine] = ()
    ) -> list[AppendRefused | None]:
        with self._lock:
            directory = dict[str, RunRow]()
            heads = dict[str, tuple[int, int, bytes]]()
            recorded: list[Envelope] = []
            answers = in_turn(
                batches,
                self._open_head,
                lambda batch: self._prepare(batch, heads, directory, recorded),
            )
            # Nothing can fail from here on: all of it becomes visible together.
            for envelope in recorded:
                self._keep(envelope)
            self._directory.update(directory)
            self.lines.keep(one for one in lines if stream_of(one.run) in self._directory)
            refused = {answer.stream for answer in answers if answer}
            for item in taken:
                if item in self._inbox and self._inbox[item].stream not in refused:
                    del self._inbox[item]
            return answers

    def adopt(self, pages: Iterable[Sequence[Batch]]) -> None:
        batches = [batch for page in pages for batch in page]
        with self._lock:
            for refusal in _refused(batches, self._open_head).values():
                raise refusal
            self.append(batches)

    def _open_head(self, stream: str) -> tuple[int, int] | None:
        return None if stream in self._archived else self._head(stream)[:2]

    def _keep(self, envelope: Envelope) -> None:
        self._log.append(envelope)
        self._streams.setdefault(envelope.stream, []).append(envelope)
        if envelope.type == "StepCompleted" and b'"cache":' in envelope.payload:
            self._cached[msgspec.json.decode(envelope.payload).get("cache")] = envelope
        elif envelope.stream == ARCHIVE:
            self._archived[stream_of(msgspec.json.decode(envelope.payload)["run"])] = envelope

    def _prepare(
        self,
        batch: Batch,
        heads: dict[str, tuple[int, int, bytes]],
        directory: dict[str, RunRow],
        recorded: list[Envelope],
    ) -> None:
        """Make the envelopes of a batch; earlier batches of the same append count."""
        version, _, digest = heads.get(batch.stream) or self._head(batch.stream)
        row = directory.get(batch.stream) or self._directory.get(batch.stream)
        for event in batch.events:
            version += 1
            digest = chain(digest, batch.stream, version, batch.at, batch.actor, batch.epoch, event)
            if concerns(event.type):
                row = advance(row, batch.stream, batch.at, batch.epoch, event)
                directory[batch.stream] = row
            recorded.append(
                Envelope(
                    position=self.position() + len(recorded) + 1,
                    stream=batch.stream,
                    version=version,
                    type=event.type,
                    schema=event.schema,
                    at=batch.at,
                    actor=batch.actor,
                    epoch=batch.epoch,
                    encoding=event.encoding,
                    payload=event.payload,
                    digest=digest,
                )
            )
        heads[batch.stream] = (version, batch.epoch, digest)

    def _head(self, stream: str) -> tuple[int, int, bytes]:
        head = self.head(stream)
        return (head.version, head.epoch, head.digest) if head else (0, 0, GENESIS)

    def read(self, stream: str, after: int = 0) -> Iterator[Envelope]:
        with self._lock:
            return iter(self._streams.get(stream, [])[after:])

    def read_all(self, after: int = 0) -> Iterator[Envelope]:
        with self._lock:
            return iter(self._log[bisect_right(self._log, after, key=lambda e: e.position) :])

    def position(self) -> int:
        return self._log[-1].position if self._log else 0

    def head(self, stream: str) -> Envelope | None:
        events = self._streams.get(stream)
        return events[-1] if events else None

    def cached(self, key: str) -> Envelope | None:
        return self._cached.get(key)

    def archived(self, run_id: str) -> Envelope | None:
        return self._archived.get(stream_of(run_id))

    def run(self, run_id: str) -> RunRow | None:
        return self._directory.get(stream_of(run_id))

    def runs(
        self,
        *,
        name: str | None = None,
        statuses: Sequence[PipelineStatus] | None = None,
        owner: str | None = None,
        engine: str | None = None,
        roots: bool = False,
        limit: int | None = None,
    ) -> list[RunRow]:
        with self._lock:
            rows = [
                row
                for row in self._directory.values()
                if (name is None or row.name == name)
                and (statuses is None or row.status in statuses)
                and (owner is None or row.owner == owner)
                and (engine is None or row.engine == engine)
                and not (roots and row.parent is not None)
            ]
        rows.sort(key=lambda row: (row.submitted_at, row.run_id), reverse=True)
        return rows[:limit]

    def rebuild(self) -> None:
        with self._lock:
            self._snapshots.clear()
            self._directory.clear()
            for envelope in self._log:
                if concerns(envelope.type):
                    event = NewEvent(envelope.type, envelope.schema, envelope.payload)
                    row = self._directory.get(envelope.stream)
                    self._directory[envelope.stream] = advance(
                        row, envelope.stream, envelope.at, envelope.epoch, event
                    )

    def send(self, stream: str, command: bytes, *, actor: str, at: int) -> int:
        with self._lock:
            self._last_item += 1
            item = InboxItem(self._last_item, stream, at, actor, command)
            self._inbox[item.id] = item
            return item.id

    def inbox(self, *, after: int = 0) -> list[InboxItem]:
        with self._lock:
            return [item for item in self._inbox.values() if item.id > after]

    def join(self, member: Member) -> None:
        with self._lock:
            self._members[member.id] = member

    def leave(self, member_id: str) -> None:
        with self._lock:
            self._members.pop(member_id, None)

    def members(self) -> list[Member]:
        with self._lock:
            return list(self._members.values())

    def alive(self, member_id: str, now: int) -> bool:
        member = self._members.get(member_id)
        return member is not None and member.expires > now

    def news(self) -> bool:
        return False  # nobody else can reach this memory

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        self._snapshots[stream] = snapshot

    def load_snapshot(self, stream: str) -> Snapshot | None:
        return self._snapshots.get(stream)

    def retire(self, head: Envelope, stub: Batch) -> AppendRefused | None:
        with self._lock:
            if self.head(head.stream) != head:
                return AppendRefused(head.stream, f"it is not at version {head.version} any more")
            (refusal,) = self.append([stub])
            if refusal is None:
                self._log = [e for e in self._log if e.stream != head.stream]
                self._inbox = {k: i for k, i in self._inbox.items() if i.stream != head.stream}
                self._cached = {k: e for k, e in self._cached.items() if e.stream != head.stream}
                for derived in (self._streams, self._directory, self._snapshots):
                    derived.pop(head.stream, None)
                self.lines.drop(head.stream.partition("/")[2])
            return refusal

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self._lock:
            yield

    def compact(self) -> int:
        return 0  # memory is given back at once

    @contextmanager
    def inspect(self) -> Iterator[MemoryInspection]:
        with self._lock:
            yield MemoryInspection(list(self._log), list(self._directory.values()))

    def backup(self, path: Path) -> Backup:
        raise LogError("a log in memory cannot be backed up; execute on a log in a file")

    def close(self) -> None:
        """Nothing to release."""


class MemoryInspection(NamedTuple):
    """See :class:`~semantica.pipeline.events.verify.Inspection`."""

    log: Sequence[Envelope]
    directory: Sequence[RunRow]

    def file(self) -> Iterator[Any]:
        return iter(())

    def events(self) -> Iterator[Envelope]:
        return iter(self.log)

    def rows(self) -> Iterator[RunRow]:
        return iter(self.directory)

    def version(self, stream: str) -> int:
        return max((e.version for e in self.log if e.stream == stream), default=0)

    def view(self, name: str, run_id: str) -> None:
        """There are none."""


def in_turn(
    batches: Sequence[Batch],
    head: Callable[[str], tuple[int, int] | None],
    append: Callable[[Batch], None],
) -> list[AppendRefused | None]:
    """Append the batches that may be, in their order.

    Args:
        head: Version and epoch of a stream; None: it was archived.
    """
    refused = _refused(batches, head)
    for batch in batches:
        if batch.stream not in refused:
            append(batch)
    return [refused.get(batch.stream) for batch in batches]


def _refused(
    batches: Sequence[Batch], head: Callable[[str], tuple[int, int] | None]
) -> dict[str, AppendRefused]:
    """The streams that may not be written: one whose batch is refused, and those of its unit."""
    heads: dict[str, tuple[int, int] | None] = {}
    refused: dict[str, AppendRefused] = {}
    for batch in batches:
        stream = batch.stream
        if stream not in heads:
            heads[stream] = head(stream)
        known = heads[stream]
        refusal = refuse(batch, *known) if known else AppendRefused(stream, "it was archived")
        if refusal is not None:
            refused.setdefault(stream, refusal)
        if known is not None:
            heads[stream] = known[0] + len(batch.events), batch.epoch
    units: dict[str, dict[str, None]] = {}
    for batch in batches if refused else ():
        units.setdefault(batch.unit or batch.stream, {})[batch.stream] = None
    for streams in units.values():
        reason = next((refused[stream].reason for stream in streams if stream in refused), None)
        if reason is not None:
            for stream in streams:
                refused.setdefault(stream, AppendRefused(stream, f"a run it belongs to: {reason}"))
    return refused


def refuse(batch: Batch, version: int, epoch: int) -> AppendRefused | None:
    """Why a batch may not follow a stream's head, if so."""
    if epoch > batch.epoch:
        return AppendRefused(batch.stream, f"epoch {batch.epoch} is over, {epoch} has begun")
    if version != batch.after:
        return AppendRefused(batch.stream, f"it is at version {version}, not {batch.after}")
    return None
