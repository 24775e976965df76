"""How far consumers of a log have come: a position for each, and what they want to know of the
past."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import msgspec

from .errors import LogError


class Bookmark(msgspec.Struct, frozen=True):
    """A consumer has dealt with everything up to ``position``; ``state`` is its own."""

    position: int = 0
    state: bytes = b""


class Subscriptions(Protocol):
    """The bookmarks of a log, by the names of their consumers."""

    def load(self, name: str) -> Bookmark:
        """The bookmark of a consumer; before the first event, if it has none."""
        ...

    def save(self, name: str, bookmark: Bookmark) -> None:
        """Keep a bookmark, durably, in place of the one before."""
        ...

    def names(self) -> list[str]:
        """The consumers that have a bookmark, in the order of their names."""
        ...

    def drop(self, name: str) -> None:
        """Forget a consumer's bookmark."""
        ...

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Be the only consumer of that name until the end of the block, or of the process.

        Raises:
            LogError: There is one.
        """
        ...


def is_held(name: str, location: str) -> LogError:
    """The error for a second consumer of a name."""
    return LogError(
        f"another process, or thread, follows {location} as {name!r} just now; end it first, or "
        "choose another name"
    )


class MemorySubscriptions:
    """Those of a log in memory."""

    def __init__(self) -> None:
        self._bookmarks: dict[str, Bookmark] = {}
        self._held: set[str] = set()
        self._lock = threading.Lock()

    def load(self, name: str) -> Bookmark:
        return self._bookmarks.get(name, Bookmark())

    def save(self, name: str, bookmark: Bookmark) -> None:
        self._bookmarks[name] = bookmark

    def names(self) -> list[str]:
        return sorted(self._bookmarks)

    def drop(self, name: str) -> None:
        self._bookmarks.pop(name, None)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with self._lock:
            if name in self._held:
                raise is_held(name, "the log in memory")
            self._held.add(name)
        try:
            yield
        finally:
            self._held.discard(name)
