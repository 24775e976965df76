"""Attempts that end at the same time share a commit.

The worker that is first has the loop commit while the others are about to end; then they need a
commit of their own, and so on: half of the commits are for one attempt alone. So a turn waits for
the attempts in flight, but no longer than a commit takes, and where they do not come by then, the
next turns do not wait at all. After PostgreSQL's ``commit_delay``
(https://www.postgresql.org/docs/current/runtime-config-wal.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .clock import Clock
from .mailbox import Mailbox, Message

MAX_SECONDS = 0.005
"""What a turn waits at most."""
PASS_BY = 16
"""Turns that do not wait after one that has waited in vain."""


class Gathering:
    """Part of a :class:`~semantica.pipeline.engine.loop.Loop`."""

    def __init__(self, mailbox: Mailbox, clock: Clock) -> None:
        self.in_flight = 0
        """Attempts that have not ended for their runs."""
        self._mailbox, self._clock = mailbox, clock
        self._seconds = 0.0
        self._pass_by = 0

    @contextmanager
    def commit(self) -> Iterator[None]:
        """See how long a commit takes."""
        begun = self._clock.monotonic()
        yield
        self._seconds = min((self._clock.monotonic() - begun) / 1e9, MAX_SECONDS)

    def gather(self, messages: list[Message]) -> None:
        """Add what arrives in time, if more attempts are in flight than messages are here."""
        if len(messages) >= self.in_flight:
            return
        if self._pass_by:
            self._pass_by -= 1
        elif not self._mailbox.fill(messages, self.in_flight, self._seconds):
            self._pass_by = PASS_BY
