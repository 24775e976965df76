"""Finding and reading files: in a fixed order, each once, and only regular ones."""

# Paths are strings here: pathlib has no abspath that leaves links as they are.
# ruff: noqa: PTH100, PTH109, PTH111, PTH112, PTH113, PTH117, PTH118

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import BinaryIO

from .errors import DocumentError, StepInputError

BLOCK = 1 << 20

_CREDENTIALS = re.compile(r"https?://[^/?#]*@|://[^/?#]*:[^/?#]*@", re.IGNORECASE)

OnError = Callable[[OSError], None]


def locate(path: str | os.PathLike[str]) -> str:
    """The absolute path, ``~`` expanded; symbolic links stay, and so does a URL."""
    text = os.fspath(path)
    return text if "://" in text else os.path.abspath(os.path.expanduser(text))


def refuse_credentials(source: str) -> None:
    """Raise StepInputError, which does not repeat it, if ``source`` is a URL with a password.

    Sources are recorded in the log and named in messages. A user name alone is refused for what
    would be fetched, since many services take a token there.
    """
    if _CREDENTIALS.search(source):
        raise StepInputError(
            "a URL with a user name or password in it is not accepted, since sources are recorded "
            "in the log: fetch what it holds in a step of your own, and hand it on as a file or "
            "as {'text': ...}"
        )


def shown(path: str) -> str:
    """``path`` for messages: bytes of the name that are not UTF-8 appear escaped."""
    return path.encode("utf-8", "backslashreplace").decode()


def real_path(path: str) -> str:
    """The path behind all symbolic links: the same for the same file."""
    return os.path.realpath(path)


class Finder:
    """Finds the files that a path, folder or pattern stands for.

    Args:
        recursive: Whether a folder stands for the files in its subfolders too.
        hidden: Whether names that begin with a dot count; a path that is named always does.
        on_error: Told of each folder that cannot be listed.
    """

    def __init__(self, *, recursive: bool, hidden: bool, on_error: OnError) -> None:
        self._recursive = recursive
        self._hidden = hidden
        self._on_error = on_error

    def find(self, source: str) -> list[str]:
        """The regular files of ``source``, sorted by path.

        Raises:
            StepInputError: It does not exist, is no file or folder, or a pattern fits nothing.
        """
        path = locate(source)
        if os.path.isdir(path):
            folders = self._folders(path) if self._recursive else iter([path])
            return sorted(file for folder in folders for file in self._files(folder))
        if os.path.isfile(path):
            return [path]
        if os.path.lexists(path):
            raise StepInputError(f"{shown(path)} is neither a file nor a folder, or a broken link")
        if not _is_pattern(path):
            where = f"there is no {shown(path)}{_here(source)}"
            raise StepInputError(f"{source!r} does not exist: {where}")
        found = set(self._fitting("/", tuple(path.strip("/").split("/"))))
        if not found:
            raise StepInputError(f"no file fits the pattern {source!r}{_here(source)}")
        return sorted(found)

    def _folders(self, top: str) -> Iterator[str]:
        """``top`` and the folders below it, each once however many links lead to it."""
        seen: set[str] = set()
        ahead: list[str] = [top]
        links: list[str] = []
        while ahead or links:
            folder = ahead.pop() if ahead else links.pop()  # real paths before linked ones
            real = os.path.realpath(folder)
            if real in seen:
                continue
            seen.add(real)
            yield folder
            below = [entry for entry in self._list(folder) if _is_folder(entry)]
            ahead += [entry.path for entry in reversed(below) if not entry.is_symlink()]
            links[:0] = [entry.path for entry in reversed(below) if entry.is_symlink()]

    def _files(self, folder: str) -> Iterator[str]:
        return (entry.path for entry in self._list(folder) if _is_file(entry))

    def _fitting(self, folder: str, pattern: tuple[str, ...]) -> Iterator[str]:
        head, rest = pattern[0], pattern[1:]
        if head == "**":
            for below in self._folders(folder):
                yield from self._fitting(below, rest or ("*",))
        elif not _is_pattern(head):
            path = os.path.join(folder, head)
            if rest and os.path.isdir(path):
                yield from self._fitting(path, rest)
            elif not rest and os.path.isfile(path):
                yield path
        else:
            for entry in self._list(folder, hidden=head.startswith(".")):
                if not fnmatchcase(entry.name, head):
                    continue
                if rest and _is_folder(entry):
                    yield from self._fitting(entry.path, rest)
                elif not rest and _is_file(entry):
                    yield entry.path

    def _list(self, folder: str, *, hidden: bool = False) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                found = [
                    entry
                    for entry in entries
                    if hidden or self._hidden or not entry.name.startswith(".")
                ]
        except OSError as error:
            self._on_error(error)
            return []
        return sorted(found, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _is_file(entry: os.DirEntry[str]) -> bool:
    # a link to itself makes the entry's own method raise
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def _is_pattern(path: str) -> bool:
    return any(sign in path for sign in "*?[")


def _here(source: str) -> str:
    """Where a relative path was looked for."""
    if "://" in source:
        return " (of addresses, only http:// and https:// can be read)"
    return "" if os.path.isabs(os.path.expanduser(source)) else f" (looked in {os.getcwd()})"


def open_file(path: str) -> BinaryIO:
    """Open a regular file. Raises DocumentError; a named pipe does not block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DocumentError(f"cannot open {shown(path)}: {_reason(error)}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise DocumentError(f"{shown(path)} is a folder: put an 'ingest' step before this one")
    raise DocumentError(f"{shown(path)} is not a regular file")


def read_file(path: str) -> bytes:
    """All bytes of a regular file. Raises DocumentError."""
    with open_file(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise DocumentError(f"cannot read {shown(path)}: {_reason(error)}") from error
        except (MemoryError, OverflowError) as error:
            raise DocumentError(f"{shown(path)} is too large for the memory there is") from error


def fingerprint(path: str) -> tuple[int, str]:
    """Size and digest of a file, read in blocks. Raises DocumentError."""
    digest, size = blake2b(digest_size=32), 0  # as events.artifacts.digest_of
    with open_file(path) as file:
        try:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
        except OSError as error:
            raise DocumentError(f"cannot read {shown(path)}: {_reason(error)}") from error
    return size, digest.hexdigest()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
