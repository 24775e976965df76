"""What an event log must do. One contract suite holds every store to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import msgspec

from .artifacts import ArtifactKeeper
from .directory import RunRow
from .envelope import Envelope, NewEvent
from .errors import AppendRefused
from .lines import Lines, LogLine
from .machines import PipelineStatus
from .subscriptions import Subscriptions

if TYPE_CHECKING:
    from .verify import Inspection

Durability = Literal["full", "normal", "off"]
"""What an acknowledged event survives. ``full``: power loss. ``normal``: a killed process; power
loss may take the newest events, never the file. ``off``: a killed process only."""


def check_durability(durability: str) -> None:
    """Raise ValueError for what is none."""
    if durability not in get_args(Durability):
        raise ValueError(f"durability must be 'full', 'normal' or 'off', not {durability!r}")


class Batch(msgspec.Struct, frozen=True):
    """Events for one stream, to be appended together.

    Args:
        stream: ``run/<run id>``.
        after: The version they follow; 0 for a new stream.
        epoch: The writer's term; refused when the stream has seen a higher one.
        actor: Who causes them.
        at: Nanoseconds since 1970, UTC.
        events: In order, at least one.
        unit: Batches of the same unit are recorded all, or none.
    """

    stream: str
    after: int
    epoch: int
    actor: str
    at: int
    events: Sequence[NewEvent]
    unit: str = ""


class InboxItem(msgspec.Struct, frozen=True):
    """A command that somebody who does not own the run sent to its owner."""

    id: int
    stream: str
    at: int
    actor: str
    command: bytes


class Member(msgspec.Struct, frozen=True):
    """An engine that takes part in a log. ``expires`` (ns) is the end of its lease on its runs;
    ``address`` is where it can be woken, if anywhere."""

    id: str
    host: str
    pid: int
    expires: int
    address: str | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """A fold's state after ``version``; ignored when ``fold`` is not the present one."""

    version: int
    fold: int
    data: bytes


class Backup(msgspec.Struct, frozen=True):
    """A copy of a log, and how much is in it."""

    path: str
    runs: int
    events: int
    artifacts: int


class Store(Protocol):
    """A log of events in streams, and what its owners need to work on it together.

    Safe to use from several threads. Every method raises a ``LogError`` that says what is wrong;
    a ``LogUnavailable`` with ``transient`` may pass.
    """

    location: str
    """How the log is named to people and in ``--log``."""

    @property
    def artifacts(self) -> ArtifactKeeper:
        """Where large values are kept."""
        ...

    @property
    def subscriptions(self) -> Subscriptions:
        """How far those have come who follow it."""
        ...

    @property
    def lines(self) -> Lines:
        """What handlers have said."""
        ...

    def append(
        self, batches: Sequence[Batch], *, taken: Sequence[int] = (), lines: Sequence[LogLine] = ()
    ) -> list[AppendRefused | None]:
        """Append in one durable transaction, and remove the inbox items ``taken`` with it, but
        for those of a stream whose batch is refused: they are for its new owner. ``lines`` are
        kept with it, whatever their id, but for those of runs that the directory does not have.

        A batch whose stream has another version or a higher epoch, or was archived, is left out,
        with those of its unit, and its refusal returned in its place; the others are recorded.
        """
        ...

    def adopt(self, pages: Iterable[Sequence[Batch]]) -> None:
        """Append the batches of all pages in one durable transaction, in bounded memory.

        Raises:
            AppendRefused: One may not follow its stream; nothing was recorded. Nor is it after any
                other error, those of ``pages`` included.
        """
        ...

    def read(self, stream: str, after: int = 0) -> Iterator[Envelope]:
        """Events of a stream after a version, in order, in bounded memory."""
        ...

    def read_all(self, after: int = 0) -> Iterator[Envelope]:
        """Events of all streams after a position, in order, in bounded memory."""
        ...

    def position(self) -> int:
        """The position of the newest event of all streams; 0 while there is none. What is read
        with :meth:`read_all` after it is what has happened since."""
        ...

    def head(self, stream: str) -> Envelope | None:
        """The newest event of a stream."""
        ...

    def cached(self, key: str) -> Envelope | None:
        """The newest StepCompleted whose work is known by a cache key."""
        ...

    def archived(self, run_id: str) -> Envelope | None:
        """The RunArchived of a run whose events are not here any more."""
        ...

    def run(self, run_id: str) -> RunRow | None:
        """The directory's row of a run."""
        ...

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
        """Rows of the directory that fit, newest first; ``roots``: no steps of other runs."""
        ...

    def rebuild(self) -> None:
        """Drop everything that is derived (directory, snapshots) and derive it anew from events."""
        ...

    def send(self, stream: str, command: bytes, *, actor: str, at: int) -> int:
        """Put a command into the inbox of a stream's owner; returns its id."""
        ...

    def inbox(self, *, after: int = 0) -> list[InboxItem]:
        """Commands with a higher id than ``after`` that have not been taken, oldest first."""
        ...

    def join(self, member: Member) -> None:
        """Register an engine, or renew its lease."""
        ...

    def leave(self, member_id: str) -> None:
        """Remove an engine; its runs are unowned at once."""
        ...

    def members(self) -> list[Member]:
        """The engines that are registered."""
        ...

    def alive(self, member_id: str, now: int) -> bool:
        """Whether an owner still holds its runs: its process lives and its lease has not lapsed."""
        ...

    def news(self) -> bool:
        """Whether somebody else has changed the log since the last call."""
        ...

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        """Keep the newest snapshot of a stream; an older one gives way."""
        ...

    def load_snapshot(self, stream: str) -> Snapshot | None:
        """The newest snapshot of a stream."""
        ...

    def retire(self, head: Envelope, stub: Batch) -> AppendRefused | None:
        """In one durable transaction append ``stub`` and remove the stream whose newest event is
        ``head``: its events, its row in the directory, its snapshot, its lines and what is in its
        inbox. From then on no event of that stream is accepted. Positions are never given twice.

        Returns:
            Why nothing was changed: one of the two streams is at another version.
        """
        ...

    def locked(self) -> AbstractContextManager[None]:
        """Until the end of the block nobody else can append."""
        ...

    def compact(self) -> int:
        """Give the space of what was removed back to the file system; appends wait meanwhile.

        Returns:
            Bytes by which the log is smaller.
        """
        ...

    def inspect(self) -> AbstractContextManager[Inspection]:
        """The log as it is stored now, for a :class:`Verification`; others go on appending."""
        ...

    def backup(self, path: Path) -> Backup:
        """Copy the log as it is at one moment, with its artifacts, while others work on it.

        The copy is a log; its digest chains have been checked, and it has no members: whoever
        opens it can recover its runs. Nothing is at ``path`` before it is complete.

        Raises:
            LogError: There is something at ``path``, or this log cannot be copied.
            LogUnavailable: The copy cannot be written.
            LogCorrupt: A digest chain of the log is broken, or an artifact is damaged.
        """
        ...

    def close(self) -> None:
        """Release what the store holds. Closing twice does nothing."""
        ...
