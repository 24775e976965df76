"""A worker: an engine that executes what waits in queues, until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from ..events.arguments import whole
from ..events.directory import RunRow
from ..events.errors import AppendRefused, LogUnavailable, PipelineError
from ..events.machines import PipelineStatus
from ..events.resource import Ordering
from ..projections.backlog import Entry
from ..projections.catchup import load_run
from . import queued
from .claiming import Claimed, Claims
from .core import commands as c
from .core.queueing import Limits
from .execution import ExecutionEngine
from .live import Waiter
from .logger import logger
from .model import Given
from .result import ExecutionResult, PipelineFuture

SWEEP_INTERVAL = 1.0
"""Seconds between two looks for engines that have died and for deadlines, which are no news of the
log."""

Handlers = Callable[[RunRow], Mapping[str, Given]]
"""The handlers of a run that cannot be found by name. Raises PipelineError: it cannot be executed
here."""


class Worker:
    """Claims runs from the queues of an engine's log, and has the engine execute them.

    Several workers, on one machine or many, share the queues of a log: no run is executed by two
    of them, and together they keep within the limits that each is given. What an engine leaves
    behind that has died or was closed, a worker takes over, as ``recover()`` does.

    Args:
        engine: Executes.
        queues: Those that are served; none: all of them, and also runs that were in no queue, when
            their engine has died.
        concurrency: Runs that go on here at once, paused ones aside; None: as many as the engine
            has workers.
        limits: What may go on at once in the whole log, by pipeline and by queue.
        ordering: Who goes first in a queue, as for resources; None: as for those of the engine.
        handlers: Finds what cannot be found by name.
        ended: Told of every run that has come to an end here, or goes on elsewhere. In a thread of
            the engine's: it must not wait for it.

    Raises:
        TypeError, ValueError: An argument.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        *,
        queues: Collection[str] = (),
        concurrency: int | None = None,
        limits: Limits | None = None,
        ordering: Ordering | None = None,
        handlers: Handlers | None = None,
        ended: Callable[[str, Future[ExecutionResult]], None] | None = None,
    ) -> None:
        self.concurrency = whole("concurrency", concurrency or engine.max_workers, 1)
        limits = limits or Limits()
        for name, most in (*limits.pipelines.items(), *limits.queues.items()):
            whole(f"the limit of {name}", most, 0)
        self.queues = tuple(map(queued.checked_queue, queues))
        self._engine, self._owner = engine, engine._owner
        self._loop = engine._open().loop
        self._store = self._loop.store
        ordering = ordering or self._owner.supply.ordering
        arriving = self._loop.ownership.arriving
        self._claims = Claims(self._store, self.queues, limits, ordering, arriving)
        self._handlers = handlers
        self._ended = ended
        self._held: dict[str, PipelineFuture] = {}
        self._given: dict[str, Mapping[str, Given]] = {}
        self._unable: set[str] = set()
        """Runs that cannot be executed here, as was said once."""
        self._wake = threading.Event()
        self._stopping = False
        self._swept_at = -int(SWEEP_INTERVAL * 1e9)

    @property
    def id(self) -> str:
        """Of its engine, by which the log knows it."""
        return self._owner.id

    @property
    def held(self) -> int:
        """Runs that it has in its hands. Any thread."""
        return len(self._held)

    @property
    def stopping(self) -> bool:
        """Whether it claims no more. Any thread."""
        return self._stopping

    def stop(self) -> None:
        """Claim no more, and have :meth:`serve` return. Any thread."""
        self._stopping = True
        self._wake.set()

    def serve(self) -> None:
        """Claim and execute until :meth:`stop`. What goes on then is the engine's: close it.

        Raises:
            LogError: The log is beyond use.
        """
        self._loop.post(partial(self._loop.ownership.watchers.append, self._wake.set))
        self._loop.wake()
        try:
            while not self._stopping:
                self._wake.clear()
                try:
                    self.turn()
                except LogUnavailable as error:  # the next look tries again
                    if not error.transient:
                        raise
                    logger().warning("the log cannot be used just now", error=str(error))
                self._wake.wait()
        finally:
            self._loop.post(partial(self._loop.ownership.watchers.remove, self._wake.set))

    def turn(self) -> None:
        """Claim what there is room for, if something has changed."""
        clock = self._loop.clock
        self._loop.ownership.show_life(self._owner)
        due = clock.monotonic() - self._swept_at >= SWEEP_INTERVAL * 1e9
        if not self._claims.look() and not due:
            return
        if due:
            self._swept_at = clock.monotonic()
            self._expire(clock.now())
        self._given.clear()
        room = self.concurrency - sum(map(self._takes_room, list(self._held)))
        if room > 0:
            for claimed in self._claims.claim(self._owner.id, room, self._able, clock.now):
                self._begin(claimed)

    def _takes_room(self, run_id: str) -> bool:
        entry = self._claims.backlog.entries.get(run_id)
        if entry is None:
            return False  # it is over
        here = entry.row.owner == self._owner.id
        return here and entry.row.status is not PipelineStatus.PAUSED

    def _able(self, entry: Entry) -> bool:
        """Better not to begin than to fail a run that could go on elsewhere."""
        run_id = entry.row.run_id
        if run_id in self._unable:
            return False
        try:
            if self._handlers is None:
                load_run(self._store, run_id)
            else:
                self._given[run_id] = self._handlers(entry.row)
        except LogUnavailable:
            raise
        except PipelineError as error:
            self._unable.add(run_id)
            logger().warning("a run is left to other workers", run=run_id, reason=str(error))
            return False
        return True

    def _begin(self, claimed: Claimed) -> None:
        run_id = claimed.run.run_id
        future = PipelineFuture(run_id)
        future.keep = self._engine
        self._held[run_id] = future
        future.add_done_callback(partial(self._done, run_id))
        handlers = self._given.pop(run_id, {})
        take = partial(self._loop.ownership.take, self._owner, claimed, handlers, Waiter(future))
        self._loop.post(take)  # a loop that has ended leaves it to others

    def _done(self, run_id: str, future: Future[ExecutionResult]) -> None:
        if self._held.get(run_id) is future:
            del self._held[run_id]
        self._wake.set()
        if self._ended is not None:
            self._ended(run_id, future)

    def _expire(self, now: int) -> None:
        for entry in self._claims.overdue(now):
            with suppress(AppendRefused):  # another worker was faster
                run = load_run(self._store, entry.row.run_id)
                queued.apply(self._store, run, c.Expire(), self._owner.id, now)
