"""The file in which runs are carried from one log to another.

A zip with ``manifest.json``, which names every run with the number of its events and the digest of
the last one; ``events.jsonl``, an event a line, run by run in the order of the manifest;
``logs.jsonl``, what handlers have said, likewise; ``artifacts/DIGEST`` for each value that is
not in an event; and, if it was asked for, ``keys/ID`` for each key that runs are encrypted with.
The same runs give the same bytes, from whatever log and whenever: members have no time, events no
position, and lines no id.
"""

from __future__ import annotations

import errno
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..events.artifacts import digest_of
from ..events.envelope import Envelope
from ..events.errors import LogCorrupt, LogError, LogUnavailable
from ..events.lines import LEVELS, LogLine

T = TypeVar("T")

FORMAT = "semantica.pipeline runs"
VERSION = 2
"""Version 1 has no lines of handlers."""
MANIFEST = "manifest.json"
EVENTS = "events.jsonl"
LINES = "logs.jsonl"
ARTIFACTS = "artifacts/"
KEYS = "keys/"
LONGEST = 256 * 2**20
"""Bytes of a line, or of the manifest, that are read at most."""


class CarriedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run in the file: its id, name and status, its events and the digest of the last one, and
    the run that it is a step of."""

    run: str
    name: str
    status: str
    events: int
    digest: str
    parent: str | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in the file; a run is followed by those that are steps of it."""

    format: str
    version: int
    runs: list[CarriedRun]


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An envelope without its position; the digest in hex."""

    stream: str
    version: int
    type: str
    schema: int
    at: int
    actor: str
    epoch: int
    encoding: str
    payload: str
    digest: str


_lines = msgspec.json.Decoder(_Line)


def line_of(envelope: Envelope) -> bytes:
    """An envelope as a line."""
    e = envelope
    return msgspec.json.encode(
        _Line(
            e.stream,
            e.version,
            e.type,
            e.schema,
            e.at,
            e.actor,
            e.epoch,
            e.encoding,
            e.payload.decode(),
            e.digest.hex(),
        )
    )


def envelope_of(line: bytes) -> Envelope:
    """The inverse of :func:`line_of`. Raises LogCorrupt."""
    try:
        e = _lines.decode(line)
        payload, digest = e.payload.encode(), bytes.fromhex(e.digest)
    except ValueError as error:  # msgspec's errors are such, too
        raise LogCorrupt(f"it is no event: {error}") from error
    return Envelope(
        position=0,
        stream=e.stream,
        version=e.version,
        type=e.type,
        schema=e.schema,
        at=e.at,
        actor=e.actor,
        epoch=e.epoch,
        encoding=e.encoding,
        payload=payload,
        digest=digest,
    )


class _SaidLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a handler without its id."""

    run: str
    step: str
    attempt: int
    item: str | None
    at: int
    level: str
    encoding: str
    payload: str


_said_lines = msgspec.json.Decoder(_SaidLine)


def said_line_of(line: LogLine) -> bytes:
    """A line of a handler as a line of the file."""
    e = line
    return msgspec.json.encode(
        _SaidLine(e.run, e.step, e.attempt, e.item, e.at, e.level, e.encoding, e.payload.decode())
    )


def log_line_of(text: bytes) -> LogLine:
    """The inverse of :func:`said_line_of`. Raises LogCorrupt."""
    try:
        e = _said_lines.decode(text)
        payload = e.payload.encode()
        if e.encoding == "json":
            msgspec.json.decode(payload, type=dict[str, Any])
    except (ValueError, RecursionError) as error:  # msgspec's errors are such, too
        raise LogCorrupt(f"it is no line of a handler: {error}") from error
    if e.level not in LEVELS or max(abs(e.at), abs(e.attempt)) >= 2**63:
        raise LogCorrupt("it is no line of a handler: its level, time or attempt is none")
    return LogLine(e.run, e.step, e.attempt, e.at, e.level, payload, e.item, e.encoding)


_PERHAPS = re.compile(rb"pickle|\\u", re.IGNORECASE)


def has_pickle(text: bytes) -> bool:
    """Whether a recorded value has a pickle in it, however it is spelt. What is not JSON has none:
    no value is read from it."""
    if not _PERHAPS.search(text):
        return False
    try:
        waiting: list[Any] = [json.loads(text)]
    except (ValueError, RecursionError):
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("!") == "pickle":
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


_ARTIFACT = re.compile(re.escape(ARTIFACTS) + "[0-9a-f]{64}")
_KEY = re.compile(re.escape(KEYS) + "[0-9a-f]{32}")


class CarriedFile:
    """Such a file, open for reading.

    Args:
        path: It.

    Raises:
        LogError: There is none, or it cannot be read.
        LogCorrupt: It is no such file, or damaged; every method may raise this.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._legible():
            self._zip = zipfile.ZipFile(path)
        try:
            names = self._zip.namelist()
            self.artifacts = {
                name.removeprefix(ARTIFACTS): None for name in names if _ARTIFACT.fullmatch(name)
            }
            keys = [name for name in names if _KEY.fullmatch(name)]
            self.keys = [name.removeprefix(KEYS) for name in keys]
            rest = sorted({*names} - {*keys} - {ARTIFACTS + name for name in self.artifacts})
            self._has_lines = LINES in rest
            if rest not in ([EVENTS, LINES, MANIFEST], [EVENTS, MANIFEST]) or (
                len(set(names)) != len(names)
            ):
                raise self.damaged("it does not hold what an export does")
            manifest = self._manifest()
            if self._has_lines != (manifest.version > 1):
                raise self.damaged(f"{LINES} belongs to version 2")
            self.runs = manifest.runs
        except BaseException:
            self._zip.close()
            raise

    def _manifest(self) -> Manifest:
        try:
            told = json.loads(self._read(MANIFEST, LONGEST))
            if isinstance(told, dict) and told.get("format") == FORMAT:
                version = told.get("version")
                if isinstance(version, int) and version > VERSION:
                    raise LogError(
                        f"{self.path} was written by a newer version of this library; "
                        "upgrade semantica-pipeline"
                    )
            manifest = msgspec.convert(told, Manifest)
        except ValueError as error:
            raise self.damaged(f"{MANIFEST}: {error}") from error
        if manifest.format != FORMAT or not 1 <= manifest.version <= VERSION:
            raise self.damaged(f"{MANIFEST} is that of something else")
        if len({run.run for run in manifest.runs}) != len(manifest.runs):
            raise self.damaged(f"{MANIFEST} names a run twice")
        return manifest

    def artifact(self, digest: str) -> bytes:
        """The content of an artifact, checked."""
        if digest not in self.artifacts:
            raise self.damaged(f"artifact {digest} is missing")
        content = self._read(ARTIFACTS + digest)
        if digest_of(content) != digest:
            raise self.damaged(f"artifact {digest} has another content")
        return content

    def key(self, name: str) -> bytes:
        """The content of a key's file."""
        return self._read(KEYS + name, LONGEST)

    def events(self) -> Generator[Envelope, None, None]:
        """All events, in order."""
        yield from self._each(EVENTS, envelope_of)

    def lines(self) -> Generator[LogLine, None, None]:
        """All that handlers have said, in order."""
        if self._has_lines:
            yield from self._each(LINES, log_line_of)

    def _each(self, member: str, made_of: Callable[[bytes], T]) -> Generator[T, None, None]:
        """What the lines of a member stand for."""
        number = 0
        with self._legible(), self._zip.open(member) as file:
            while line := file.readline(LONGEST):
                number += 1
                try:
                    made = made_of(line)
                except LogCorrupt as error:
                    raise self.damaged(f"{member} line {number}: {error}") from error
                yield made

    def _read(self, name: str, limit: int = -1) -> bytes:
        with self._legible(), self._zip.open(name) as file:
            return file.read(limit)

    @contextmanager
    def _legible(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise LogError(f"{self.path} does not exist") from None
        except OSError as error:
            if error.errno != errno.EINVAL:  # a place that cannot be in a file
                reason = error.strerror or error
                raise LogUnavailable(f"cannot read {self.path}: {reason}") from error
            raise self.damaged(str(error)) from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            EOFError,
            OverflowError,
            ValueError,
            NotImplementedError,  # a compression, or a form of zip, that we never write
            RuntimeError,  # a password is wanted
        ) as error:
            raise self.damaged(str(error) or type(error).__name__) from error

    def damaged(self, reason: str) -> LogCorrupt:
        """The error for a fault in the file."""
        return LogCorrupt(f"{self.path} is damaged, or no export of runs: {reason}")

    def close(self) -> None:
        """Close it."""
        self._zip.close()
