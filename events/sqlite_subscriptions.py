"""The bookmarks of a SQLite log: rows of its table ``subscriptions``."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from .errors import LogUnavailable
from .sqlite_connection import Connection, beside
from .subscriptions import Bookmark, is_held


class SqliteSubscriptions:
    """See :class:`~semantica.pipeline.events.subscriptions.Subscriptions`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def load(self, name: str) -> Bookmark:
        with self._connection.reading() as connection:
            found = connection.execute(
                "SELECT position, state FROM subscriptions WHERE name = ?", (name,)
            ).fetchone()
        return Bookmark(*found) if found else Bookmark()

    def save(self, name: str, bookmark: Bookmark) -> None:
        with self._connection.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO subscriptions (name, position, state) VALUES (?, ?, ?)",
                (name, bookmark.position, bookmark.state),
            )

    def names(self) -> list[str]:
        with self._connection.reading() as connection:
            found = connection.execute("SELECT name FROM subscriptions ORDER BY name")
            return [name for (name,) in found]

    def drop(self, name: str) -> None:
        with self._connection.writing() as connection:
            connection.execute("DELETE FROM subscriptions WHERE name = ?", (name,))

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """By a lock on a file, which the kernel frees when the process dies. The file stays: who
        removes it could remove that of the next one."""
        known = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        path = beside(self._connection.path, ".engines") / f"subscription-{known}.lock"
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogUnavailable(f"cannot create {path}: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise is_held(name, str(self._connection.path)) from None
            yield
        finally:
            os.close(descriptor)
