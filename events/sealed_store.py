"""A log whose encrypted runs are encrypted when they are recorded, and readable where their keys
are: what engines and tools work on. Of a run whose key is not here they read the events without
their contents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec.structs import replace

from .artifacts import SEALED, ArtifactKeeper, Artifacts
from .envelope import CLEAR, Envelope, NewEvent, is_known, key_of
from .errors import AppendRefused, LogCorrupt, MissingKey
from .lines import EVERY, Lines, LogLine, Wanted, payload_of
from .store import Batch, InboxItem, Snapshot, Store
from .upcasters import Event, to_new

if TYPE_CHECKING:
    from .keys import Key, Keys
    from .sealing import SealedArtifacts

# What encrypts is imported where it is needed: few runs are encrypted.

L = TypeVar("L")


class SealedStore:
    """A :class:`~semantica.pipeline.events.store.Store` around another one; what is not said here
    is done by that.

    An event whose ``encoding`` names a key is encrypted with it when it is appended.

    Args:
        stored: The log as it is stored.
        find_keys: Says where the keys of its runs are.
    """

    def __init__(self, stored: Store, find_keys: Callable[[], Keys]) -> None:
        self.stored = stored
        self._find_keys = find_keys
        self.artifacts = _OpenedArtifacts(stored.artifacts, self)
        self.lines = _OpenedLines(stored.lines, self)

    @cached_property
    def keys(self) -> Keys:
        """Where they are."""
        return self._find_keys()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stored, name)

    # -- events ------------------------------------------------------------------------------

    def append(
        self, batches: Sequence[Batch], *, taken: Sequence[int] = (), lines: Sequence[LogLine] = ()
    ) -> list[AppendRefused | None]:
        if any(batch.events[0].encoding != CLEAR for batch in batches):
            batches = [self._sealed(batch) for batch in batches]
        if any(line.encoding != CLEAR for line in lines):
            lines = [kept for line in lines if (kept := self._line_sealed(line))]
        return self.stored.append(batches, taken=taken, lines=lines)

    def _line_sealed(self, line: LogLine) -> LogLine | None:
        """None: its key is gone meanwhile, and it with that."""
        if line.encoding == CLEAR:
            return line
        from .sealing import found, seal_line

        try:
            return seal_line(line, found(self.keys, line.encoding))
        except MissingKey:
            return None

    def _sealed(self, batch: Batch) -> Batch:
        encoding = batch.events[0].encoding
        if encoding == CLEAR:
            return batch
        from .sealing import found, seal

        key = found(self.keys, encoding)
        artifacts = self._under(key)
        return replace(
            batch,
            events=[
                seal(event, key, artifacts, batch.stream, version)
                for version, event in enumerate(batch.events, batch.after + 1)
            ],
        )

    def read(self, stream: str, after: int = 0) -> Iterator[Envelope]:
        return self._opened(self.stored.read(stream, after))

    def read_all(self, after: int = 0) -> Iterator[Envelope]:
        return self._opened(self.stored.read_all(after))

    def head(self, stream: str) -> Envelope | None:
        newest = self.stored.head(stream)
        return newest and next(self._opened(iter((newest,))))

    def _opened(self, envelopes: Iterator[Envelope]) -> Iterator[Envelope]:
        keys: dict[str, Key | None] = {}
        for envelope in envelopes:
            if envelope.encoding == CLEAR:
                yield envelope
            else:
                yield self._unsealed(envelope, keys)

    def _unsealed(self, envelope: Envelope, keys: dict[str, Key | None]) -> Envelope:
        from .sealing import unseal

        encoding = envelope.encoding
        if encoding not in keys:
            name = key_of(encoding)
            keys[encoding] = self.keys.find(name) if name is not None else None
        key = keys[encoding]
        return envelope if key is None else unseal(envelope, key)

    # -- what else lies in a log -------------------------------------------------------------

    def send(self, stream: str, command: bytes, *, actor: str, at: int) -> int:
        text = self._text_sealed(stream, command, f"inbox {stream}")
        return self.stored.send(stream, text, actor=actor, at=at)

    def inbox(self, *, after: int = 0) -> list[InboxItem]:
        return [self._item(item) for item in self.stored.inbox(after=after)]

    def _item(self, item: InboxItem) -> InboxItem:
        with suppress(MissingKey, LogCorrupt):  # whoever takes it will refuse what it is
            return replace(item, command=self._text(item.command, f"inbox {item.stream}"))
        return item

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        data = self._text_sealed(stream, snapshot.data, _snapshot(stream, snapshot))
        self.stored.save_snapshot(stream, replace(snapshot, data=data))

    def load_snapshot(self, stream: str) -> Snapshot | None:
        kept = self.stored.load_snapshot(stream)
        if kept is None:
            return None
        try:
            return replace(kept, data=self._text(kept.data, _snapshot(stream, kept)))
        except MissingKey:  # the events tell what may be told
            return None
        except LogCorrupt:  # as any other that is damaged
            return replace(kept, data=b"")

    def _text_sealed(self, stream: str, text: bytes, place: str) -> bytes:
        """A text about a run, for a place in the log. Raises MissingKey."""
        encoding = self._encoding_of(stream)
        if encoding == CLEAR:
            return text
        from .sealing import found, seal_text

        return seal_text(text, found(self.keys, encoding), place)

    def _text(self, data: bytes, place: str) -> bytes:
        """The inverse. Raises MissingKey, LogCorrupt."""
        if not data.startswith(b'["'):  # neither a command nor a state is such a list
            return data
        from .sealing import unseal_text

        return unseal_text(data, self.keys, place)

    def _encoding_of(self, stream: str) -> str:
        newest = self.stored.head(stream)  # of a run all are recorded alike, but the erasure
        return newest.encoding if newest else CLEAR

    def _under(self, key: Key) -> SealedArtifacts:
        from .sealing import SealedArtifacts

        return SealedArtifacts(self.stored.artifacts, key, self.keys)

    def under(self, encoding: str) -> Artifacts:
        """See :func:`artifacts_under`."""
        if encoding == CLEAR:
            return self.stored.artifacts
        from .sealing import found

        return self._under(found(self.keys, encoding))

    def of_run(self, stream: str) -> Artifacts:
        """See :func:`artifacts_of_run`."""
        return self.under(self._encoding_of(stream))


class _OpenedArtifacts:
    """The artifacts of a log, of which encrypted ones are read with their keys."""

    def __init__(self, kept: ArtifactKeeper, log: SealedStore) -> None:
        self._kept, self._log = kept, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def get(self, digest: str) -> bytes:
        """See :meth:`Artifacts.get`. Raises MissingKey, too."""
        data = self._kept.get(digest)
        if not data.startswith(SEALED):
            return data
        from .sealing import opened

        return opened(data, digest, self._log.keys)


class _OpenedLines:
    """The lines of a log, of which encrypted ones are read with their keys."""

    def __init__(self, kept: Lines, log: SealedStore) -> None:
        self._kept, self._log = kept, log
        self.position, self.heads = kept.position, kept.heads

    def read(self, run_id: str, after: int = 0, wanted: Wanted = EVERY) -> Iterator[LogLine]:
        """See :meth:`Lines.read`."""
        return map(self._opened, self._kept.read(run_id, after, wanted))

    def newest(
        self, run_id: str, count: int, before: int | None = None, wanted: Wanted = EVERY
    ) -> list[LogLine]:
        """See :meth:`Lines.newest`."""
        return list(map(self._opened, self._kept.newest(run_id, count, before, wanted)))

    def _opened(self, line: LogLine) -> LogLine:
        if line.encoding == CLEAR or not is_known(line.encoding):  # who reads it will say so
            return line
        from .redaction import HIDDEN_TEXT
        from .sealing import found, unseal_line

        try:
            return unseal_line(line, found(self._log.keys, line.encoding))
        except MissingKey:
            return replace(line, payload=payload_of({"event": HIDDEN_TEXT})[0])


def _snapshot(stream: str, snapshot: Snapshot) -> str:
    return f"snapshot {stream} {snapshot.version} {snapshot.fold}"


def sealing(store: Store, find_keys: Callable[[], Keys]) -> Store:
    """A log that encrypts what is to be encrypted; ``find_keys`` says where the keys are."""
    return cast(Store, SealedStore(store, find_keys))


def as_stored(store: L) -> L:
    """A log as it is stored: to check it, to copy it, and for whom contents are none of theirs."""
    return cast(L, store.stored) if isinstance(store, SealedStore) else store


def artifacts_under(store: Store, encoding: str) -> Artifacts:
    """Where the values of runs of this encoding are kept. Raises MissingKey."""
    return store.under(encoding) if isinstance(store, SealedStore) else store.artifacts


def artifacts_of_run(store: Store, stream: str) -> Artifacts:
    """Where the values of a run are kept. Raises MissingKey."""
    return store.of_run(stream) if isinstance(store, SealedStore) else store.artifacts


def new_events(store: Store, encoding: str, events: Iterable[Event]) -> list[NewEvent]:
    """Events of a run of this encoding, to be appended. Raises MissingKey."""
    if encoding != CLEAR:
        artifacts_under(store, encoding)
    return [to_new(event, encoding) for event in events]


def require_key(store: Store, run_id: str, encoding: str) -> None:
    """Raise MissingKey if a run of this encoding can only be looked at here, without contents."""
    try:
        artifacts_under(store, encoding)
    except MissingKey as error:
        raise MissingKey(f"run {run_id} is encrypted and cannot go on here: {error}") from None


def keys_of(store: Store) -> Keys:
    """Where the keys of a log's runs are. Raises MissingKey: nowhere."""
    if isinstance(store, SealedStore):
        return store.keys
    raise MissingKey(f"{store.location} was opened without a place for keys")
