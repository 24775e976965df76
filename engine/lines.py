"""From ``context.log`` to the log: what attempts have said waits here for a commit.

Lines travel with the events that a turn commits: an attempt's last ones with its end. While nothing
else is to be committed, they wait for one another. Whoever says more than the log should take is
told so by a line that counts what was dropped; a handler never waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..events.envelope import CLEAR
from ..events.errors import LogError
from ..events.lines import LEVELS, LogLine, payload_of
from ..events.store import Store
from .backends.alarm import after
from .clock import Clock
from .logger import logger
from .saying import Said, kept

PATIENCE = 0.2
"""Seconds that a line waits for others."""
MOST_WAITING = 10_000
"""Lines of a process that wait, while the log cannot be written."""
BURST, INTERVAL = 10_000, 30
"""Lines of an attempt that are kept in so many seconds; systemd-journald's defaults
(https://www.freedesktop.org/software/systemd/man/journald.conf.html, RateLimitBurst=)."""
OFF = "off"
"""In place of a level: nothing is kept."""


class WaitingLines:
    """Lines of a loop's runs that are not in the log yet.

    Args:
        wake: See to it that there is a turn. Any thread.
    """

    def __init__(self, store: Store, wake: Callable[[], None]) -> None:
        self._store, self._wake = store, wake
        self._lock = threading.Lock()
        self._waiting: list[LogLine] = []
        self._alarmed = self._due = False

    def add(self, line: LogLine, *, must: bool = False) -> bool:
        """Have a line written; False: there are too many, unless it ``must``. Any thread."""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING and not must:
                return False
            self._waiting.append(line)
            alarmed, self._alarmed = self._alarmed, True
        if not alarmed:  # a turn for it alone would cost more than the line
            after(PATIENCE, self._fall_due)
        return True

    def _fall_due(self) -> None:
        with self._lock:
            self._alarmed, self._due = False, bool(self._waiting)
        if self._due:
            self._wake()

    def take(self, *, anyway: bool) -> list[LogLine]:
        """What this turn commits: all there is, if it commits ``anyway``, or they have waited."""
        if not (anyway or self._due):
            return []
        with self._lock:
            lines, self._waiting = self._waiting, []
            self._due = False
        return lines

    def flush(self) -> None:
        """Write what there is, as the last thing. It is no reason to fail."""
        lines = self.take(anyway=True)
        try:
            if lines:
                self._store.append([], lines=lines)
        except LogError as error:
            logger().warning(f"{len(lines)} lines of handlers are lost", error=str(error))


class AttemptLines:
    """What an attempt says: kept, if it is severe enough, and passed to the application's logger.

    Args:
        level: The least severe one that is kept, or :data:`OFF`.
        encoding: How the run is recorded.
    """

    def __init__(
        self,
        waiting: WaitingLines,
        run: str,
        step: str,
        attempt: int,
        level: str,
        clock: Clock,
        encoding: str = CLEAR,
    ) -> None:
        self._waiting, self._clock, self._encoding = waiting, clock, encoding
        self._run, self._step, self._attempt = run, step, attempt
        self._kept = () if level == OFF else LEVELS[LEVELS.index(level) :]
        self._lock = threading.Lock()
        self._since = self._count = self._dropped = 0

    def __call__(self, said: Said) -> None:
        if said.level in self._kept:
            self._keep(said)
        values = said.values
        if said.error is not None:
            values = {**values, "exc_info": said.error}
            values.pop("exception", None)
        try:
            self._show(said.level, values)
        except Exception:  # of a broken __repr__, say
            self._show(said.level, kept(said.values))

    def _show(self, level: str, values: dict[str, Any]) -> None:
        """As the application has configured it."""
        bound = logger().bind(run=self._run, step=self._step, attempt=self._attempt)
        getattr(bound, level)(**values)

    def _keep(self, said: Said) -> None:
        if not self._may_speak(said.at):
            return
        line = self._line(said.at, said.level, kept(said.values), said.item)
        if not self._waiting.add(line):
            with self._lock:
                self._dropped += 1

    def _may_speak(self, at: int) -> bool:
        """Whether it has not said too much of late."""
        with self._lock:
            if not 0 <= at - self._since < INTERVAL * 10**9:  # the clock may be set back
                self._since, self._count = at, 0
                dropped, self._dropped = self._dropped, 0
            else:
                dropped = 0
            self._count += 1
            allowed = self._count <= BURST
            self._dropped += not allowed
        self._confess(dropped, at)
        return allowed

    def end(self) -> None:
        """The attempt is over; what it may say from now on is kept as well."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        self._confess(dropped, self._clock.now())

    def _confess(self, dropped: int, at: int) -> None:
        if dropped:
            told = {"event": f"{dropped:,} lines were dropped", "dropped": dropped}
            self._waiting.add(self._line(at, "warning", told), must=True)

    def _line(self, at: int, level: str, said: dict[str, Any], item: str | None = None) -> LogLine:
        payload, _ = payload_of(said)
        return LogLine(
            self._run, self._step, self._attempt, at, level, payload, item, self._encoding
        )
