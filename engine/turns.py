"""Whose turn it is: a loop has one turn at a time, in a thread of its own or in a worker's.

A worker that has ended an attempt takes the turn that records it, if nobody else is having one:
its next attempt is there when it comes back, and no thread had to wake another one up. (Two that
do so for every step spend more on it than on the step: the interpreter's lock has to change hands
across cores.) It takes one turn only, since it may have been given an attempt; what has arrived
meanwhile is left to the loop's own thread, which also has all the turns that time brings.

After the Leader/Followers pattern (Schmidt, O'Ryan, Kircher, Pyarali and Buschmann, 2000).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from .mailbox import Mailbox, Message


class Turns:
    """The threads of a loop. For any thread.

    Args:
        mailbox: What a turn is for.
        have: Has a turn with these messages; called by one thread at a time. Must not raise.
        patience: Seconds until a turn is due though nothing arrives, None: never; called likewise.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        have: Callable[[list[Message]], None],
        patience: Callable[[], float | None],
    ) -> None:
        self._mailbox, self._have, self._patience = mailbox, have, patience
        self._lock = threading.Lock()
        self._having: int | None = None
        """The thread that has a turn."""
        self._sleeps_until = math.inf
        """What the loop's thread knows of time, by the monotonic clock."""
        self._thread: threading.Thread | None = None

    @property
    def here(self) -> bool:
        """Whether the caller is in a turn, which others would wait for."""
        return self._having == threading.get_ident()

    def start(self) -> None:
        """Have turns in a thread until :meth:`stop`."""
        self._thread = threading.Thread(target=self._run, name="semantica-loop", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End once all that has arrived had its turn."""
        self._mailbox.close()
        if self._thread is not None and not self.here:
            self._thread.join()

    def take_one(self) -> None:
        """Have a turn, if something has arrived and nobody has one: who has, takes it as well."""
        if self._mailbox.empty or not self._lock.acquire(blocking=False):
            return
        try:
            self._take()
            sooner = self._wakes() < self._sleeps_until
        finally:
            self._lock.release()
        if sooner or not self._mailbox.empty:
            self._mailbox.ring()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._sleeps_until = self._wakes()
            left = self._sleeps_until - time.monotonic()
            if not self._mailbox.sleep(None if left == math.inf else max(0.0, left)):
                with self._lock:  # the turn that a worker may be in is over
                    return
            with self._lock:
                self._take()

    def _take(self) -> None:
        self._having = threading.get_ident()
        try:
            self._have(self._mailbox.take())
        finally:
            self._having = None

    def _wakes(self) -> float:
        patience = self._patience()
        return math.inf if patience is None else time.monotonic() + patience
