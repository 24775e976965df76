"""What arrives at a loop, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

Message = Callable[[], None]
"""Called in a turn."""


class Mailbox:
    """A queue of messages that can be closed without losing one, with a bell for who sleeps."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[Message] = SimpleQueue()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._gate = threading.RLock()  # garbage that is collected within may post as well
        self._closing = self._closed = False

    def post(self, message: Message, *, ring: bool = True) -> bool:
        """Add a message; False, and nothing is added, once the box is closed.

        Args:
            ring: Wake who sleeps. False: the caller sees to it that the message is taken.
        """
        with self._gate:
            if self._closed:
                return False
            self._messages.put(message)
        if ring:
            self.ring()
        return True

    def ring(self) -> None:
        """Wake who sleeps, or have the next sleep end at once."""
        self._bell.put(None)

    def close(self) -> None:
        """Have the box closed once what is there has been taken."""
        self._closing = True
        self.ring()

    @property
    def empty(self) -> bool:
        """Whether nothing is there just now."""
        return self._messages.empty()

    def sleep(self, patience: float | None) -> bool:
        """Wait up to ``patience`` seconds for the bell, if nothing is there.

        Returns:
            False: the box is closed, and nothing will ever come.
        """
        if self._messages.empty() and not self._closing:
            self._hear(patience)
        with self._gate:
            self._closed = self._closing and self._messages.empty()
        return not self._closed

    def _hear(self, patience: float | None) -> None:
        try:
            self._bell.get(timeout=patience)
            while True:
                self._bell.get_nowait()  # what it was rung for is there by now
        except Empty:
            return

    def take(self) -> list[Message]:
        """All messages that are there. One thread at a time."""
        messages: list[Message] = []
        try:
            while True:
                messages.append(self._messages.get_nowait())
        except Empty:
            return messages

    def fill(self, messages: list[Message], wanted: int, patience: float) -> bool:
        """Wait up to ``patience`` seconds for more messages; whether there are ``wanted`` now."""
        until = time.monotonic() + patience
        while len(messages) < wanted:
            try:
                messages.append(self._messages.get(timeout=max(0.0, until - time.monotonic())))
            except Empty:
                return False
        return True
