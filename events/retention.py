"""What leaves a log: finished runs, of which a stub stays, and artifacts that nothing names.

A run leaves in two steps: its events are copied into another log (whose chains come out the same,
since a digest does not cover a position), with the lines of its handlers; then one transaction puts
the stub in their place. Killed between the two, the run is in both logs, and doing it again
finishes.

An artifact is removed when no event, command or artifact that stays mentions it, and nothing has
put it, nor has a run that named it left, for a time of grace: whoever names it next has put it, or
has read it in an event of that run, in the meantime. Names are found as text, so that whatever form
a value gives to them, they are seen; a text that only looks like one keeps an artifact too long.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import nullcontext
from itertools import islice

import msgspec

from .artifacts import ArtifactKeeper
from .directory import RunRow
from .envelope import GENESIS, Envelope, NewEvent, follows
from .errors import ArchivedRun, LogCorrupt, LogError, RunNotFound
from .lines import LogLine
from .machines import ARCHIVE_TABLE
from .sealed_store import as_stored
from .store import Batch, Store
from .stub import ARCHIVE, RunArchived
from .upcasters import to_event, to_new

_DIGEST = re.compile(rb"(?=([0-9a-f]{64}))")
_PAGE = 500
"""Events that are copied in one transaction."""
_SWEEP = 200
"""Artifacts that are removed while nobody else can append."""


class Vacuumed(msgspec.Struct, frozen=True):
    """What was removed: artifacts, their bytes, and bytes of the log's file."""

    artifacts: int
    artifact_bytes: int
    file_bytes: int


# Runs


def stubs(store: Store, name: str | None = None) -> Iterator[RunArchived]:
    """The runs that have left, of a name or of any, in the order of their leaving."""
    for envelope in store.read(ARCHIVE):
        stub = to_event(envelope)
        if name is None or stub.name == name:
            yield stub


def not_here(store: Store, text: str) -> RunNotFound:
    """The error for a run, or the newest one of a name, that the log does not hold."""
    found = store.archived(text)
    told = [to_event(found)] if found else list(stubs(store, text))[-1:]
    if not told:
        return RunNotFound(
            f"no run with the id or name {text!r} in {store.location}; "
            "'semantica-pipeline runs' lists what there is"
        )
    (stub,) = told
    went = f"moved to {stub.to}; ask there with --log" if stub.to else "discarded"
    return ArchivedRun(
        f"run {stub.run} ({stub.name}, {stub.status}) is not in {store.location} any more: its "
        f"{stub.events} events were {went}"
    )


def stub_of(store: Store, row: RunRow, to: str | None) -> tuple[Envelope, RunArchived] | None:
    """The head of a run and the stub that would stay of it; None if it is not finished."""
    head = store.head(row.stream)
    if head is None or (row.status, "RunArchived") not in ARCHIVE_TABLE:
        return None
    stub = RunArchived(
        run=row.run_id,
        name=row.name,
        status=str(row.status),
        submitted_at=row.submitted_at,
        ended_at=row.changed_at,
        events=head.version,
        digest=head.digest.hex(),
        to=to,
    )
    return head, stub


def retire(
    store: Store, row: RunRow, to: Store | None, *, actor: str, at: int
) -> RunArchived | None:
    """Move a finished run to another log, or (None) discard it, and leave its stub.

    Returns:
        The stub; None if the run is not finished, or has moved on meanwhile.

    Raises:
        LogCorrupt: Its chain is broken, or an artifact it names is damaged; it stays as it is.
        LogError: The other log has something else under this id.
    """
    store = as_stored(store)
    made = stub_of(store, row, to.location if to else None)
    if made is None:
        return None
    head, stub = made
    named = _copy(store, head, to)
    for digest in named:
        store.artifacts.touch(digest)  # the time of grace begins
    while True:
        last = store.head(ARCHIVE)
        version, epoch = (last.version, last.epoch) if last else (0, 0)
        batch = Batch(ARCHIVE, version, epoch, actor, at, [to_new(stub)])
        refusal = store.retire(head, batch)
        if refusal is None:
            return stub
        if store.head(row.stream) != head:
            return None


def _copy(store: Store, head: Envelope, to: Store | None) -> set[str]:
    """Check a run's chain and copy it, from where an earlier try was killed; returns the artifacts
    that it names, directly or through others."""
    there = to.head(head.stream) if to else None
    copied = there.version if there else 0
    known, named = set(store.artifacts.digests()), set[str]()
    events, previous = store.read(head.stream), GENESIS
    while page := list(islice(events, _PAGE)):
        for envelope in page:
            if not follows(previous, envelope):
                raise LogCorrupt(
                    f"{head.stream} was not archived: the digest of version {envelope.version} "
                    "does not match its content"
                )
            previous = envelope.digest
        for digest, content in _reached(store.artifacts, (e.payload for e in page), known, named):
            if to is not None:
                to.artifacts.put(content)
            named.add(digest)
        if to is not None:
            to.append([again(e) for e in page if copied < e.version <= head.version])
    if to is not None:
        run_id = head.stream.partition("/")[2]
        bring_lines(store.lines.read(run_id), to, run_id)
    arrived = to.head(head.stream) if to else None
    if to is not None and (arrived is None or arrived.digest != head.digest):
        raise LogError(f"{to.location} has another run under the id of {head.stream}")
    return named


def bring_lines(lines: Iterable[LogLine], to: Store, run_id: str) -> int:
    """Append all lines of a run to a log that may have the first ones; returns how many."""
    brought = 0
    new = islice(lines, sum(1 for _ in to.lines.read(run_id)), None)
    while page := list(islice(new, _PAGE)):
        to.append([], lines=page)
        brought += len(page)
    return brought


def again(envelope: Envelope) -> Batch:
    """The append that this event came from: it gives the same digest anywhere."""
    event = NewEvent(envelope.type, envelope.schema, envelope.payload, envelope.encoding)
    e = envelope
    return Batch(e.stream, e.version - 1, e.epoch, e.actor, e.at, [event])


# Artifacts


def mentioned(text: bytes) -> set[str]:
    """What could be the digest of an artifact in a text."""
    return {found.decode() for found in _DIGEST.findall(text)}


def _reached(
    artifacts: ArtifactKeeper, texts: Iterable[bytes], known: set[str], seen: Collection[str]
) -> Iterator[tuple[str, bytes]]:
    """Those of the ``known`` artifacts that texts mention, or artifacts that are mentioned, but for
    those that have been ``seen``; with their content.

    Raises:
        LogCorrupt: One is damaged, so that what it mentions is not known.
    """
    waiting, met = list[str](), set[str]()
    for text in texts:
        met |= mentioned(text) & known
    met = {digest for digest in met if digest not in seen}
    waiting.extend(met)
    while waiting:
        digest = waiting.pop()
        content = artifacts.get(digest)
        yield digest, content
        fresh = {one for one in mentioned(content) & known if one not in seen} - met
        met |= fresh
        waiting.extend(fresh)


def sweep(store: Store, before: int, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove artifacts that nothing names and that were not put since ``before`` (ns, UTC).

    Returns:
        How many, and their bytes.

    Raises:
        LogCorrupt: An artifact is damaged; nothing was removed.
    """
    store = as_stored(store)
    artifacts = store.artifacts
    known = set(artifacts.digests())
    seen, named = 0, set[str]()

    def texts() -> Iterator[bytes]:
        nonlocal seen
        for envelope in store.read_all(seen):
            seen = envelope.position
            yield envelope.payload
        for item in store.inbox():  # signals carry values
            yield item.command

    named.update(digest for digest, _ in _reached(artifacts, texts(), known, named))
    orphans = iter(sorted(known - named))
    count = total = 0
    while some := list(islice(orphans, _SWEEP)):
        with nullcontext() if dry_run else store.locked():
            named.update(digest for digest, _ in _reached(artifacts, texts(), known, named))
            remove = artifacts.size if dry_run else artifacts.discard
            sizes = [remove(digest, before) for digest in some if digest not in named]
        count += sum(map(bool, sizes))
        total += sum(sizes)
    if not dry_run:
        artifacts.clear(before)
    return count, total
