"""Artifacts: values too large for an event, kept once under the digest of their content.

An artifact is written and synced *before* the event that names it, so an event never names
something that is not there. Reading checks the digest again: damage is found where it happens.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from .errors import LogCorrupt, LogUnavailable

SEALED = b"\x00semantica sealed "
"""The beginning of an artifact that is encrypted; JSON text has no zero byte."""


def digest_of(data: bytes) -> str:
    """The name of ``data``: BLAKE2b, 32 bytes, in hex."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


class Artifacts(Protocol):
    """A content-addressed store of bytes. Safe to use from several threads."""

    @property
    def trusted(self) -> bool:
        """Whether nobody else can write here, so that what it holds may be unpickled."""
        ...

    def put(self, data: bytes) -> str:
        """Keep ``data`` durably and return its digest. Raises LogUnavailable (disk full)."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes of that digest. Raises LogCorrupt when they are missing or damaged."""
        ...


class ArtifactKeeper(Artifacts, Protocol):
    """Those of a log, from which some may be removed again."""

    def digests(self) -> Iterator[str]:
        """The digests of all there are, in no order."""
        ...

    def touch(self, digest: str) -> bool:
        """Have it count as put just now; False if it is not there."""
        ...

    def discard(self, digest: str, before: int) -> int:
        """Remove it, unless it was put or touched since ``before`` (ns, UTC).

        Returns:
            Its bytes, 0 if it stays or is not there.
        """
        ...

    def size(self, digest: str, before: int) -> int:
        """As :meth:`discard`, but removes nothing."""
        ...

    def clear(self, before: int) -> None:
        """Remove what died half written before then (ns, UTC)."""
        ...


class MemoryArtifacts:
    """Artifacts of a log in memory."""

    trusted = True

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._put_at: dict[str, int] = {}
        self._lock = threading.Lock()

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        with self._lock:
            self._data[digest] = data
            self._put_at[digest] = time.time_ns()
        return digest

    def get(self, digest: str) -> bytes:
        try:
            return self._data[digest]
        except KeyError:
            raise LogCorrupt(f"artifact {digest} is missing from the log in memory") from None

    def digests(self) -> Iterator[str]:
        return iter(list(self._data))

    def touch(self, digest: str) -> bool:
        with self._lock:
            if digest in self._data:
                self._put_at[digest] = time.time_ns()
            return digest in self._data

    def discard(self, digest: str, before: int) -> int:
        with self._lock:
            size = self.size(digest, before)
            if size:
                del self._data[digest], self._put_at[digest]
            return size

    def size(self, digest: str, before: int) -> int:
        if self._put_at.get(digest, before) >= before:
            return 0
        return len(self._data[digest])

    def clear(self, before: int) -> None:
        """Nothing is ever half written."""


class FileArtifacts:
    """Artifacts as files beside the log, ``ab/cdef...`` by digest.

    Args:
        folder: Created when the first artifact is written, mode 0700.
        sync: Sync file and folder before returning; False only with ``durability="off"``.
        log: The file of the log, which holds small values: who can write there is not trusted.
    """

    def __init__(self, folder: Path, *, sync: bool = True, log: Path | None = None) -> None:
        self.folder = folder
        self.log = log
        self._sync = sync
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        """Worker processes write to the same folder."""
        return partial(FileArtifacts, self.folder, sync=self._sync, log=self.log), ()

    @property
    def trusted(self) -> bool:
        return _only_ours(self.folder) and (self.log is None or _only_ours(self.log))

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        path = self._path(digest)
        try:
            self._make_folder(path.parent)
            # Named before by an event, or left by a crash; either way it must be on disk now.
            if not self.touch(digest):
                write_whole(path, data, sync=self._sync)
        except OSError as error:
            raise LogUnavailable(
                f"cannot write an artifact of {len(data)} bytes to {self.folder}: "
                f"{error.strerror or error}; free some space or mend the permissions",
                transient=True,
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise LogCorrupt(f"artifact {digest} is missing: {path} does not exist") from None
        except OSError as error:
            raise LogUnavailable(f"cannot read artifact {path}: {error.strerror}") from error
        if digest_of(data) != digest:
            raise LogCorrupt(f"artifact {path} is damaged: its content has another digest")
        return data

    def touch(self, digest: str) -> bool:
        path = self._path(digest)
        try:
            with self._alone(fcntl.LOCK_SH):
                os.utime(path)
            if self._sync:
                sync_path(path)
                sync_path(path.parent)
        except FileNotFoundError:
            return False
        return True

    def discard(self, digest: str, before: int) -> int:
        path = self._path(digest)
        try:
            with self._alone(fcntl.LOCK_EX):
                size = self.size(digest, before)
                if size:
                    path.unlink()
                return size
        except FileNotFoundError:  # somebody else was faster
            return 0
        except OSError as error:
            raise LogUnavailable(f"cannot remove artifact {path}: {error.strerror}") from error

    def size(self, digest: str, before: int) -> int:
        try:
            found = self._path(digest).stat()
        except FileNotFoundError:
            return 0
        return found.st_size if found.st_mtime_ns < before else 0

    def clear(self, before: int) -> None:
        for path in self.folder.glob("[0-9a-f][0-9a-f]/.*"):
            with suppress(FileNotFoundError):  # it was being written, and has its name now
                if path.stat().st_mtime_ns < before:
                    path.unlink()

    @contextmanager
    def _alone(self, kind: int) -> Iterator[None]:
        """Who touches a file and who removes it, in any process, exclude one another."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)

    def digests(self) -> Iterator[str]:
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if not path.name.startswith("."):  # being written, or left by a crash
                yield path.parent.name + path.name

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:]

    def _make_folder(self, folder: Path) -> None:
        with self._lock:
            if folder.name in self._known:
                return
            for path in (self.folder, folder):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                if self._sync:  # also of one that is there: who made it may have been killed then
                    sync_path(path.parent)
            self._known.add(folder.name)


def _only_ours(path: Path) -> bool:
    """Nobody but us (and root) can write there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return not writable and found.st_uid in (0, os.geteuid())


def write_whole(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file of our own: under its name there is nothing before it is whole and, to ``sync``,
    on the disk. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink()
        raise
    if sync:
        sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Have a file, or the names in a folder, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
