"""Writing runs of a log to a file that any log can take in."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import IO

import msgspec

from ..events.artifacts import ArtifactKeeper, sync_path
from ..events.directory import RunRow, stream_of
from ..events.envelope import GENESIS, Envelope, follows, key_of
from ..events.errors import LogCorrupt, LogError, LogUnavailable
from ..events.retention import mentioned
from ..events.sealed_store import as_stored, keys_of
from ..events.store import Store
from ..events.upcasters import to_event
from ..events.verify import artifacts_of
from .carried import (
    ARTIFACTS,
    EVENTS,
    FORMAT,
    KEYS,
    LINES,
    MANIFEST,
    VERSION,
    CarriedRun,
    Manifest,
    line_of,
    said_line_of,
)
from .retention import with_children


class Exported(msgspec.Struct, frozen=True):
    """A file of runs, and how much is in it."""

    path: str
    runs: int
    events: int
    artifacts: int
    lines: int = 0
    keys: int = 0


def export_runs(
    log: Store, chosen: Sequence[RunRow] | None, path: Path, *, with_keys: bool = False
) -> Exported:
    """See :meth:`ExecutionEngine.export_runs`; ``chosen`` None: every run of the log."""
    path, store = path.expanduser().resolve(), as_stored(log)
    with store.locked():  # a run and the steps of it that are runs are taken at one moment
        every = store.runs()[::-1]
        rows = with_children(every, _roots(every, chosen))
        heads = [_head(store, row) for row in rows]
    runs = [
        CarriedRun(row.run_id, row.name, str(row.status), head.version, head.digest.hex(),
                   row.parent)
        for row, head in zip(rows, heads, strict=True)
    ]  # fmt: skip
    with _written(path) as archive:
        manifest = msgspec.json.encode(Manifest(FORMAT, VERSION, runs))
        with _member(archive, MANIFEST) as file:
            file.write(msgspec.json.format(manifest, indent=1))
        known = set(store.artifacts.digests())
        named, encodings = set[str](), set[str]()
        with _member(archive, EVENTS) as file:
            for run in runs:
                for envelope in _events(store, run):
                    file.write(line_of(envelope) + b"\n")
                    named |= _named(envelope, known)
                    encodings.add(envelope.encoding)
        lines = 0
        with _member(archive, LINES) as file:
            for line in (line for run in runs for line in store.lines.read(run.run)):
                file.write(said_line_of(line) + b"\n")
                lines += 1
        artifacts = 0
        for digest, content in _reached(store.artifacts, named, known):
            with _member(archive, ARTIFACTS + digest) as file:
                file.write(content)
            artifacts += 1
        keys = _keys(log, encodings) if with_keys else {}
        for key, content in keys.items():
            with _member(archive, KEYS + key) as file:
                file.write(content)
    events = sum(run.events for run in runs)
    return Exported(str(path), len(runs), events, artifacts, lines, len(keys))


def _keys(log: Store, encodings: set[str]) -> dict[str, bytes]:
    """The keys that are here of those encodings; of an erased run there is none any more."""
    named, keys = sorted(filter(None, map(key_of, encodings))), keys_of(log)
    return {key: keys.content(key) for key in named if keys.has(key)}


def _roots(every: list[RunRow], chosen: Sequence[RunRow] | None) -> list[RunRow]:
    here = {row.run_id for row in every}
    if chosen is None:
        return [row for row in every if row.parent not in here]
    for row in chosen:
        if row.parent in here:
            raise LogError(f"run {row.run_id} is a step of run {row.parent}; export that one")
    wanted = {row.run_id for row in chosen}
    return [row for row in every if row.run_id in wanted]


def _head(store: Store, row: RunRow) -> Envelope:
    head = store.head(row.stream)
    if head is None:
        raise LogCorrupt(f"{row.stream}: the directory has a run of which there are no events")
    return head


def _events(store: Store, run: CarriedRun) -> Iterator[Envelope]:
    """The events of a run, up to its number; checked against its digest."""
    previous = GENESIS
    for seen, envelope in enumerate(islice(store.read(stream_of(run.run)), run.events), 1):
        if envelope.version != seen or not follows(previous, envelope):
            raise LogCorrupt(f"run {run.run} cannot be exported: it is damaged at version {seen}")
        previous = envelope.digest
        yield envelope
    if previous.hex() != run.digest:
        raise LogError(f"run {run.run} left the log while it was exported; do it again")


def _named(envelope: Envelope, known: set[str]) -> set[str]:
    """The artifacts that an event names. Raises LogCorrupt if one is not there."""
    if b'"artifact":"' in envelope.payload:
        for digest in artifacts_of(to_event(envelope)):
            if digest not in known:
                raise LogCorrupt(
                    f"{envelope.stream} version {envelope.version}: artifact {digest} is missing"
                )
    return mentioned(envelope.payload) & known


def _reached(
    artifacts: ArtifactKeeper, named: set[str], known: set[str]
) -> Iterator[tuple[str, bytes]]:
    """These artifacts, and those that they mention, in an order that is always the same."""
    met, level = set(named), sorted(named)
    while level:
        further = set[str]()
        for digest in level:
            content = artifacts.get(digest)
            yield digest, content
            further |= mentioned(content) & known
        level = sorted(further - met)
        met |= further


@contextmanager
def _written(path: Path) -> Iterator[zipfile.ZipFile]:
    """A new zip; nothing is at ``path`` before it is complete and on the disk."""
    partial = path.with_name(f"{path.name}.partial-{token_hex(4)}")
    try:
        if path.exists():
            raise LogError(f"{path} exists; name a new file for the export")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w+b") as file, zipfile.ZipFile(file, "w") as archive:
                yield archive
            sync_path(partial)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
        sync_path(path.parent)
    except OSError as error:
        raise LogUnavailable(
            f"cannot write the export {path}: {error.strerror or error}; free some space, mend the "
            "permissions, or name another place"
        ) from error


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # the earliest there is: no time
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return archive.open(info, "w", force_zip64=True)
