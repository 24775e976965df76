"""What arrives at a loop, from any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

Message = Callable[[], None]
"""Called in the loop's thread."""


class Mailbox:
    """A queue of messages that can be closed without losing one."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[Message | None] = SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False

    def post(self, message: Message) -> bool:
        """Add a message; False, and nothing is added, once the box is closed."""
        with self._gate:
            if not self._closed:
                self._messages.put(message)
            return not self._closed

    def close(self) -> None:
        """Have the reader end once it has taken what is there."""
        self._messages.put(None)

    def fill(self, messages: list[Message], wanted: int, patience: float) -> bool:
        """Wait up to ``patience`` seconds for more messages; whether there are ``wanted`` now."""
        until = time.monotonic() + patience
        while len(messages) < wanted:
            try:
                message = self._messages.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                return False
            if message is None:
                self._messages.put(None)  # collect() will see to the end
                return False
            messages.append(message)
        return True

    def collect(self, patience: float | None) -> list[Message] | None:
        """All messages that are there, after waiting up to ``patience`` seconds for the first.

        Returns:
            The messages; none when the time is over; None when the box is closed and empty.
        """
        messages: list[Message] = []
        try:
            message = self._messages.get(timeout=patience)
            while message is not None:
                messages.append(message)
                message = self._messages.get_nowait()
        except Empty:
            return messages
        # The word to end; what arrived before it is taken first.
        with self._gate:
            self._closed = not messages and self._messages.empty()
            if self._closed:
                return None
            self._messages.put(None)
        return messages
