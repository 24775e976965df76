"""A pool of resources as a log has it: shared by all who have that log open.

Its stream has many writers. Each decides on the newest state and appends with the version that it
has seen; if somebody else was faster, it looks again. So nothing is ever granted twice, whoever
asks, from whichever process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from ..events.errors import LogError, LogUnavailable
from ..events.resource import (
    OWNER_LOST,
    AllocationReleased,
    AllocationRequested,
    AllocationWithdrawn,
    PoolConfigured,
    ResourceRegistered,
    ResourceRemoved,
    ResourceReserved,
    ResourceResized,
    ResourceUnreserved,
    pool_stream,
)
from ..events.store import Batch, Snapshot, Store
from ..events.upcasters import PoolEvent, to_event, to_new
from ..projections.pool import FOLD, Pool, PoolState, pool_from_bytes, pool_to_bytes
from .clock import Clock
from .core.capacity import Survey, Waiting
from .logger import logger
from .writing import append_patiently, patiently

T = TypeVar("T")

SNAPSHOT_EVENTS = 1000
"""Events between two snapshots: few, since whoever opens a log folds what follows the last one."""


class SharedPool:
    """A pool in a store. Safe to use from several threads.

    Args:
        store: The log.
        name: Of the pool.
        clock: Of those who decide.
        closing: Set when the process gives up on writing.
    """

    def __init__(self, store: Store, name: str, clock: Clock, closing: threading.Event) -> None:
        self.name = name
        self.changed = threading.Condition(threading.RLock())
        """Notified of every change that this process makes or notices; also its lock."""
        self.listeners: list[Callable[[], None]] = []
        """Called after every such change, in any thread."""
        self.narrowed = 0
        """Version at which there last was, perhaps, less to be had: who waits may wait in vain."""
        self.swept = 0
        """Version at which a request was last withdrawn because its owner was taken for dead."""
        self._store = store
        self._clock = clock
        self._closing = closing
        self._stream = pool_stream(name)
        self._torn = False
        """The state holds what is not recorded, or half an event: something came in between."""
        self._told = 0
        with self.changed:
            self._load()
            self._told = self.state.version

    @property
    def state(self) -> PoolState:
        """The state as far as this process knows it; see :meth:`look`."""
        return self._pool.state

    def look(self) -> bool:
        """Read what others have changed; whether there was something."""
        with self.changed:
            if self._torn:
                self._load()
            else:
                self._follow()
            if self.state.version == self._told:
                return False
            self._tell()
            return True

    def transact(self, actor: str, decide: Callable[[Draft], T]) -> T:
        """Have ``decide`` record events on the newest state, and append them.

        Called again, on a newer state, if somebody else was faster; what it answers at last is
        returned. While the log cannot be written, waits.

        Raises:
            LogError: The log is beyond use, or the process exits and it still cannot be written.
        """
        with self.changed:
            while True:
                patiently(self.look, self._store.location, self._closing, self._clock)
                draft = Draft(self, self._clock.now())
                before = self.state.version
                try:
                    answer = decide(draft)
                    done = not draft.events or self._append(actor, before, draft)
                except BaseException:
                    if self._torn:
                        self._load()
                    raise
                if done:
                    self._torn = False
                    if draft.events:
                        self._tell()
                    return answer

    def _append(self, actor: str, after: int, draft: Draft) -> bool:
        events = [to_new(event) for event in draft.events]
        batch = Batch(self._stream, after, 1, actor, draft.now, events)
        refusal = append_patiently(self._store, [batch], [], self._closing, self._clock)[0]
        if refusal is None and self.state.version - self._snapshot_at >= SNAPSHOT_EVENTS:
            self._save()
        return refusal is None

    def _tell(self) -> None:
        self._told = self.state.version
        self.changed.notify_all()
        for listener in self.listeners:
            listener()

    # -- state -------------------------------------------------------------------------------

    def _load(self) -> None:
        self._torn = True
        snapshot = self._store.load_snapshot(self._stream)
        self._pool = Pool(self.name)
        if snapshot is not None and snapshot.fold == FOLD:
            with suppress(msgspec.MsgspecError):  # damaged: the events tell it again
                self._pool = pool_from_bytes(self.name, snapshot.data)
        self._snapshot_at = self.state.version
        self.waiting = Waiting(self.state)
        self._follow()

    def _follow(self) -> None:
        """Fold what is recorded and not folded yet."""
        self._torn = True
        for envelope in self._store.read(self._stream, self.state.version):
            self._fold(to_event(envelope), envelope.at)
        self._torn = False

    def _fold(self, event: PoolEvent, at: int) -> None:
        self._pool.apply(event, version=self.state.version + 1, at=at)
        if isinstance(event, AllocationRequested):
            self.waiting.add(event.allocation)
        elif isinstance(event, ResourceRegistered | ResourceResized | ResourceRemoved):
            self.narrowed = self.state.version
        elif isinstance(event, PoolConfigured | ResourceReserved | ResourceUnreserved):
            self.waiting = Waiting(self.state)  # in another order, or other queues
            self.narrowed = self.state.version
        elif isinstance(event, AllocationWithdrawn) and event.reason == OWNER_LOST:
            self.swept = self.state.version

    def _save(self) -> None:
        self._snapshot_at = self.state.version
        data = pool_to_bytes(self._pool)
        try:
            self._store.save_snapshot(self._stream, Snapshot(self._snapshot_at, FOLD, data))
        except LogUnavailable as error:  # a snapshot only saves time
            logger().warning("no snapshot was taken", pool=self.name, error=str(error))

    def closed(self) -> bool:
        """Whether the log has been closed; the state stays as it was then."""
        try:
            self.look()
        except LogError:
            return True
        return False


class Home(msgspec.Struct, frozen=True):
    """Where a scheduler's resources are: a pool, and in whose name things are held there."""

    pool: SharedPool
    owner: str
    keep_alive: Callable[[], None]
    """Makes sure that others do not take the owner for dead."""
    is_dead: Callable[[str], bool]
    """Whether an owner has died or left. Any thread."""


class Draft:
    """What a decision sees of a pool, and records.

    Attributes:
        now: ns, UTC.
        events: Recorded so far; each is folded at once.
    """

    def __init__(self, pool: SharedPool, now: int) -> None:
        self._pool = pool
        self.now = now
        self.events: list[PoolEvent] = []

    @property
    def state(self) -> PoolState:
        """With what has been recorded so far."""
        return self._pool.state

    def record(self, event: PoolEvent) -> None:
        """Fold an event, and append it in the end. Raises IllegalTransition."""
        self._pool._torn = True
        self._pool._fold(event, self.now)
        self.events.append(event)

    def survey(self) -> Survey:
        """A walk over those who wait."""
        return Survey(self.state, self._pool.waiting, self.now)

    def free_the_dead(self, is_dead: Callable[[str], bool]) -> bool:
        """Free what dead owners held, and forget what they asked for; whether there was any."""
        held, requests, before = self.state.held, self.state.requests, len(self.events)
        owners = {one.request.owner for one in held.values()}
        owners |= {request.owner for request in requests.values()}
        dead = set(filter(is_dead, owners))
        for allocation in [key for key, one in held.items() if one.request.owner in dead]:
            self.record(AllocationReleased(allocation, OWNER_LOST))
        for allocation in [key for key, request in requests.items() if request.owner in dead]:
            self.record(AllocationWithdrawn(allocation, OWNER_LOST))
        return len(self.events) > before
