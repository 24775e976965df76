"""Whether a log is as it was written: every digest computed anew, every fault named with its place.

One pass over all events in the order of their recording, whatever an index says; in memory is a
line for each stream and each artifact. After a fault the check goes on behind it. What it cannot
see by itself: the newest events of a stream cut off together with all that was derived from them,
a run that was removed, and a stream that was written anew from some event on, digests and all. An
anchor (:mod:`.anchor`) that was made before shows those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from .artifacts import ArtifactKeeper
from .codec import Value
from .directory import RunRow, advance, concerns, stream_of
from .envelope import GENESIS, Envelope, NewEvent, chain
from .errors import PipelineError
from .sealed_store import as_stored
from .stub import RunArchived
from .upcasters import to_event

if TYPE_CHECKING:
    from .anchor import AnchorCheck


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that is not as it was written, or does not fit the rest.

    Args:
        problem: What is wrong.
        stream, version, position: The event that it is about, if it is about one.
    """

    problem: str
    stream: str | None = None
    version: int | None = None
    position: int | None = None

    def __str__(self) -> str:
        place = [self.stream or "the log"]
        place += [f"version {self.version}"] if self.version is not None else []
        place += [f"(position {self.position})"] if self.position is not None else []
        return f"{' '.join(place)}: {self.problem}"


class Inspection(Protocol):
    """A log at one moment, as it is stored: what cannot be read is a fault, and no error."""

    def file(self) -> Iterator[Fault]:
        """What is wrong with the file as such."""
        ...

    def events(self) -> Iterator[Envelope | Fault]:
        """All events in the order of their positions."""
        ...

    def rows(self) -> Iterator[RunRow | Fault]:
        """The directory."""
        ...

    def version(self, stream: str) -> int:
        """Of the newest event of a stream; 0 without any. Raises LogError: it cannot be read."""
        ...

    def view(self, name: str, run_id: str) -> list[dict[str, Any]] | None:
        """What the view ``runs``, ``steps`` or ``failures``, which is for people, says of a run;
        None of a log without views. Raises LogError: it cannot be read."""
        ...


class Inspectable(Protocol):
    """A log that can be verified: every store."""

    @property
    def artifacts(self) -> ArtifactKeeper:
        """Where large values are kept."""
        ...

    def inspect(self) -> AbstractContextManager[Inspection]:
        """The log as it is now, whatever is appended meanwhile."""
        ...


class _Head(msgspec.Struct):
    version: int = 0
    epoch: int = 0
    digests: tuple[bytes, bytes] = (GENESIS, GENESIS)
    """Of the last event: as stored and as computed; the same, unless one of both was changed."""


class Verification:
    """The check of a log, or of some of its runs; what was checked is counted.

    Args:
        runs: Only the events of this run, or of these; artifacts that nothing names are left out.
        anchors: What the log is compared with besides.
    """

    def __init__(
        self,
        log: Inspectable,
        runs: str | Collection[str] | None = None,
        anchors: Sequence[AnchorCheck] = (),
    ) -> None:
        self.events = 0
        self.position = 0
        """Of the newest event that was read."""
        self.stubs: dict[str, RunArchived] = {}
        """Of the runs that have left, by their streams."""
        self.artifacts = 0
        self._log = as_stored(log)
        self._anchors = anchors
        ids = [runs] if isinstance(runs, str) else runs
        self._only = None if ids is None else frozenset(map(stream_of, ids))
        self._heads: dict[str, _Head] = {}
        self._rows: dict[str, RunRow] = {}
        self._lawless: set[str] = set()
        """Streams whose row in the directory cannot be known."""
        self._named: dict[str, Fault] = {}
        """Artifacts, with the place that names them first."""

    @property
    def streams(self) -> list[str]:
        """Those that were checked."""
        return list(self._heads)

    @property
    def heads(self) -> dict[str, tuple[int, bytes]]:
        """Version and digest of the newest event of each stream that was checked."""
        return {stream: (head.version, head.digests[0]) for stream, head in self._heads.items()}

    def faults(self) -> Iterator[Fault]:
        """Check all; the counts are right at the end."""
        with self._log.inspect() as inspection:
            yield from inspection.file()
            for found in inspection.events():
                if isinstance(found, Fault):
                    yield found
                elif self._concerns(found.stream):
                    yield from self._event(found)
            yield from self._directory(inspection)
        for stream, stub in self.stubs.items():
            if stream in self._heads:
                problem = f"there are events of it, though it left with {stub.events} events"
                yield Fault(problem, stream)
        for anchor in self._anchors:
            versions = {stream: head.version for stream, head in self._heads.items()}
            yield from anchor.finish(versions, self.stubs)
        yield from self._artifacts()

    def _concerns(self, stream: str) -> bool:
        return self._only is None or stream in self._only

    def _event(self, e: Envelope) -> Iterator[Fault]:
        self.events += 1
        self.position = max(self.position, e.position)
        head = self._heads.setdefault(e.stream, _Head())
        expected = head.version + 1
        event = NewEvent(e.type, e.schema, e.payload, e.encoding)
        computed = [
            chain(digest, e.stream, e.version, e.at, e.actor, e.epoch, event)
            for digest in dict.fromkeys(head.digests)
        ]
        epoch = head.epoch
        if e.version != expected:
            problem = f"version {expected} is missing, {e.version} follows"
            yield Fault(problem, e.stream, expected, e.position)
            self._lawless.add(e.stream)
        elif e.digest not in computed:
            problem = "its digest does not match its content"
            yield Fault(problem, e.stream, e.version, e.position)
            self._lawless.add(e.stream)
        else:
            yield from self._content(e, head, event)
            epoch = max(epoch, e.epoch)
        for anchor in self._anchors:
            yield from anchor.see(e, computed[0])
        self._heads[e.stream] = _Head(e.version, epoch, (e.digest, computed[0]))

    def _content(self, e: Envelope, head: _Head, event: NewEvent) -> Iterator[Fault]:
        """An event that is as it was written; is it one that could have been?"""
        if e.epoch < head.epoch:
            problem = f"its epoch {e.epoch} is lower than {head.epoch} before it"
            yield Fault(problem, e.stream, e.version, e.position)
        try:
            told = to_event(e)
            if concerns(e.type) and e.stream not in self._lawless:
                row = self._rows.get(e.stream)
                self._rows[e.stream] = advance(row, e.stream, e.at, e.epoch, event)
        except PipelineError as error:
            self._lawless.add(e.stream)
            yield Fault(str(error), e.stream, e.version, e.position)
            return
        if isinstance(told, RunArchived):
            self.stubs[stream_of(told.run)] = told
        if b'"artifact":"' in e.payload:
            place = Fault("", e.stream, e.version, e.position)
            for digest in artifacts_of(told):
                self._named.setdefault(digest, place)

    def _directory(self, inspection: Inspection) -> Iterator[Fault]:
        missing = dict(self._rows)
        for found in inspection.rows():
            if isinstance(found, Fault):
                yield found
                continue
            if not self._concerns(found.stream) or found.stream in self._lawless:
                continue
            row = missing.pop(found.stream, None)
            if row is None:
                yield Fault("the directory has a run of which there are no events", found.stream)
            elif row != found:
                differing = ", ".join(
                    f"{name} {_told(found, name)}, not {_told(row, name)}"
                    for name in row.__struct_fields__
                    if getattr(row, name) != getattr(found, name)
                )
                yield Fault(f"the directory has {differing} as its events do", found.stream)
        for stream in missing:
            if stream not in self._lawless:
                yield Fault("the directory lacks it", stream)

    def _artifacts(self) -> Iterator[Fault]:
        artifacts = self._log.artifacts
        for digest, place in self._named.items():
            yield from self._artifact(artifacts, digest, place)
        if self._only is None:
            nameless = Fault("")
            for digest in artifacts.digests():
                if digest not in self._named:
                    yield from self._artifact(artifacts, digest, nameless)

    def _artifact(self, artifacts: ArtifactKeeper, digest: str, place: Fault) -> Iterator[Fault]:
        self.artifacts += 1
        try:
            artifacts.get(digest)
        except PipelineError as error:
            yield msgspec.structs.replace(place, problem=str(error))


def _told(row: RunRow, name: str) -> str:
    value = getattr(row, name)
    return repr(str(value)) if isinstance(value, str) else repr(value)


def artifacts_of(event: Any) -> Iterator[str]:
    """The artifacts that an event names."""
    if isinstance(event, Value):
        if event.artifact is not None:
            yield event.artifact
    elif isinstance(event, msgspec.Struct):
        for name in event.__struct_fields__:
            yield from artifacts_of(getattr(event, name))
    elif isinstance(event, dict):
        for value in event.values():
            yield from artifacts_of(value)
    elif isinstance(event, list | tuple):
        for value in event:
            yield from artifacts_of(value)
