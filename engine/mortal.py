"""A log as one process sees it, and the death of that process: nothing it does arrives any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..events.errors import AppendRefused, LogError
from ..events.lines import LogLine
from ..events.store import Batch, Member, Snapshot, Store


class SimulatedCrash(LogError):
    """The process that worked on this log is taken to have been killed."""


class MortalStore:
    """A :class:`~semantica.pipeline.events.store.Store` that writes to another one until it dies.

    What can be read is the same before and after. Like a lock that the kernel frees, a lease ends
    with its holder: signing off works for the dead as well. Closing it leaves the log open.

    Args:
        log: Where everything is kept.
    """

    def __init__(self, log: Store) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._doom: tuple[str, int] | None = None
        self.dead = False
        self.on_death: Callable[[], object] = bool
        """Called once, in the thread in which it dies."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def die(self) -> None:
        """Record nothing from now on."""
        with self._lock:
            already, self.dead = self.dead, True
        if not already:
            self.on_death()

    def die_after(self, event: str, times: int) -> None:
        """Die with the commit that holds the event of this type which is the ``times``-th from
        now; what is in one commit is recorded together, or not at all."""
        with self._lock:
            self._doom = (event, times)

    def append(
        self, batches: Sequence[Batch], *, taken: Sequence[int] = (), lines: Sequence[LogLine] = ()
    ) -> list[AppendRefused | None]:
        """Append, perhaps as the last thing in this life. Raises SimulatedCrash."""
        self._check()
        answers = self._log.append(batches, taken=taken, lines=lines)
        recorded = [b for b, refused in zip(batches, answers, strict=True) if refused is None]
        if self._is_doomed([event.type for batch in recorded for event in batch.events]):
            self.die()
        self._check()
        return answers

    def send(self, stream: str, command: bytes, *, actor: str, at: int) -> int:
        """See the protocol. Raises SimulatedCrash."""
        self._check()
        return self._log.send(stream, command, actor=actor, at=at)

    def join(self, member: Member) -> None:
        """See the protocol. Raises SimulatedCrash."""
        self._check()
        self._log.join(member)

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        """See the protocol. Raises SimulatedCrash."""
        self._check()
        self._log.save_snapshot(stream, snapshot)

    def close(self) -> None:
        """Nothing: the log outlives this process."""

    def _is_doomed(self, types: Sequence[str]) -> bool:
        with self._lock:
            if self._doom is None:
                return False
            event, left = self._doom
            left -= types.count(event)
            self._doom = (event, left)
            return left <= 0

    def _check(self) -> None:
        if self.dead:
            raise SimulatedCrash("the process that worked on this log was killed, as was asked for")
