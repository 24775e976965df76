"""Following a log from where one was: every event at least once, in the order of its recording.

A consumer has a name, and the log keeps its position under it, so that it goes on where it was
after any death, in any process. An event counts as dealt with when the next one is asked for. The
log is looked at ten times a second, as engines do for news.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import reduce
from itertools import islice
from types import TracebackType
from typing import Any, Generic, TypeVar

import msgspec

from ..events.arguments import instance
from ..events.envelope import Envelope
from ..events.errors import LogError
from ..events.sealed_store import as_stored
from ..events.store import Store
from ..events.subscriptions import Bookmark
from ..events.upcasters import to_event
from .logs import open_existing, open_log

LOOK = 0.1
"""Seconds between two looks for something new."""
SAVE_EVERY = 1.0
"""Seconds after which a position is saved at the latest while events come without a pause."""
_PAGE = 500
"""Events between two saves at most."""
S = TypeVar("S")


class Record(msgspec.Struct, frozen=True):
    """An event as it was recorded.

    Args:
        envelope: With position, stream, version, time (``at``, ns, UTC), type and payload.
        event: What the payload says, such as a ``StepCompleted``.
    """

    envelope: Envelope
    event: Any

    @property
    def run_id(self) -> str | None:
        """The run that it belongs to; None for one of a pool of resources, or of the archive."""
        kind, _, name = self.envelope.stream.partition("/")
        return name if kind == "run" else None


def record_of(envelope: Envelope) -> Record:
    """An envelope with its event."""
    return Record(envelope, to_event(envelope))


class Subscription:
    """See :func:`subscribe`. An iterator of records, and a context manager that ends it."""

    def __init__(self, store: Store, name: str, *, follow: bool, ending: ExitStack) -> None:
        self.name = name
        self._store = store
        self._follow = follow
        self._ending = ending
        self._stop = threading.Event()
        bookmark = store.subscriptions.load(name)
        self.state = bookmark.state
        """What was saved with the position; empty before the first time."""
        self._saved = self._done = self._given = bookmark.position
        self._saved_at = time.monotonic()
        self._page: Iterator[Envelope] = iter(())

    @property
    def position(self) -> int:
        """Up to where in the log everything has been dealt with."""
        return self._done

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Record:
        """The next event; waits for one, unless ``follow=False``. Raises LogError."""
        self._done = self._given
        while not self._stop.is_set():
            if time.monotonic() - self._saved_at > SAVE_EVERY:
                self._save()
            envelope = next(self._page, None)
            if envelope is None:
                self._save()
                self._page = islice(self._store.read_all(self._given), _PAGE)
                envelope = next(self._page, None)
            if envelope is not None:
                self._given = envelope.position
                return record_of(envelope)
            if not self._follow:
                break
            self._stop.wait(LOOK)
        raise StopIteration

    def acknowledge(self, state: bytes | None = None) -> None:
        """Record that everything up to the event in hand has been dealt with, durably on return;
        in the same moment keep ``state``, unless it is None. Raises LogError."""
        self._done = self._given
        self._save(state)

    def stop(self) -> None:
        """Have the iteration end; from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Save how far it came, and let another consumer have the name."""
        with self._ending:
            self._save()

    def _save(self, state: bytes | None = None) -> None:
        if self._done != self._saved or state is not None:
            self.state = self.state if state is None else state
            self._store.subscriptions.save(self.name, Bookmark(self._done, self.state))
            self._saved = self._done
        self._saved_at = time.monotonic()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def subscribe(
    log: str | os.PathLike[str] | Store | None, name: str, *, follow: bool = True
) -> Subscription:
    """Follow a log from the position that is kept under ``name``, at first from its beginning.

    Use it in a ``with`` block and iterate over it. Each event comes at least once and in order:
    after a crash those come again that were given since the position was last saved, which is done
    at every pause, every second, and by :meth:`Subscription.acknowledge`. The event in hand when
    the block is left comes again, unless it was acknowledged. Runs that are archived before they
    were read are not seen.

    Args:
        log: As for :class:`ExecutionEngine`.
        name: Of the consumer; one at a time.
        follow: Wait for further events; False: end after those that there are.

    Raises:
        LogError: Somebody follows under this name, or the log cannot be used.
        TypeError, ValueError: An argument.
    """
    ending = ExitStack()
    store = ending.enter_context(held(log, name))
    try:
        return Subscription(store, name, follow=follow, ending=ending)
    except BaseException:
        ending.close()
        raise


@contextmanager
def held(log: str | os.PathLike[str] | Store | None, name: str) -> Iterator[Store]:
    """A log, of which nobody else is a consumer with that name until the end of the block."""
    instance("name", name, str, "the name of a consumer")
    if not name or not name.isprintable() or len(name) > 200:
        raise ValueError(f"the name of a consumer must be 1 to 200 printable characters: {name!r}")
    named = log is None or isinstance(log, (str, os.PathLike))
    # One that an engine of this process works on is taken as that has opened it.
    shared = (open_existing(log) if named else None) or open_log(log)  # type: ignore[arg-type]
    try:
        with shared.store.subscriptions.hold(name):
            yield as_stored(shared.store)
    finally:
        shared.leave()


_kept_form = msgspec.json.Decoder(tuple[int, msgspec.Raw])


class Projection(Generic[S]):
    """A fold of your own over a log, whose state is kept in it: each event is folded exactly once.

    Args:
        name: Under which position and state are kept; one process at a time may fold.
        fold: ``fold(state, record)`` gives the state after one more event. It should depend on
            nothing else, and may change the state that it is given.
        start: The state before the first event: anything that msgspec writes as JSON and reads
            back as ``type(start)``, such as a dict with text keys, or a ``msgspec.Struct``.
        version: Raise it when ``fold`` changes: the next :meth:`catch_up` begins anew.
    """

    def __init__(
        self, name: str, fold: Callable[[S, Record], S], start: S, *, version: int = 1
    ) -> None:
        self.name, self.fold, self.version = name, fold, version
        self._start = msgspec.json.encode(start)
        self._type = type(start)
        if self._read(self._start) != start:
            raise ValueError(f"the start of projection {name!r} does not survive JSON: {start!r}")

    def of(self, records: Iterable[Record | Envelope]) -> S:
        """The state after these events alone, such as an engine's ``history``; keeps nothing."""
        given = (one if isinstance(one, Record) else record_of(one) for one in records)
        return reduce(self.fold, given, self._read(self._start))

    def catch_up(self, log: str | os.PathLike[str] | Store | None, *, anew: bool = False) -> S:
        """Fold what is new in a log and keep the state, with its position; returns it.

        Args:
            log: As for :class:`ExecutionEngine`.
            anew: Forget the state, and fold the whole log again.

        Raises:
            LogError: Another process folds this projection, or the log cannot be used.
            Exception: What ``fold`` raises; what it did since the last save (of up to 500 events)
                comes again.
        """
        with held(log, self.name) as store:
            position, state = (0, None) if anew else self._kept(store)
            folded = self._read(self._start) if state is None else state
            while page := list(islice(store.read_all(position), _PAGE)):
                for envelope in page:
                    folded = self.fold(folded, record_of(envelope))
                position = page[-1].position
                data = msgspec.json.encode((self.version, folded))
                store.subscriptions.save(self.name, Bookmark(position, data))
            return folded

    def _kept(self, store: Store) -> tuple[int, S | None]:
        bookmark = store.subscriptions.load(self.name)
        if bookmark.position:
            try:
                version, state = _kept_form.decode(bookmark.state)
            except msgspec.MsgspecError:
                raise LogError(
                    f"{self.name!r} is a subscription of {store.location}, and no projection; "
                    "choose another name"
                ) from None
            if version == self.version:
                return bookmark.position, self._read(bytes(state))
        return 0, None

    def _read(self, data: bytes) -> S:
        return msgspec.json.decode(data, type=self._type)
