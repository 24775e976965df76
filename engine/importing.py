"""Taking runs from a file into a log: all of it is checked before anything is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import groupby, islice
from pathlib import Path

import msgspec

from ..events.definition import PipelineDefinition
from ..events.directory import RunRow, advance, concerns, stream_of
from ..events.envelope import CLEAR, GENESIS, Envelope, NewEvent, follows, key_of
from ..events.errors import AppendRefused, LogError, MissingKey
from ..events.keys import MemoryKeys
from ..events.pipeline import PipelineSubmitted
from ..events.retention import again, bring_lines
from ..events.sealed_store import SealedStore, as_stored, keys_of
from ..events.sealing import opened, unseal
from ..events.store import Batch, Store
from ..events.upcasters import to_event
from ..events.verify import artifacts_of
from ..projections.run import Run
from .carried import CarriedFile, CarriedRun, has_pickle

_PAGE = 500
"""Events that are handed to the log at once; those of a run, and of the steps of it that are runs,
are recorded in one transaction all the same: nobody sees half a run, and recovers it."""


class Imported(msgspec.Struct, frozen=True):
    """What a file of runs has brought: those that were new here, or went on in the file;
    ``already``: those that were here as they are in it."""

    path: str
    runs: int
    already: int
    events: int
    artifacts: int
    lines: int = 0


def import_runs(log: Store, path: Path, *, allow_pickle: bool, now: int) -> Imported:
    """See :meth:`ExecutionEngine.import_runs`; ``now`` is the present, ns, UTC."""
    path, store = path.expanduser(), as_stored(log)
    with closing(CarriedFile(path)) as file:
        reader = _Contents(file, log)
        there = _Check(store, file, reader, allow_pickle, now).all()
        for content in reader.brought.values():
            keys_of(log).add(content)
        new = [run.events - there[run.run] for run in file.runs if there[run.run] < run.events]
        if new:
            for digest in file.artifacts:
                store.artifacts.put(file.artifact(digest))
            with closing(file.events()) as events:
                for family in _families(file.runs):
                    _adopt(store, family, events, there)
        lines = 0
        for run_id, said in groupby(file.lines(), lambda line: line.run):
            lines += bring_lines(said, store, run_id)
    already = len(there) - len(new)
    artifacts = len(file.artifacts) if new else 0
    return Imported(str(path), len(new), already, sum(new), artifacts, lines)


def _families(runs: Iterable[CarriedRun]) -> Iterator[list[CarriedRun]]:
    """Each run with those that are steps of it, and of those."""
    family = list[CarriedRun]()
    for run in runs:
        if family and run.parent not in {one.run for one in family}:
            yield family
            family = []
        family.append(run)
    if family:
        yield family


def _adopt(
    store: Store, family: list[CarriedRun], events: Iterator[Envelope], there: dict[str, int]
) -> None:
    """Take what is new of these runs, which come next in ``events``, or nothing of it."""
    new = (
        again(envelope)
        for run in family
        for envelope in islice(events, run.events)
        if envelope.version > there[run.run]
    )
    if all(there[run.run] >= run.events for run in family):
        deque(new, maxlen=0)  # passed over
        return
    try:
        store.adopt(_pages(new))
    except AppendRefused as error:
        raise LogError(
            f"{error}; somebody else has written meanwhile. The runs before it in the file have "
            "been imported; import it again"
        ) from error


def _pages(batches: Iterator[Batch]) -> Iterator[list[Batch]]:
    while page := list(islice(batches, _PAGE)):
        yield page


class _Contents:
    """What is in the file, readable with the keys that are in it or here."""

    def __init__(self, file: CarriedFile, log: Store) -> None:
        self._file = file
        self.brought = {name: file.key(name) for name in file.keys}
        """Keys that the file has, as their files."""
        self._keys = MemoryKeys()
        for name, content in self.brought.items():
            if self._keys.add(content) != name:
                raise file.damaged(f"key {name} has another content")
        self._here = keys_of(log) if isinstance(log, SealedStore) else self._keys

    def payload(self, e: Envelope) -> bytes | None:
        """Of an event; None: its key is missing."""
        name = key_of(e.encoding)
        key = name and (self._keys.find(name) or self._here.find(name))
        if e.encoding == CLEAR:
            return e.payload
        return unseal(e, key).payload if key else None

    def artifact(self, digest: str) -> bytes | None:
        """Its text; None: its key is missing."""
        content = self._file.artifact(digest)
        for keys in (self._keys, self._here):
            with suppress(MissingKey):
                return opened(content, digest, keys)
        return None


class _Check:
    """The check of a file against itself, the law, and the log that it is to go into."""

    def __init__(
        self, store: Store, file: CarriedFile, reader: _Contents, allow_pickle: bool, now: int
    ) -> None:
        self._store, self._file, self._now = store, file, now
        self._reader = reader
        self._allow_pickle = allow_pickle
        self._there = dict[str, int]()
        """How many events of each run are in the log."""
        self._named = set[str]()

    def all(self) -> dict[str, int]:
        """Check everything; returns how many events of each run the log has already.

        Raises:
            LogCorrupt: The file is damaged.
            LogError: It holds what the log cannot take.
        """
        events = self._file.events()
        for run in self._file.runs:
            self._run(run, islice(events, run.events))
        if next(events, None) is not None:
            raise self._file.damaged("it has events of no run")
        artifacts = set(self._file.artifacts)
        for digest in sorted(self._named - artifacts):
            raise self._file.damaged(f"artifact {digest} is missing")
        runs = [run_id for run_id, _ in groupby(self._file.lines(), lambda line: line.run)]
        if len(set(runs)) != len(runs) or not set(runs) <= set(self._there):
            raise self._file.damaged("it has lines of no run, or in no order")
        for digest in self._file.artifacts:
            self._refuse_pickle(self._reader.artifact(digest), f"artifact {digest}")
        return self._there

    def _run(self, run: CarriedRun, events: Iterator[Envelope]) -> None:
        stream = stream_of(run.run)
        head = self._store.head(stream)
        if head is None and self._store.archived(run.run):
            raise LogError(f"run {run.run} was archived from {self._store.location}; it cannot "
                           "come back under its id")  # fmt: skip
        common = min(head.version if head else 0, run.events)
        version, previous = 0, GENESIS
        folded: Run | None = None
        row: RunRow | None = None
        for e in events:
            version += 1
            place = f"event {version} of run {run.run}"
            if (e.stream, e.version) != (stream, version):
                raise self._file.damaged(f"{place} is missing")
            if not follows(previous, e):
                raise self._file.damaged(f"{place} has another content than its digest says")
            if version == common and not self._is_here(e):
                raise self._clash(run)
            previous = e.digest
            try:
                event = to_event(e)
                if folded is None:
                    folded = self._begun(run.run, event)
                folded.apply(event, version=version, at=e.at, epoch=e.epoch)
                if concerns(e.type):
                    row = advance(row, stream, e.at, e.epoch, NewEvent(e.type, e.schema, e.payload))
            except Exception as error:  # what somebody made up may stumble over anything
                raise self._file.damaged(f"{place}: {error}") from error
            self._refuse_pickle(self._reader.payload(e), place)
            if b'"artifact":"' in e.payload:
                self._named.update(artifacts_of(event))
        told = (row.name, row.status, row.parent, version, previous.hex()) if row else None
        if told != (run.name, run.status, run.parent, run.events, run.digest):
            raise self._file.damaged(f"run {run.run} is not as the file's manifest says")
        if 0 < common < run.events and self._goes_on(run.run):
            raise LogError(f"run {run.run} goes on in {self._store.location} just now")
        self._there[run.run] = head.version if head else 0

    def _begun(self, run_id: str, event: object) -> Run:
        if not isinstance(event, PipelineSubmitted):
            raise self._file.damaged(f"run {run_id} does not begin with its submission")
        body = event.definition
        text = bytes(body.inline) if body.artifact is None else self._file.artifact(body.artifact)
        try:
            return Run(run_id, msgspec.json.decode(text, type=PipelineDefinition))
        except msgspec.MsgspecError as error:
            raise self._file.damaged(f"the definition of run {run_id}: {error}") from error

    def _is_here(self, e: Envelope) -> bool:
        here = next(self._store.read(e.stream, e.version - 1), None)
        return here is not None and here.digest == e.digest

    def _clash(self, run: CarriedRun) -> LogError:
        return LogError(
            f"{self._store.location} has another history of run {run.run} ({run.name}) than "
            f"{self._file.path}; nothing was imported"
        )

    def _goes_on(self, run_id: str) -> bool:
        row = self._store.run(run_id)
        return bool(row and row.owner and self._store.alive(row.owner, self._now))

    def _refuse_pickle(self, text: bytes | None, place: str) -> None:
        if not self._allow_pickle and text is None:
            raise LogError(
                f"{self._file.path}: {place} is encrypted, and its key is neither here nor in the "
                "file, so that nobody can tell whether it holds a pickle; bring the key, or, if "
                "you trust the file, allow pickles (--allow-pickle)"
            )
        if not self._allow_pickle and text is not None and has_pickle(text):
            raise LogError(
                f"{self._file.path}: {place} holds a pickle, and reading one back runs code of "
                "whoever wrote it; if you trust the file, allow it (--allow-pickle)"
            )
