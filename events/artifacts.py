"""Artifacts: values too large for an event, kept once under the digest of their content.

An artifact is written and synced *before* the event that names it, so an event never names
something that is not there. Reading checks the digest again: damage is found where it happens.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol

from .errors import LogCorrupt, LogUnavailable


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


class MemoryArtifacts:
    """Artifacts of a log in memory."""

    trusted = True

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = digest_of(data)
        self._data[digest] = data
        return digest

    def get(self, digest: str) -> bytes:
        try:
            return self._data[digest]
        except KeyError:
            raise LogCorrupt(f"artifact {digest} is missing from the log in memory") from None


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
            if not path.exists():
                self._write(path, data)
            elif self._sync:
                # Named before by an event, or left by a crash; either way it must be on disk now.
                sync_path(path)
                sync_path(path.parent)
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

    def digests(self) -> Iterator[str]:
        """The digests of all artifacts there are, in no order."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if not path.name.startswith("."):  # being written, or left by a crash
                yield path.parent.name + path.name

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:]

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if self._sync:
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to report
                temporary.unlink()
            raise
        if self._sync:
            sync_path(path.parent)

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


def sync_path(path: Path) -> None:
    """Have a file, or the names in a folder, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
