"""The file below a SQLite log: where it may be, who may open it, and what its errors mean."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .artifacts import sync_path
from .errors import LogCorrupt, LogError, LogUnavailable, NotALog
from .logger import logger

APPLICATION_ID = 0x53504C31  # "SPL1", in the header of every log
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "lustre"}
    | {"fuse.sshfs", "fuse.glusterfs"}
)
"""File systems whose locks do not exclude other machines."""
_ESCAPED = re.compile(r"\\([0-7]{3})")  # blanks and backslashes in /proc/self/mountinfo
SMALLEST = 512
"""Bytes of the smallest database that there can be (https://sqlite.org/fileformat.html)."""
REPORT_AFTER = 5.0
"""Seconds of waiting for another process's commit after which it is named in the log."""


def prepare(path: Path) -> bool:
    """Make sure that a log can be at ``path``; create an empty file (0600) when there is none.

    Returns:
        Whether the file was created.

    Raises:
        LogUnavailable: The folder cannot be made or written, or is on a network file system.
        NotALog: There is something else at ``path``.
    """
    try:
        if path.is_dir():
            raise NotALog(f"{path} is a folder; name a file, such as {path / 'pipeline.db'}")
        _make_folders(path.parent)
        kind = file_system(path.parent)
        if kind in NETWORK:
            raise LogUnavailable(
                f"{path} is on a network file system ({kind}), whose locks cannot be trusted; "
                "choose a local disk with --log or PIPELINE_LOG"
            )
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        sync_path(path.parent)
    except FileExistsError:
        if path.is_file():
            if 0 < path.stat().st_size < SMALLEST:  # SQLite would take it for a new database
                raise NotALog(
                    f"{path} is not a SQLite database, or only the beginning of one; choose "
                    "another --log or move it away"
                ) from None
            return False
        at_fault = path if path.exists() else path.parent
        expected = "file" if at_fault is path else "folder"
        raise NotALog(f"{at_fault} exists and is not a {expected}") from None
    except OSError as error:
        raise LogUnavailable(
            f"cannot create the log {path}: {error.strerror}; "
            "choose another place with --log or PIPELINE_LOG"
        ) from error
    return True


def _make_folders(folder: Path) -> None:
    """Make a folder whose name survives a loss of power, as what is recorded in it does."""
    if not folder.exists():
        _make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_path(folder.parent)


def file_system(path: Path) -> str:
    """The type of the file system ``path`` is on, or ``"unknown"`` (not Linux)."""
    best, kind = -1, "unknown"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return kind
    resolved = path.resolve()
    for line in mounts:
        head, _, tail = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), head.split()[4]))
        if len(point.parts) >= best and resolved.is_relative_to(point):
            best, kind = len(point.parts), tail.split()[0]
    return kind


def check_owner(connection: sqlite3.Connection, path: Path, *, empty: bool) -> None:
    """Refuse a database of somebody else. ``empty``: we have just created it."""
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark == APPLICATION_ID:
        return
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables or (mark and not empty):
        raise NotALog(
            f"{path} is a SQLite database of another program; choose another --log or move it away"
        )


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn SQLite's errors into ours, which say what is wrong with ``path`` and what to do."""
    try:
        yield
    except FAULTS as error:
        raise explain(path, error) from error


FAULTS = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second of a message of its own, which repeats damaged names."""


def explain(path: str, error: Exception) -> LogError:
    """Our error for one of SQLite's. See https://sqlite.org/rescode.html."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return NotALog(f"{path} is not a SQLite database; choose another --log or move it away")
    unreadable = isinstance(error, UnicodeDecodeError) or any(
        said in str(error) for said in ("decode to UTF-8", "malformed JSON")
    )
    if code == sqlite3.SQLITE_CORRUPT or unreadable:
        return LogCorrupt(
            f"{path} is damaged ({error}); restore a backup, or save what is readable with "
            f"'sqlite3 {path} .recover'"
        )
    if code == sqlite3.SQLITE_FULL:
        return LogUnavailable(
            f"{path}: the disk is full; nothing is lost, free some space", transient=True
        )
    if code == sqlite3.SQLITE_IOERR:
        return LogUnavailable(
            f"{path}: the disk refuses to write or read ({error}: full, over a limit, or failing); "
            "nothing acknowledged is lost, mend the disk",
            transient=True,
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LogUnavailable(
            f"{path} is locked by another program; end its transaction (an open sqlite3 shell?)",
            transient=True,
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return LogUnavailable(
            f"{path} cannot be opened for writing ({error}); "
            "mend its permissions and its folder's, or choose another --log",
            transient=True,
        )
    return LogError(f"{path}: {error}")


class FileLock:
    """One commit or checkpoint at a time, over all processes on one log.

    SQLite 3.7.0 to 3.51.2 can corrupt a database in WAL mode when a checkpoint and a commit of two
    connections meet (https://sqlite.org/wal.html#walresetbug), so ours exclude one another. Always,
    since another process on the same log may have the older library. The wait blocks in the
    kernel. Not reentrant; callers hold a thread lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> FileLock:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait()
        os.pwrite(self._descriptor, b"%-10d" % os.getpid(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._descriptor)

    def _wait(self) -> None:
        watch = threading.Timer(REPORT_AFTER, self._report)
        watch.daemon = True
        with suppress(RuntimeError):  # no new threads while the interpreter exits
            watch.start()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        finally:
            watch.cancel()

    def _report(self) -> None:
        holder = os.pread(self._descriptor, 10, 0).decode(errors="replace").strip()
        logger().warning(
            "waiting for another process to finish its commit",
            lock=str(self.path),
            holder_pid=holder,
        )


class LifeLock:
    """A lock file that a process holds as long as it lives; the kernel frees it at its death."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogUnavailable(
                f"cannot create {path}: {error.strerror}; free space or files, or mend the "
                "permissions",
                transient=True,
            ) from error
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give the lock up and remove its file."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether some process, this one included, holds the lock."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
