"""The connection that writes, one per process: its transactions and checkpoints."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import LogError, LogTooNew, LogUnavailable
from .sqlite_file import (
    APPLICATION_ID,
    FAULTS,
    FileLock,
    check_owner,
    explain,
    explained,
    prepare,
)
from .store import Durability

SCHEMA = 9
"""The schema that this version works with: as many migrations have been applied."""
CHECKPOINT_BYTES = 4 * 2**20
"""Length of the write-ahead log at which it is carried over into the database."""
CHECK_EVERY = 32
"""Commits between two looks at that length."""
CHECKPOINT_PATIENCE = 0.1
"""Seconds that carrying it over waits for readers, while nobody can commit; a backup reads long."""


class Connection:
    """SQLite's connection to a log, shared by the threads of a process.

    Args:
        path: The database file; created, with its folder, when it does not exist.
        durability: See :data:`Durability`.
        busy_timeout: Seconds to wait for a foreign transaction before LogUnavailable.
    """

    def __init__(self, path: Path, durability: Durability, busy_timeout: float) -> None:
        self.path = path
        self.location = str(path)
        self._durability = durability
        self._timeout = busy_timeout
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._commits = 0
        self._closed = False
        created = prepare(path)
        try:
            self._commit_lock = FileLock(beside(path, "-lock"))
        except OSError as error:
            raise LogUnavailable(
                f"cannot write beside {path}: {error.strerror}; mend the folder's permissions or "
                "choose another --log (to read one from where nothing can be written, copy it)"
            ) from error
        try:
            self._connection = self._open(created)
        except BaseException:
            self._commit_lock.close()
            raise

    def _open(self, created: bool) -> sqlite3.Connection:
        with explained(self.location):
            connection = sqlite3.connect(
                self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            try:
                with self._commit_lock:
                    self._configure(connection, created)
            except BaseException:
                connection.close()
                raise
        return connection

    def _configure(self, connection: sqlite3.Connection, created: bool) -> None:
        check_owner(connection, self.path, empty=created)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # Begun anew, the WAL gets this length back: a longer one has been filled since.
        connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_BYTES}")
        connection.execute(f"PRAGMA synchronous = {self._durability.upper()}")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone does not reach the disk
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise LogTooNew(
                f"{self.path} has schema {version}, this version knows {SCHEMA}; "
                "upgrade semantica-pipeline"
            )
        if version < SCHEMA:
            self._prepare(connection, new=version == 0)

    def _prepare(self, connection: sqlite3.Connection, *, new: bool) -> None:
        """Make the tables, or bring an older log up to date, in one transaction."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            if new:
                make_tables(connection)
            else:
                from .sqlite_schema import migrate  # imports sqlite-utils: only when needed

                migrate(connection)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for a short read. Raises LogError."""
        connection = self._enter()
        try:
            yield connection
        except FAULTS as error:
            raise explain(self.location, error) from error
        finally:
            self._lock.release()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """An immediate transaction, committed at the end and undone on an error."""
        connection = self._enter()
        try:
            with self._commit_lock:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                self._checkpoint_if_due(connection)
        except FAULTS as error:
            raise explain(self.location, error) from error
        finally:
            self._lock.release()

    def _enter(self) -> sqlite3.Connection:
        """Take the lock, and the connection with it. Raises LogError."""
        self._check_process()
        self._lock.acquire()
        if self._closed:
            self._lock.release()
            raise LogError(f"{self.location} has been closed")
        return self._connection

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Another connection, for one long read that holds up nobody. Raises LogError.

        It has a commit lock of its own, so that it can outlive this connection: while it opens or
        closes, nobody commits, nor carries the WAL over.
        """
        self._check_process()
        lock = FileLock(beside(self.path, "-lock"))
        try:
            with explained(self.location), lock:
                connection = sqlite3.connect(
                    self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
                )
                connection.execute("PRAGMA wal_autocheckpoint = 0")
            try:
                yield connection
            finally:
                with explained(self.location), lock:
                    connection.close()
        finally:
            lock.close()

    def _check_process(self) -> None:
        """Before the lock, which another thread may have held at the fork: for ever, here."""
        if os.getpid() != self._pid:
            raise LogError(
                f"{self.location} was opened before a fork; open it in the child process instead"
            )

    def _checkpoint_if_due(self, connection: sqlite3.Connection) -> None:
        self._commits += 1
        if self._commits % CHECK_EVERY:
            return
        try:
            size = beside(self.path, "-wal").stat().st_size
        except FileNotFoundError:
            return
        if size > CHECKPOINT_BYTES:
            # If it fails, the commit is safe in the WAL all the same; the next check tries again.
            with suppress(sqlite3.OperationalError):
                connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_PATIENCE * 1000:.0f}")
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            connection.execute(f"PRAGMA busy_timeout = {self._timeout * 1000:.0f}")

    def compact(self) -> int:
        """Write the file anew without what was removed (https://sqlite.org/lang_vacuum.html).

        One transaction: killed within it, the file is what it was. It needs the file's size once
        more on the disk.

        Returns:
            Bytes by which the database is smaller.
        """
        with self.reading() as connection, self._commit_lock:
            before = _pages(connection)
            connection.execute("VACUUM")
            # Where somebody reads just now, the file itself shrinks with a later one.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
            return int((before - _pages(connection)) * size)

    @property
    def closed(self) -> bool:
        """Closed, or of another process: a child must not touch its parent's connection."""
        return self._closed or os.getpid() != self._pid

    def close(self) -> None:
        """Close; the last one to do so carries the WAL over. Closing twice does nothing."""
        if self.closed:
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with explained(self.location), self._commit_lock:
                self._connection.close()
            self._commit_lock.close()


def make_tables(connection: sqlite3.Connection) -> None:
    """What all migrations make, by their script; ``executescript`` would commit before it."""
    script = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    for statement in script.split(";\n")[:-1]:
        connection.execute(statement)


def beside(path: Path, suffix: str) -> Path:
    """The companion of a log with that suffix."""
    return path.with_name(path.name + suffix)


def _pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])
