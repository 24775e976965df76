"""A log whose encrypted runs are encrypted when they are recorded, and readable where their keys
are: what engines and tools work on. Of a run whose key is not here they read the events without
their contents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from msgspec.structs import replace

from .artifacts import Artifacts
from .envelope import Envelope, NewEvent
from .errors import AppendRefused, LogCorrupt, MissingKey
from .keys import Key, Keys
from .sealing import (
    CLEAR,
    OpenedArtifacts,
    SealedArtifacts,
    found,
    key_of,
    seal,
    seal_text,
    unseal,
    unseal_text,
)
from .store import Batch, InboxItem, Snapshot, Store
from .upcasters import Event, to_new

L = TypeVar("L")


class SealedStore:
    """A :class:`~semantica.pipeline.events.store.Store` around another one; what is not said here
    is done by that.

    An event whose ``encoding`` names a key is encrypted with it when it is appended.

    Args:
        stored: The log as it is stored.
        keys: Where the keys of its runs are.
    """

    def __init__(self, stored: Store, keys: Keys) -> None:
        self.stored = stored
        self.keys = keys
        self.artifacts = OpenedArtifacts(stored.artifacts, keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stored, name)

    # -- events ------------------------------------------------------------------------------

    def append(
        self, batches: Sequence[Batch], *, taken: Sequence[int] = ()
    ) -> list[AppendRefused | None]:
        if any(batch.events[0].encoding != CLEAR for batch in batches):
            batches = [self._sealed(batch) for batch in batches]
        return self.stored.append(batches, taken=taken)

    def _sealed(self, batch: Batch) -> Batch:
        encoding = batch.events[0].encoding
        if encoding == CLEAR:
            return batch
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
        found = self.stored.head(stream)
        return found and next(self._opened(iter((found,))))

    def _opened(self, envelopes: Iterator[Envelope]) -> Iterator[Envelope]:
        keys: dict[str, Key | None] = {}
        for envelope in envelopes:
            encoding = envelope.encoding
            if encoding == CLEAR:
                yield envelope
                continue
            if encoding not in keys:
                name = key_of(encoding)
                keys[encoding] = self.keys.find(name) if name is not None else None
            key = keys[encoding]
            yield envelope if key is None else unseal(envelope, key)

    # -- what else lies in a log -------------------------------------------------------------

    def send(self, stream: str, command: bytes, *, actor: str, at: int) -> int:
        key = self._key_of(stream)
        text = command if key is None else seal_text(command, key, f"inbox {stream}")
        return self.stored.send(stream, text, actor=actor, at=at)

    def inbox(self, *, after: int = 0) -> list[InboxItem]:
        return [self._item(item) for item in self.stored.inbox(after=after)]

    def _item(self, item: InboxItem) -> InboxItem:
        with suppress(MissingKey, LogCorrupt):  # whoever takes it will refuse what it is
            text = unseal_text(item.command, self.keys, f"inbox {item.stream}")
            return replace(item, command=text)
        return item

    def save_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        key = self._key_of(stream)
        if key is not None:
            data = seal_text(snapshot.data, key, _snapshot(stream, snapshot))
            snapshot = replace(snapshot, data=data)
        self.stored.save_snapshot(stream, snapshot)

    def load_snapshot(self, stream: str) -> Snapshot | None:
        kept = self.stored.load_snapshot(stream)
        if kept is None:
            return None
        try:
            return replace(kept, data=unseal_text(kept.data, self.keys, _snapshot(stream, kept)))
        except MissingKey:  # the events tell what may be told
            return None
        except LogCorrupt:  # as any other that is damaged
            return replace(kept, data=b"")

    def _key_of(self, stream: str) -> Key | None:
        """The key of a run; None for one that is not encrypted. Raises MissingKey."""
        encoding = self._encoding_of(stream)
        return None if encoding == CLEAR else found(self.keys, encoding)

    def _encoding_of(self, stream: str) -> str:
        newest = self.stored.head(stream)
        return newest.encoding if newest else CLEAR

    def _under(self, key: Key) -> SealedArtifacts:
        return SealedArtifacts(self.stored.artifacts, key, self.keys)

    def under(self, encoding: str) -> Artifacts:
        """See :func:`artifacts_under`."""
        if encoding == CLEAR:
            return self.stored.artifacts
        return self._under(found(self.keys, encoding))

    def of_run(self, stream: str) -> Artifacts:
        """See :func:`artifacts_of_run`."""
        return self.under(self._encoding_of(stream))


def _snapshot(stream: str, snapshot: Snapshot) -> str:
    return f"snapshot {stream} {snapshot.version} {snapshot.fold}"


def sealing(store: Store, keys: Keys) -> Store:
    """A log that encrypts what is to be encrypted."""
    return cast(Store, SealedStore(store, keys))


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
