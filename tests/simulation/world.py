"""The world of a simulation: its time, its log, and what goes wrong with both.

All chance comes from one seed. Every process sees the log through a view of its own, which fails
as a disk, a kernel and a network do: before an append has happened, or after it and before its
answer has come; the process may die there, or be stopped there while others go on. Reads fail too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from semantica.pipeline.events.directory import RunRow
from semantica.pipeline.events.envelope import Envelope
from semantica.pipeline.events.errors import AppendRefused, LogUnavailable
from semantica.pipeline.events.lines import LogLine
from semantica.pipeline.events.memory import MemoryStore
from semantica.pipeline.events.store import Batch, InboxItem, Member, Snapshot

SECOND = 1_000_000_000
TICK = 0.0005
"""Seconds that pass between two looks at the clock."""


class Crash(BaseException):
    """The process that does this dies here."""


class World:
    """Time, the log, and the odds.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.wall = 1_700_000_000 * SECOND
        self.mono = 1_000 * SECOND
        self.store = MemoryStore()
        self.dead: set[str] = set()
        """Owners whose process is gone."""
        self.steady = self.chance.random() < 0.5
        """No clock is ever set, and all show the same."""
        self.locks = self.chance.random() < 0.7
        """A dead process is known at once by the lock that it held, as on one machine; else its
        lease has to lapse."""
        self.trouble = self.chance.choice([0.0, 0.02, 0.1, 0.25])
        """How likely an append is to meet something."""
        self.peace = False
        self.faults: Counter[str] = Counter()
        self.meanwhile: Callable[[View], None] = lambda view: None
        """What the others do while a process is stopped."""

    def pass_time(self, seconds: float) -> None:
        self.wall += int(seconds * SECOND)
        self.mono += int(seconds * SECOND)

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall += int(seconds * SECOND)
        self.faults["clock set"] += 1

    def reading(self) -> None:
        """What a read of the disk meets. Raises LogUnavailable."""
        if not self.peace and self.chance.random() < self.trouble * READS_FAIL:
            self.faults["read fails"] += 1
            raise LogUnavailable("the disk refuses to read", transient=True)

    def fate(self) -> str:
        """What an access to the disk meets."""
        if self.peace or self.chance.random() >= self.trouble:
            return "works"
        fate = self.chance.choices(list(FATES), list(FATES.values()))[0]
        self.faults[fate] += 1
        return fate


FATES = {
    "fails": 6,
    "answer lost": 4,
    "log gone": 1,
    "crash before": 2,
    "crash after": 2,
    "stopped before": 3,
    "stopped after": 3,
}

READS_FAIL = 0.2
"""How much likelier an append is to meet something than a read is to fail, turned round."""


class Hands:
    """A process's clock."""

    def __init__(self, world: World, skew: int) -> None:
        self._world, self._skew = world, skew

    def now(self) -> int:
        self._world.pass_time(TICK)
        return self._world.wall + self._skew

    def monotonic(self) -> int:
        return self._world.mono


class Closing:
    """Stands for the event on which a loop waits until it tries again."""

    def __init__(self, world: World) -> None:
        self._world = world

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        self._world.pass_time(timeout)
        return False


class View:
    """The log as one process sees it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store = world.store
        self._foreign = False
        self.others: list[View] = []
        """The views of all processes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)  # what needs no disk

    def read(self, stream: str, after: int = 0) -> Iterator[Envelope]:
        for envelope in self._store.read(stream, after):
            self._world.reading()
            yield envelope

    def run(self, run_id: str) -> RunRow | None:
        self._world.reading()
        return self._store.run(run_id)

    def runs(self, **chosen: Any) -> list[RunRow]:
        self._world.reading()
        return self._store.runs(**chosen)

    def inbox(self, *, after: int = 0) -> list[InboxItem]:
        self._world.reading()
        return self._store.inbox(after=after)

    def members(self) -> list[Member]:
        self._world.reading()
        return self._store.members()

    def load_snapshot(self, stream: str) -> Snapshot | None:
        self._world.reading()
        return self._store.load_snapshot(stream)

    def append(
        self, batches: Sequence[Batch], *, taken: Sequence[int] = (), lines: Sequence[LogLine] = ()
    ) -> list[AppendRefused | None]:
        fate = self._world.fate()
        self._before(fate)
        answers = self._store.append(batches, taken=taken, lines=lines)
        self._changed()
        if fate == "stopped after":
            self._world.meanwhile(self)
        elif fate == "crash after":
            raise Crash
        elif fate == "answer lost":
            raise LogUnavailable("the answer was lost", transient=True)
        return answers

    def _before(self, fate: str) -> None:
        if fate == "stopped before":
            self._world.meanwhile(self)
        elif fate == "crash before":
            raise Crash
        elif fate in ("fails", "log gone"):
            raise LogUnavailable("the disk is full", transient=fate == "fails")

    def _changed(self) -> None:
        for view in self.others:
            view._foreign = view._foreign or view is not self

    def news(self) -> bool:
        self._world.reading()
        seen, self._foreign = self._foreign, False
        return seen

    def send(self, stream: str, command: bytes, *, actor: str, at: int) -> int:
        self._before(self._world.fate())
        item = self._store.send(stream, command, actor=actor, at=at)
        self._changed()
        return item

    def join(self, member: Member) -> None:
        self._before(self._world.fate())
        self._store.join(member)

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        self._before(self._world.fate())
        self._store.save_snapshot(stream, snapshot)

    def alive(self, member_id: str, now: int) -> bool:
        if self._world.locks and member_id in self._world.dead:
            return False
        self._world.reading()
        return self._store.alive(member_id, now)
